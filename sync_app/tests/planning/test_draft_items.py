"""What an adoption, a choice and a disconnection make of one secret: each thing that stands against it refuses."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from audit_app.models import deployment_uuid
from environments_app.tests.cast import Cast
from secrets_app.envelope import OVERHEAD_BYTES
from sync_app.backends.observations import Mark, SecretMetadata
from sync_app.domain.reconciliation import Presence
from sync_app.models import SyncEntry, Target
from sync_app.models.plan import Act
from sync_app.planning.discovery import Finding
from sync_app.planning.draft_items import (
    AdoptMode,
    ConflictChoice,
    DisconnectMode,
    plan_adoption,
    plan_disconnect,
    plan_resolution,
)
from sync_app.state.local_state import LocalSecret
from sync_app.state.ownership import mark_for
from sync_app.tests.shown import make_target

pytestmark = pytest.mark.django_db

SECRET = UUID(int=1)
LOCAL = LocalSecret(
    name="one",
    presence=Presence.PRESENT,
    secret_uuid=SECRET,
    version="k2",
    version_uuid=UUID(int=2),
    number=2,
    fingerprint=b"",
    envelope=b"x" * OVERHEAD_BYTES,
)
REMOTE = SecretMetadata(name="one", presence=Presence.PRESENT, remote_id="id", version="t1")
ABSENT = replace(REMOTE, presence=Presence.ABSENT, version="")
DELETED = replace(REMOTE, presence=Presence.DELETED)
UNREADABLE = replace(LOCAL, presence=Presence.UNREADABLE)
RESOLUTION: Any = object()


@pytest.fixture
def target(cast: Cast) -> Target:
    return make_target(cast.development)


def entry(target: Target, **changes: Any) -> SyncEntry:
    given: dict[str, Any] = {
        "ownership": "created",
        "base_keeper": "k1",
        "base_target": "t1",
        "remote_id": "id",
        "secret_uuid": SECRET,
    }
    return SyncEntry(target=target, name="one", **(given | changes))


# --- Adoption ---------------------------------------------------------------------------------

FOREIGN: dict[str, Any] = {"local": LOCAL, "remote": REMOTE, "equal": True}
REFERRING = replace(LOCAL, resolution=RESOLUTION)


@pytest.mark.parametrize(
    ("changes", "adopted"),
    [
        ({}, set(AdoptMode)),
        ({"equal": False}, {AdoptMode.TAKE_REMOTE, AdoptMode.OVERWRITE}),
        ({"equal": None}, {AdoptMode.TAKE_REMOTE, AdoptMode.OVERWRITE}),
        # Nothing to compare with, nothing to write; the target's value can still be taken.
        ({"local": None, "equal": None}, {AdoptMode.TAKE_REMOTE}),
        ({"local": UNREADABLE}, set()),
        ({"local": REFERRING}, {AdoptMode.OVERWRITE}),
        ({"remote": None}, set()),
        ({"remote": ABSENT}, set()),
        ({"remote": DELETED}, set()),
        ({"problem": "it could not be read"}, set()),
        ({"unproved": True}, set()),
        ({"left_out": True}, set()),
    ],
)
@pytest.mark.parametrize("adoption", AdoptMode)
def test_what_may_be_adopted(
    target: Target, changes: dict[str, Any], adopted: set[AdoptMode], adoption: AdoptMode
) -> None:
    (draft,) = plan_adoption(target, [Finding(name="one", **(FOREIGN | changes))], adoption=adoption)
    assert draft.act == (Act.ADOPT if adoption in adopted else Act.REFUSED), draft.reason


@pytest.mark.parametrize("adoption", AdoptMode)
def test_what_somebody_has_marked_is_not_adopted(cast: Cast, target: Target, adoption: AdoptMode) -> None:
    other = make_target(cast.development, "other")
    gone = make_target(cast.development, "gone")
    Target.objects.filter(pk=gone.pk).update(live=None)
    elsewhere = Mark(deployment=UUID(int=9), target=target.uuid, secret=SECRET)
    for mark, act in (
        (mark_for(other, SECRET), Act.REFUSED),
        (elsewhere, Act.REFUSED),
        # A target that is no more, and this one: its entry was lost.
        (mark_for(gone, SECRET), Act.ADOPT),
        (Mark(deployment=deployment_uuid(), target=target.uuid, secret=SECRET), Act.ADOPT),
    ):
        finding = Finding(name="one", **(FOREIGN | {"remote": replace(REMOTE, mark=mark)}))
        (draft,) = plan_adoption(target, [finding], adoption=adoption)
        assert draft.act == act, (mark, draft.reason)


@pytest.mark.parametrize("adoption", AdoptMode)
def test_what_is_ours_is_not_adopted_again(target: Target, adoption: AdoptMode) -> None:
    ours = replace(REMOTE, mark=mark_for(target, SECRET))
    finding = Finding(name="one", **(FOREIGN | {"remote": ours, "entry": entry(target)}))
    assert plan_adoption(target, [finding], adoption=adoption)[0].act == Act.REFUSED


def test_a_target_of_tags_takes_nothing_over_that_keeper_lacks(cast: Cast) -> None:
    tagged = make_target(cast.development, only_tags="sync")
    finding = Finding(name="one", **(FOREIGN | {"local": None}))
    assert plan_adoption(tagged, [finding], adoption=AdoptMode.TAKE_REMOTE)[0].act == Act.REFUSED


# --- A person's choice ------------------------------------------------------------------------

OURS, THEIRS = ConflictChoice.OURS, ConflictChoice.THEIRS


@pytest.mark.parametrize(
    ("changes", "expected", "acts"),
    [
        ({}, ("k2", "t2"), {OURS: Act.UPDATE, THEIRS: Act.PULL}),
        ({"equal": True}, ("k2", "t2"), {OURS: Act.UNCHANGED, THEIRS: Act.UNCHANGED}),
        # Not as it was shown.
        ({}, ("k1", "t2"), {}),
        ({}, ("k2", "t1"), {}),
        ({}, ("k2", ""), {}),
        ({"problem": "it could not be read"}, ("k2", "t2"), {}),
        ({"unproved": True}, ("k2", "t2"), {}),
        ({"left_out": True}, ("k2", "t2"), {}),
        ({"problem": "it could not be read", "equal": True}, ("k2", "t2"), {}),
        ({"local": None}, ("", "t2"), {THEIRS: Act.PULL}),
        ({"remote": None}, ("k2", ""), {OURS: Act.CREATE}),
        ({"remote": ABSENT}, ("k2", ""), {OURS: Act.CREATE}),
        ({"remote": "deleted"}, ("k2", "t2"), {OURS: Act.UPDATE}),
        # Not ours any more: its value can be taken, and is not written over.
        ({"remote": "unmarked"}, ("k2", "t2"), {THEIRS: Act.PULL}),
        ({"entry": None}, ("k2", "t2"), {THEIRS: Act.PULL}),
    ],
)
@pytest.mark.parametrize("choice", ConflictChoice)
def test_what_a_choice_makes_of_a_secret(
    target: Target,
    changes: dict[str, Any],
    expected: tuple[str, str],
    acts: dict[ConflictChoice, Act],
    choice: ConflictChoice,
) -> None:
    theirs = replace(REMOTE, version="t2", mark=mark_for(target, SECRET))
    states = {"deleted": replace(theirs, presence=Presence.DELETED), "unmarked": replace(theirs, mark=None)}
    given: dict[str, Any] = {"local": LOCAL, "remote": theirs, "entry": entry(target)} | changes
    if isinstance(given["remote"], str):
        given["remote"] = states[given["remote"]]
    draft = plan_resolution(target, Finding(name="one", **given), choice=choice, expected=expected)
    assert draft.act == acts.get(choice, Act.REFUSED), draft.reason


# --- Taking leave -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "withdrawn"),
    [
        ({}, Act.DELETE),
        # What was changed there, or was there before Keeper, stays.
        ({"entry": {"base_target": "t0"}}, Act.RELEASE),
        ({"entry": {"base_keeper": ""}}, Act.RELEASE),
        ({"entry": {"ownership": "adopted"}}, Act.RELEASE),
        ({"problem": "it could not be read"}, Act.REFUSED),
        # What is not ours, or not there, is not mentioned.
        ({"entry": {"ownership": "none"}}, None),
        ({"entry": {"remote_id": "another"}}, None),
        ({"entry": None}, None),
        ({"entry": None, "problem": "it could not be read"}, None),
        ({"remote": {"mark": None}}, None),
        ({"remote": {"presence": Presence.DELETED}}, None),
        ({"remote": {"presence": Presence.ABSENT}}, None),
        ({"remote": None}, None),
    ],
)
@pytest.mark.parametrize("leaving", DisconnectMode)
def test_what_becomes_of_a_secret_when_a_target_is_disconnected(
    target: Target, changes: dict[str, Any], withdrawn: Act | None, leaving: DisconnectMode
) -> None:
    ours = replace(REMOTE, mark=mark_for(target, SECRET))
    seen, known = changes.get("remote", {}), changes.get("entry", {})
    finding = Finding(
        name="one",
        local=LOCAL,
        remote=None if seen is None else replace(ours, **seen),
        entry=None if known is None else entry(target, **known),
        problem=changes.get("problem", ""),
    )
    drafts = plan_disconnect(target, [finding], leaving=leaving)
    expected = Act.RELEASE if leaving is DisconnectMode.LEAVE and withdrawn is Act.DELETE else withdrawn
    assert [draft.act for draft in drafts] == ([expected] if expected else [])
