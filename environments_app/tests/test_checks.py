import pytest
from django.core.checks import Tags, run_checks
from pytest_django import Settings

from environments_app.checks import read_approval_minutes, token_peppers

LONG = "a" * 32


@pytest.mark.parametrize(
    ("entries", "found"),
    [
        (["p1:" + LONG], []),
        (["p1:" + LONG, "p2:" + LONG], []),
        ([], ["environments_app.E001"]),
        ([LONG], ["environments_app.E001"]),
        (["p1:short"], ["environments_app.E001"]),
        ([":" + LONG], ["environments_app.E001"]),
        (["p" * 33 + ":" + LONG], ["environments_app.E001"]),
        (["p1:" + LONG, "p1:" + LONG], ["environments_app.E002"]),
    ],
)
def test_it_refuses_bad_peppers(settings: Settings, entries: list[str], found: list[str]) -> None:
    settings.KEEPER_TOKEN_PEPPERS = entries
    errors = token_peppers()
    assert [error.id for error in errors] == found
    assert not any(LONG in str(error) or "short" in error.msg for error in errors)


@pytest.mark.parametrize("minutes", [1, 60, 1_440])
def test_an_approved_read_opens_within_a_day(settings: Settings, minutes: int) -> None:
    settings.KEEPER_READ_APPROVAL_MINUTES = minutes
    assert read_approval_minutes() == []


@pytest.mark.parametrize("minutes", [-60, 0, 1_441])
def test_other_times_are_refused_in_words(settings: Settings, minutes: int) -> None:
    settings.KEEPER_READ_APPROVAL_MINUTES = minutes
    (error,) = read_approval_minutes()
    assert error.msg == "KEEPER_READ_APPROVAL_MINUTES is not between 1 and 1440."
    assert error in run_checks(tags=[Tags.security])
