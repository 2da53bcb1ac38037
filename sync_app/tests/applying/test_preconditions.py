"""What is looked at again before an item is carried out: each thing that is another than planned refuses it."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.utils import timezone

from environments_app.errors import Forbidden
from environments_app.tests.cast import Cast
from sync_app.applying import preconditions
from sync_app.applying.preconditions import (
    ItemContext,
    LocalUnreadable,
    PlanOutdated,
    TooSoon,
    check_preconditions,
)
from sync_app.domain.reconciliation import Presence
from sync_app.models import Plan, PlanItem, SyncEntry, Target
from sync_app.models.plan import Act, PlanKind
from sync_app.planning.draft_items import AdoptMode, ConflictChoice, DisconnectMode
from sync_app.state import local_state
from sync_app.state.local_state import LocalSecret
from sync_app.tests.shown import make_target

pytestmark = pytest.mark.django_db

LOCAL = LocalSecret(
    name="one",
    presence=Presence.PRESENT,
    secret_uuid=UUID(int=1),
    version="k2",
    version_uuid=UUID(int=2),
    number=2,
    fingerprint=b"",
)
UNREADABLE = replace(LOCAL, presence=Presence.UNREADABLE)
CHANGED = replace(LOCAL, version="k3")
ADOPT: dict[str, Any] = {"kind": PlanKind.ADOPT, "options": {"names": ["one"], "mode": AdoptMode.OVERWRITE}}
TAKE: dict[str, Any] = {"kind": PlanKind.ADOPT, "options": {"names": ["one"], "mode": AdoptMode.TAKE_REMOTE}}
WITHDRAW: dict[str, Any] = {"kind": PlanKind.DISCONNECT, "options": {"mode": DisconnectMode.WITHDRAW}}
LEAVE: dict[str, Any] = {"kind": PlanKind.DISCONNECT, "options": {"mode": DisconnectMode.LEAVE}}
# Each is what one plan and one item of it are, and passes as it is.
PASSES: dict[str, dict[str, Any]] = {
    "create": {"act": Act.CREATE, "entry": None, "item": {"target_version": "", "target_presence": "absent"}},
    "update": {"act": Act.UPDATE},
    "pull": {
        "act": Act.PULL,
        "rules": {"direction": "both"},
        "local": replace(LOCAL, version="k1"),
        "item": {"keeper_version": "k1", "target_version": "t2"},
    },
    "adopt": {"act": Act.ADOPT, "entry": None, "plan": ADOPT},
    "take": {"act": Act.ADOPT, "entry": None, "plan": TAKE},
    "delete": {"act": Act.DELETE, "local": None, "rules": {"deletion": "recoverable"}},
    "withdraw": {"act": Act.DELETE, "plan": WITHDRAW},
    "release": {"act": Act.RELEASE, "plan": LEAVE},
}
BY_OTHER_RULES = {
    "create": {"direction": "pull"},
    "update": {"direction": "pull"},
    "pull": {"direction": "push"},
}
CHOICE = {"name": "one", "choice": ConflictChoice.OURS, "keeper_version": "k2", "target_version": "t1"}


def ask(
    cast: Cast,
    *,
    act: Act,
    plan: dict[str, Any] | None = None,
    item: dict[str, Any] | None = None,
    entry: dict[str, Any] | None = {},  # noqa: B006 - read alone
    local: LocalSecret | None = LOCAL,
    rules: dict[str, Any] | None = None,
    apart: timedelta = timedelta(),
    by: str = "alice",
    **context: Any,
) -> None:
    """Ask whether an item of a plan may be carried out."""
    target: Target = make_target(cast.development, **(rules or {}))
    made = Plan(target=target, **{"kind": PlanKind.SYNC, "options": {}, **(plan or {})})
    seen: dict[str, Any] = {
        "keeper_version": "k2",
        "target_version": "t1",
        "target_presence": Presence.PRESENT,
        "remote_id": "id",
        "ownership": "created",
    }
    known: dict[str, Any] = {
        "ownership": "created",
        "base_keeper": "k1",
        "base_target": "t1",
        "remote_id": "id",
        "secret_uuid": UUID(int=1),
    }
    check_preconditions(
        ItemContext(
            item=PlanItem(plan=made, name="one", act=act, **(seen | (item or {}))),
            local=local,
            entry=None if entry is None else SyncEntry(target=target, name="one", **(known | entry)),
            **context,
        ),
        plan=made,
        actor=cast.principal(getattr(cast, by)),
        now=NOW,
        apart=apart,
    )


NOW: datetime = timezone.now()


@pytest.fixture(autouse=True)
def _nothing_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_state, "find_unexplained_losses", lambda *_: set())


@pytest.mark.parametrize("name", PASSES)
def test_what_is_as_it_was_planned_passes(cast: Cast, name: str) -> None:
    ask(cast, **PASSES[name])


@pytest.mark.parametrize(
    ("name", "meanwhile", "error"),
    [
        *(
            (name, {"local": UNREADABLE}, LocalUnreadable)
            for name in ("create", "update", "pull", "adopt", "take")
        ),
        *((name, {"local": CHANGED}, PlanOutdated) for name in ("create", "update", "adopt", "delete")),
        *((name, {"local": None}, PlanOutdated) for name in ("create", "update", "adopt")),
        *(
            (name, {"unselected": True}, PlanOutdated)
            for name in ("create", "update", "pull", "adopt", "take")
        ),
        *(
            (name, {"entry": {"ownership": "none"}}, PlanOutdated)
            for name in ("update", "delete", "withdraw")
        ),
        *((name, {"entry": None}, PlanOutdated) for name in ("update", "delete", "withdraw")),
        *((name, {"rules": rules}, PlanOutdated) for name, rules in BY_OTHER_RULES.items()),
        # Only what this target made, and as it made it, is deleted.
        *((name, {"entry": {"ownership": "adopted"}}, PlanOutdated) for name in ("delete", "withdraw")),
        *((name, {"entry": {"base_target": "t0"}}, PlanOutdated) for name in ("delete", "withdraw")),
        ("delete", {"rules": {"deletion": "never"}}, PlanOutdated),
        ("delete", {"entry": {"remote_id": "another"}}, PlanOutdated),
        # An update whose base is not known, and a pull over what changed in Keeper, are conflicts.
        ("update", {"entry": {"base_target": "t0"}}, PlanOutdated),
        ("update", {"entry": {"remote_id": "another"}}, PlanOutdated),
        ("update", {"item": {"ownership": "none"}}, PlanOutdated),
        # What nobody asked for.
        *((name, {"plan": {}}, PlanOutdated) for name in ("adopt", "take", "release")),
        *(
            (name, {"plan": {**plan, "options": {**plan["options"], "names": ["two"]}}}, PlanOutdated)
            for name, plan in {"adopt": ADOPT, "take": TAKE}.items()
        ),
        ("withdraw", {"plan": LEAVE}, PlanOutdated),
        ("release", {"plan": ADOPT}, PlanOutdated),
        # Who has lost the right.
        *((name, {"by": "vera"}, Forbidden) for name in ("create", "update", "pull", "adopt", "take")),
    ],
    ids=lambda value: value if isinstance(value, str) else getattr(value, "__name__", None),
)
def test_what_is_another_than_planned_is_refused(
    cast: Cast, name: str, meanwhile: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        ask(cast, **(PASSES[name] | meanwhile))


def test_nothing_is_deleted_for_a_secret_that_keeper_lost(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_state, "find_unexplained_losses", lambda *_: {"one"})
    with pytest.raises(LocalUnreadable):
        ask(cast, **PASSES["delete"])


@pytest.mark.parametrize("name", ["update", "delete"])
@pytest.mark.parametrize("entry", [{"remote_id": "another"}, {"remote_id": ""}], ids=str)
def test_without_marks_only_the_very_secret_of_the_entry_is_touched(
    cast: Cast, name: str, entry: dict[str, str]
) -> None:
    unmarked: dict[str, Any] = {"backend": "github_actions"}
    given = PASSES[name] | {"rules": {**PASSES[name].get("rules", {}), **unmarked}}
    ask(cast, **given)
    with pytest.raises(PlanOutdated):
        ask(
            cast, **(given | {"entry": entry, "rules": {**given["rules"], "name": "other", "place": "other"}})
        )


@pytest.mark.parametrize(
    ("act", "changes", "passes"),
    [
        (Act.UPDATE, {}, True),
        (Act.PULL, {}, False),
        (Act.UPDATE, {"choice": ConflictChoice.THEIRS}, False),
        (Act.PULL, {"choice": ConflictChoice.THEIRS}, True),
        (Act.UPDATE, {"name": "two"}, False),
        (Act.UPDATE, {"keeper_version": "k1"}, False),
        (Act.UPDATE, {"target_version": "t0"}, False),
        (Act.PULL, {"choice": ConflictChoice.THEIRS, "target_version": "t0"}, False),
    ],
)
@pytest.mark.parametrize("staged", [False, True])
def test_a_choice_is_for_one_secret_as_it_was_shown(
    cast: Cast, act: Act, changes: dict[str, str], passes: bool, staged: bool
) -> None:
    """It is one that the rules leave to people: the entry does not know this version of the target's."""
    options: dict[str, Any] = {**CHOICE, **changes}
    if staged:
        # Staged for another name it is no choice about this one, and the rules decide.
        options = {"choices": {options.pop("name"): options}}
    given: dict[str, Any] = {"act": act, "plan": {"options": options}, "entry": {"base_target": "t9"}}
    if passes:
        ask(cast, **given)
        return
    with pytest.raises(PlanOutdated):
        ask(cast, **given)


def test_a_system_is_given_the_time_that_it_asks_for(cast: Cast) -> None:
    hour = timedelta(hours=1)
    for seconds, waits in ((1, True), (3599, True), (3600, False), (3601, False)):
        given: dict[str, Any] = {"entry": {"synced_at": NOW - timedelta(seconds=seconds)}, "apart": hour}
        given["rules"] = {"name": f"after {seconds}", "place": str(seconds)}
        if waits:
            with pytest.raises(TooSoon) as told:
                ask(cast, act=Act.UPDATE, **given)
            assert told.value.due == NOW + hour - timedelta(seconds=seconds)
        else:
            ask(cast, act=Act.UPDATE, **given)


@pytest.mark.parametrize("entry", [None, {"ownership": "none"}], ids=str)
@pytest.mark.parametrize("staged", [False, True])
def test_no_choice_writes_over_what_is_not_ours(
    cast: Cast, entry: dict[str, Any] | None, staged: bool
) -> None:
    shown = {name: text for name, text in CHOICE.items() if name != "name"}
    options: dict[str, Any] = {"choices": {"one": shown}} if staged else dict(CHOICE)
    with pytest.raises(PlanOutdated, match="not ours"):
        ask(cast, act=Act.UPDATE, plan={"options": options}, entry=entry)


def test_with_marks_an_entry_that_knows_no_id_is_enough(cast: Cast) -> None:
    ask(cast, act=Act.UPDATE, entry={"remote_id": ""})


def test_what_the_tags_leave_out_is_withdrawn_and_released(cast: Cast) -> None:
    ask(cast, **(PASSES["delete"] | {"unselected": True, "left_out": True}))
    ask(cast, **(PASSES["release"] | {"unselected": True, "rules": {"name": "other", "place": "other"}}))


def test_only_another_version_of_what_is_there_waits(cast: Cast) -> None:
    early: dict[str, Any] = {"apart": timedelta(hours=1)}
    for number, name in enumerate(("delete", "withdraw", "release")):
        place = {**PASSES[name].get("rules", {}), "name": f"at-{number}", "place": str(number)}
        known = {"entry": {"synced_at": NOW}}
        ask(cast, **(PASSES[name] | early | known | {"rules": place}))
    ask(cast, **(PASSES["create"] | early))


@pytest.mark.parametrize(
    ("pending", "waits"),
    [
        ({"pending_at": NOW, "pending_target": "this"}, False),
        # Put there for another write, or only intended.
        ({"pending_at": NOW, "pending_target": "another"}, True),
        ({"pending_at": None, "pending_target": "this"}, True),
        ({}, True),
    ],
)
def test_a_version_that_was_put_there_as_pending_does_not_wait(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, pending: dict[str, Any], waits: bool
) -> None:
    monkeypatch.setattr(preconditions, "write_token", lambda *_, **__: "this")
    early: dict[str, Any] = {"apart": timedelta(hours=1), "entry": {"synced_at": NOW, **pending}}
    if waits:
        with pytest.raises(TooSoon):
            ask(cast, **(PASSES["update"] | early))
    else:
        ask(cast, **(PASSES["update"] | early))
