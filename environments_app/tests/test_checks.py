import pytest
from pytest_django import Settings

from environments_app.checks import token_peppers

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
