"""What an adoption, a choice and a disconnection make of one secret: each thing that stands against it refuses."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from audit_app.models import deployment_uuid
from environments_app.tests.cast import Cast
from secrets_app.envelope import OVERHEAD_BYTES
from secrets_app.types.registry import SecretType
from sync_app.backends.observations import Mark, SecretMetadata
from sync_app.domain.reconciliation import Presence, Reason
from sync_app.models import SyncEntry, Target
from sync_app.models.plan import Act
from sync_app.planning.discovery import Finding
from sync_app.planning.draft_items import (
    AdoptMode,
    ConflictChoice,
    DisconnectMode,
    PlanItemDraft,
    note_selection,
    plan_adoption,
    plan_disconnect,
    plan_resolution,
    plan_sync,
    refuse_guarded,
    refuse_impossible,
    refuse_references,
)
from sync_app.state import local_state
from sync_app.state.local_state import LocalSecret
from sync_app.state.ownership import mark_for
from sync_app.state.value_forms import REWRITTEN, form_of
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


# --- A sync -----------------------------------------------------------------------------------


class Backend:
    """A system that writes names in capitals, keeps nothing of what is deleted, and takes no name "bad"."""

    capabilities = SimpleNamespace(deletes_recoverably=False)
    max_value_bytes = 10**9
    maps_names = True

    def __init__(self, free_names: int | None = None) -> None:
        self.free_names = free_names

    def remote_name(self, name: str) -> str:
        return name.upper()

    def explain_refusal(self, _act: str, name: str) -> str:
        return "not this name" if name == "bad" else ""


def draft(act: Act, name: str = "one", reason: str = "", **changes: Any) -> PlanItemDraft:
    return PlanItemDraft(Finding(name=name, **({"local": LOCAL} | changes)), act, reason)


def impossible(target: Target, *drafts: PlanItemDraft, free_names: int | None = None) -> list[str]:
    made: Any = Backend(free_names)
    refuse_impossible(target, made, drafts)
    return [str(each.act) for each in drafts]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"problem": "it could not be read"}, "it could not be read"),
        ({"problem": "it could not be read", "lost": True}, "it could not be read"),
        ({"local": None, "lost": True}, local_state.LOST),
        ({"unproved": True}, local_state.UNPROVED),
        ({"local": None, "left_out": True}, local_state.LEFT_OUT),
    ],
    ids=["unread", "unread and lost", "lost", "unproved", "left out"],
)
def test_a_plan_names_what_stands_against_a_secret(
    target: Target, changes: dict[str, Any], words: str
) -> None:
    target.deletion = "recoverable"
    seen = replace(REMOTE, mark=mark_for(target, SECRET))
    known = entry(target, base_keeper="k2")
    given: dict[str, Any] = {"local": LOCAL, "remote": seen, "entry": known} | changes
    # One that both sides have, so that no side is empty.
    other = Finding(name="two", local=replace(LOCAL, name="two"), remote=replace(REMOTE, name="two"))
    planned, _ = plan_sync(target, {"one": Finding(name="one", **given), "two": other})
    assert planned.reason.startswith(words)
    assert planned.act != Act.UPDATE


@pytest.mark.parametrize(
    ("tags", "act", "known", "selected"),
    [
        ("sync", Act.CREATE, False, True),
        ("", Act.CREATE, False, False),
        ("sync", Act.UPDATE, False, False),
        # It was there before, and is made again.
        ("sync", Act.CREATE, True, False),
    ],
)
def test_of_a_new_secret_alone_the_tags_are_named(
    cast: Cast, tags: str, act: Act, known: bool, selected: bool
) -> None:
    place = make_target(cast.development, only_tags=tags)
    planned = draft(act, reason="new", entry=entry(place) if known else None)
    note_selection(place, [planned])
    assert (planned.reason != "new") is selected


@pytest.mark.parametrize(
    ("place", "synced", "act"),
    [
        ({"direction": "pull"}, "k2", Act.CONFLICT),
        ({"direction": "both"}, "k2", Act.CONFLICT),
        # Keeper has another value than came from there, or nothing came from there.
        ({"direction": "pull"}, "k1", Act.PULL),
        ({"direction": "push"}, "k2", Act.PULL),
        ({"direction": "pull", "live": None}, "k2", Act.PULL),
        ({"direction": "pull", "elsewhere": True}, "k2", Act.PULL),
    ],
    ids=str,
)
def test_a_value_that_was_pulled_from_another_target_is_not_pulled_over(
    cast: Cast, place: dict[str, Any], synced: str, act: Act
) -> None:
    target = make_target(cast.development, direction="pull", conflict="target_wins")
    of = cast.production if place.pop("elsewhere", False) else cast.development
    other = make_target(of, "other", **place)
    entry(other, base_keeper=synced).save()
    known = entry(target)
    known.save()
    seen = replace(REMOTE, mark=mark_for(target, SECRET))
    finding = Finding(name="one", local=LOCAL, remote=seen, entry=known)
    assert plan_sync(target, {"one": finding})[0].act == act


@pytest.mark.parametrize(
    ("secret_type", "form", "base", "rewritten"),
    [
        (SecretType.JSON, "other", "k2", True),
        (SecretType.JSON, "other", "k1", False),
        (SecretType.JSON, "", "k2", False),
        (SecretType.YAML, "other", "k2", False),
    ],
)
def test_an_update_that_brings_another_form_alone_is_named(
    target: Target, secret_type: str, form: str, base: str, rewritten: bool
) -> None:
    local = replace(LOCAL, secret_type=secret_type)
    known = entry(target, base_keeper=base, base_form=form or form_of(target))
    seen = replace(REMOTE, mark=mark_for(target, SECRET))
    (planned,) = plan_sync(target, {"one": Finding(name="one", local=local, remote=seen, entry=known)})
    assert (planned.reason == REWRITTEN) is rewritten
    assert (planned.act == Act.UPDATE) is (rewritten or base == "k1")


def test_two_names_that_become_one_are_not_created(target: Target) -> None:
    pair = draft(Act.CREATE, "one"), draft(Act.CREATE, "One"), draft(Act.CREATE, "two")
    assert impossible(target, *pair) == [Act.REFUSED, Act.REFUSED, Act.CREATE]
    # What is there already is one of them, and goes on.
    known = draft(Act.UPDATE, "one", entry=entry(target), remote=REMOTE)
    for act in (Act.CREATE, Act.ADOPT, Act.UNMANAGED, Act.CONFLICT):
        assert impossible(target, known, draft(act, "One")) == [Act.UPDATE, Act.REFUSED]
    # It is not looked at by a plan of some names.
    entry(target).save()
    assert impossible(target, draft(Act.ADOPT, "One")) == [Act.REFUSED]


def test_what_the_system_does_not_take_is_refused_where_it_would_be_written(target: Target) -> None:
    writes = [draft(act, "bad") for act in (Act.CREATE, Act.UPDATE, Act.ADOPT, Act.DELETE)]
    assert set(impossible(target, *writes)) == {Act.REFUSED}
    assert impossible(target, draft(Act.UNCHANGED, "bad"), draft(Act.PULL, "bad")) == [
        Act.UNCHANGED,
        Act.PULL,
    ]


def test_a_deletion_for_good_and_another_name_are_stated(target: Target) -> None:
    deleted, created, updated = (
        draft(Act.DELETE, reason="gone", local=None),
        draft(Act.CREATE, "two", reason=str(Reason.NEW_IN_KEEPER)),
        draft(Act.UPDATE, "three", reason="changed"),
    )
    impossible(target, deleted, created, updated)
    assert deleted.reason != "gone"
    assert "TWO" in created.reason
    assert updated.reason == "changed"


@pytest.mark.parametrize(
    ("room", "refused"), [(None, set()), (2, set()), (1, {Act.REFUSED}), (0, {Act.REFUSED})]
)
def test_no_more_is_created_than_the_system_has_room_for(
    target: Target, room: int | None, refused: set[Act]
) -> None:
    made = [draft(Act.CREATE, "one"), draft(Act.CREATE, "two"), draft(Act.UPDATE, "three")]
    acts = impossible(target, *made, free_names=room)
    assert set(acts) - {Act.CREATE, Act.UPDATE} == refused
    assert acts[2] == Act.UPDATE


def test_room_is_for_the_first_names_whatever_their_order(target: Target) -> None:
    made = [draft(Act.CREATE, name) for name in ("two", "four", "one", "three")]
    impossible(target, *made, free_names=2)
    assert {each.finding.name for each in made if each.act == Act.CREATE} == {"four", "one"}


def test_what_is_guarded_or_refers_is_left_alone(target: Target) -> None:
    guarded, plain = draft(Act.UPDATE, local=replace(LOCAL, guarded=True)), draft(Act.UPDATE)
    refuse_guarded([guarded, plain])
    assert (guarded.act, plain.act) == (Act.REFUSED, Act.UPDATE)
    refers = draft(Act.PULL, local=replace(LOCAL, resolution=RESOLUTION))
    refuse_references(target, [refers, plain])
    assert (refers.act, plain.act) == (Act.REFUSED, Act.UPDATE)


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
