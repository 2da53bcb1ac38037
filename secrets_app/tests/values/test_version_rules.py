"""The rules of versions: each act adds to what was before, and takes nothing of it back."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from secrets_app.errors import InvalidInput
from secrets_app.models.version_rules import DELETED, DESTROYED, MAX_GONE, NEVER, VersionRules
from secrets_app.rows.store import bounded

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def states(rules: VersionRules, count: int = 4) -> list[str]:
    return [rules.state(number) for number in range(1, count + 1)]


def test_what_was_deleted_or_destroyed_before_stays_so() -> None:
    rules = VersionRules().without([1], at=NOW).without([2], at=NOW)
    assert states(rules) == [DELETED, DELETED, "", ""]
    rules = rules.destroying([2]).destroying([3])
    assert states(rules) == [DELETED, DESTROYED, DESTROYED, ""]
    assert states(VersionRules.of(rules.stored())) == states(rules)


def test_what_is_restored_is_seen_again_and_nothing_besides() -> None:
    rules = VersionRules().without([1, 2], at=NOW).hiding().again([2], limit=0)
    assert (states(rules), rules.hidden) == ([DELETED, "", "", ""], False)


def test_a_time_to_come_deletes_nothing_yet() -> None:
    rules = VersionRules().without([1], at=timezone.now() + timedelta(hours=1))
    assert states(rules) == [""] * 4


@pytest.mark.parametrize(
    ("own", "limit", "seconds"),
    [
        (60, 0, 60), (0, 60, 60), (60, 90, 60), (90, 60, 60), (0, 0, None),
        (60, NEVER, None), (0, NEVER, None),
    ],
)  # fmt: skip
def test_the_shorter_time_counts_and_never_more_than_either(
    own: int, limit: int, seconds: int | None
) -> None:
    rules = VersionRules(delete_version_after=own).following(3, at=NOW, limit=limit)
    assert rules.deleted == ({} if seconds is None else {3: NOW + timedelta(seconds=seconds)})


def test_a_version_out_of_sight_does_not_come_back_with_a_larger_number() -> None:
    rules = VersionRules(max_versions=2).following(5, at=NOW, limit=0)
    assert rules.oldest == 4
    wider = VersionRules(max_versions=10, oldest=rules.oldest).following(6, at=NOW, limit=0)
    assert wider.oldest == 4
    assert VersionRules(oldest=4, cas_required=True).following(7, at=NOW, limit=0).oldest == 4


def test_a_secret_holds_so_many_versions_that_are_gone_of_both_kinds() -> None:
    half = MAX_GONE // 2
    rules = VersionRules().without(range(half), at=NOW).destroying(range(half, MAX_GONE))
    assert bounded(rules) is rules
    for more in (
        rules.without([MAX_GONE], at=NOW),
        rules.destroying([MAX_GONE]),
        rules.retyped("TEXT", first=2),
    ):
        with pytest.raises(InvalidInput):
            bounded(more)


@pytest.mark.parametrize(
    "stored",
    [[1], "x", 5, {DELETED: [1]}, {DELETED: {"1": 5}}, {DESTROYED: 5}, {"types": [1]}, {"types": {"a": "b"}}],
    ids=repr,
)
def test_what_keeper_never_wrote_is_no_rule(stored: Any) -> None:
    assert VersionRules.of(stored) == VersionRules()


def test_each_version_keeps_the_type_that_it_was_written_as() -> None:
    rules = VersionRules().retyped("TEXT", first=3).retyped("JSON", first=5)
    found = [rules.type_of(number, now="YAML") for number in range(1, 7)]
    assert found == ["TEXT"] * 2 + ["JSON"] * 2 + ["YAML"] * 2
    assert VersionRules.of(rules.stored()) == rules
    # The current version got another type without a new value: older ones keep theirs.
    assert rules.retyped("YAML", first=5) == rules
    assert VersionRules().retyped("TEXT", first=1).stored() is None
