"""What proves that a secret of a target is ours, and which looks at a target prove nothing."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from environments_app.tests.cast import Cast
from sync_app.backends.observations import Mark, SecretMetadata
from sync_app.domain.delivery_state import PASSES_UNTIL_ALERT, DeliveryState
from sync_app.domain.reconciliation import Ownership, Presence
from sync_app.models import SyncEntry, Target
from sync_app.state.ownership import is_stale, mark_for, prove_ownership, target_side
from sync_app.tests.shown import make_target

pytestmark = pytest.mark.django_db
SECRET, OTHER = UUID(int=1), UUID(int=2)
SEEN = SecretMetadata(name="one", presence=Presence.PRESENT, remote_id="id", version="3")
GONE = replace(SEEN, presence=Presence.ABSENT, remote_id="", version="")


@pytest.fixture
def target(cast: Cast) -> Target:
    return make_target(cast.development)


@pytest.fixture
def unmarked(cast: Cast) -> Target:
    """Return a target in a system that keeps no mark."""
    return make_target(cast.development, "github", backend="github_actions")


@pytest.fixture
def unordered(cast: Cast) -> Target:
    """Return a target in a system whose versions do not show which is newer."""
    return make_target(cast.development, "cluster", backend="kubernetes")


def entry(target: Target, **changes: Any) -> SyncEntry:
    given: dict[str, Any] = {"ownership": "created", "remote_id": "id", "secret_uuid": SECRET}
    return SyncEntry(target=target, name="one", **(given | changes))


def marked_as(place: Target, **changes: UUID) -> Mark:
    return replace(mark_for(place, SECRET), **changes)


@pytest.mark.parametrize(
    ("changes", "marked", "secret", "expected"),
    [
        ({}, {}, SECRET, "created"),
        ({"ownership": "adopted"}, {}, SECRET, "adopted"),
        ({"ownership": "none"}, {}, SECRET, "none"),
        # Keeper made its own secret again, and the mark names the one of before, or the one of now.
        ({}, {}, OTHER, "created"),
        ({"secret_uuid": OTHER}, {}, SECRET, "created"),
        ({"secret_uuid": OTHER}, {}, OTHER, "none"),
        # The marks of another installation, of another target, and of a copy at another name.
        ({}, {"deployment": OTHER}, SECRET, "none"),
        ({}, {"target": OTHER}, SECRET, "none"),
        ({}, {"secret": OTHER}, SECRET, "none"),
        ({}, None, SECRET, "none"),
        # Another secret took the name, and our mark with it.
        ({"remote_id": "former"}, {}, SECRET, "none"),
        ({"remote_id": ""}, {}, SECRET, "created"),
    ],
    ids=str,
)
@pytest.mark.parametrize("presence", [Presence.PRESENT, Presence.DELETED])
def test_a_mark_and_an_entry_prove_it_together(
    target: Target,
    changes: dict[str, Any],
    marked: dict[str, UUID] | None,
    secret: UUID,
    expected: str,
    presence: Presence,
) -> None:
    shown = replace(SEEN, presence=presence, mark=None if marked is None else marked_as(target, **marked))
    assert prove_ownership(target, entry(target, **changes), shown, secret=secret) == Ownership(expected)
    assert prove_ownership(target, None, shown, secret=secret) is Ownership.NONE


@pytest.mark.parametrize("seen", [None, GONE])
def test_of_what_is_gone_the_entry_alone_holds_whose_it_was(
    target: Target, unmarked: Target, seen: SecretMetadata | None
) -> None:
    for place in (target, unmarked):
        assert prove_ownership(place, entry(place), seen, secret=SECRET) is Ownership.CREATED


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "created"),
        ({"remote_id": "former"}, "none"),
        # A creation whose outcome was not stored, and one that made another version.
        ({"remote_id": "", "intended_keeper": "k", "intended_target": "3"}, "created"),
        ({"remote_id": "", "intended_keeper": "k", "intended_target": "2"}, "none"),
        ({"remote_id": "former", "intended_keeper": "k", "intended_target": "3"}, "none"),
        ({"remote_id": ""}, "none"),
    ],
    ids=str,
)
def test_without_marks_the_very_secret_proves_it_or_what_our_creation_made(
    unmarked: Target, changes: dict[str, Any], expected: str
) -> None:
    found = prove_ownership(unmarked, entry(unmarked, **changes), SEEN, secret=SECRET)
    assert found == Ownership(expected)


WRITTEN: dict[str, Any] = {
    "state": DeliveryState.UNKNOWN,
    "intended_keeper": "k2",
    "intended_target": "3",
    "base_keeper": "k1",
    "base_target": "2",
}


@pytest.mark.parametrize(
    ("changes", "seen", "stale"),
    [
        ({}, replace(SEEN, version="2"), True),
        ({}, replace(SEEN, version="1"), True),
        ({}, GONE, True),
        ({}, None, True),
        # What was written, and what another client wrote after it.
        ({}, SEEN, False),
        ({}, replace(SEEN, version="4"), False),
        # No write waits to be seen.
        ({"state": DeliveryState.PENDING}, replace(SEEN, version="2"), False),
        ({"intended_target": ""}, replace(SEEN, version="2"), False),
        ({"intended_keeper": ""}, replace(SEEN, version="2"), False),
        # A look is believed after so many passes.
        ({"undelivered": PASSES_UNTIL_ALERT - 1}, GONE, True),
        ({"undelivered": PASSES_UNTIL_ALERT}, GONE, False),
        # Before a first version nothing was there.
        ({"base_keeper": "", "base_target": ""}, replace(SEEN, version="4"), False),
    ],
    ids=str,
)
def test_a_look_from_before_an_answered_write_proves_nothing(
    target: Target, changes: dict[str, Any], seen: SecretMetadata | None, stale: bool
) -> None:
    assert is_stale(target, entry(target, **(WRITTEN | changes)), seen) is stale
    assert is_stale(target, None, seen) is False


def test_where_versions_have_no_order_the_one_that_was_written_over_is_stale(unordered: Target) -> None:
    ours = entry(unordered, **WRITTEN)
    assert is_stale(unordered, ours, replace(SEEN, version="2"))
    assert not is_stale(unordered, ours, replace(SEEN, version="1"))


def test_another_secret_of_the_name_has_another_version(target: Target) -> None:
    ours, other = entry(target, base_target="2"), replace(SEEN, remote_id="another")
    assert target_side(ours, SEEN).version == "3"
    assert target_side(ours, other).version != "3"
    assert target_side(None, other).version == "3"
    # That very version was found equal.
    assert target_side(entry(target, base_target="3"), other).version == "3"
    # A system that shows no id.
    assert target_side(ours, replace(SEEN, remote_id="")).version == "3"
    assert target_side(ours, None).presence is Presence.UNLISTED
