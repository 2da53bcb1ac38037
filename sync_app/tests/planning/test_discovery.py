"""What a pass concludes from the values of both sides, which it reads after it looked at their versions."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from environments_app.tests.cast import Cast
from sync_app.backends.observations import SecretValue
from sync_app.planning import discovery
from sync_app.planning.discovery import Finding, compare_values
from sync_app.tests.planning.test_draft_items import LOCAL, REMOTE
from sync_app.tests.shown import make_target

pytestmark = pytest.mark.django_db
LATER = replace(REMOTE, version="t2")


@pytest.mark.parametrize(
    ("copy", "equal"),
    [
        (SecretValue(metadata=REMOTE, value="same"), True),
        (SecretValue(metadata=LATER, value="same"), None),
        (None, None),
    ],
    ids=["as it was seen", "written meanwhile", "deleted meanwhile"],
)
def test_a_value_of_another_version_than_was_seen_decides_nothing(
    cast: Cast, copy: SecretValue | None, equal: bool | None
) -> None:
    finding = Finding(name="one", local=LOCAL, remote=REMOTE)
    matcher: Any = SimpleNamespace(
        plan=SimpleNamespace(target=make_target(cast.development)),
        backend=SimpleNamespace(
            capabilities=SimpleNamespace(reads_values=True), read_value=lambda _name: copy
        ),
        by_fingerprint=lambda _comparison: True,
        by_value=lambda comparisons: [True for _ in comparisons],
    )
    compare_values(matcher, {"one": finding}, everything=True)
    assert finding.equal is equal


def compared(
    cast: Cast, findings: dict[str, Finding], *, by_fingerprint: bool | None, shows_values: bool = True
) -> tuple[list[str], list[int]]:
    """Compare values that are equal; return what was read, and how many values Keeper opened each time."""
    read: list[str] = []
    opened: list[int] = []

    def read_value(name: str) -> SecretValue:
        read.append(name)
        return SecretValue(metadata=REMOTE, value="same")

    def by_value(comparisons: list[Any]) -> list[bool]:
        opened.append(len(comparisons))
        return [True for _ in comparisons]

    matcher: Any = SimpleNamespace(
        plan=SimpleNamespace(target=make_target(cast.development)),
        backend=SimpleNamespace(
            capabilities=SimpleNamespace(reads_values=shows_values), read_value=read_value
        ),
        by_fingerprint=lambda _comparison: by_fingerprint,
        by_value=by_value,
    )
    compare_values(matcher, findings, everything=True)
    return read, [number for number in opened if number]


def in_both(*names: str) -> dict[str, Finding]:
    return {name: Finding(name=name, local=LOCAL, remote=REMOTE) for name in names}


def test_a_system_that_shows_no_value_is_not_asked_for_one(cast: Cast) -> None:
    assert compared(cast, in_both("one"), by_fingerprint=None, shows_values=False) == ([], [])


@pytest.mark.parametrize("by_fingerprint", [True, False])
def test_what_the_fingerprint_decides_opens_no_value(cast: Cast, by_fingerprint: bool) -> None:
    findings = in_both("one")
    assert compared(cast, findings, by_fingerprint=by_fingerprint) == (["one"], [])
    assert findings["one"].equal is by_fingerprint


def test_no_more_values_are_held_at_once_than_are_compared(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "AT_A_TIME", 2)
    findings = in_both("one", "two", "three")
    assert compared(cast, findings, by_fingerprint=None)[1] == [2, 1]
    assert all(finding.equal for finding in findings.values())


def test_a_guarded_value_is_compared_with_nothing(cast: Cast) -> None:
    findings = {"one": Finding(name="one", local=replace(LOCAL, guarded=True), remote=REMOTE)}
    assert compared(cast, findings, by_fingerprint=True) == ([], [])
    assert findings["one"].equal is None
