"""Looks at Keeper's side again before an item of a plan is carried out: its secret, our entry, the rights.

Items are verified here as if they were new: a writer to the database could have forged them. The target's
side is proved by the act itself (item_actions.py).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from audit_app.events.actions import Action
from environments_app.authorization.policy import Principal, require
from sync_app.backends.observations import SecretMetadata
from sync_app.backends.registry import capabilities_of
from sync_app.domain.reconciliation import GONE, Item, Ownership, Presence, Reason, reconcile
from sync_app.errors import SyncError
from sync_app.models import Plan, PlanItem, SyncEntry, Target
from sync_app.models.plan import Act, PlanKind
from sync_app.models.target import NO_INTENT, Intent
from sync_app.planning import staged_choices
from sync_app.planning.draft_items import AdoptMode, ConflictChoice, DisconnectMode
from sync_app.state import local_state
from sync_app.state.local_state import LEFT_OUT, LocalSecret
from sync_app.state.ownership import is_same_secret, last_synced, target_side, write_token
from sync_app.state.value_forms import keeper_side

_CHANGED: Final = "changed in Keeper since the plan was made: plan again"
# So begins the error of an item that waits for nothing but time.
TOO_SOON: Final = "the target takes one new version"


class PlanOutdated(SyncError):
    """Keeper's side, or what may be done, is another than when the plan was made."""


class TooSoon(PlanOutdated):
    """The system asks for more time between two versions of a secret."""

    def __init__(self, message: str, *, due: datetime) -> None:
        super().__init__(message)
        self.due = due


class LocalUnreadable(SyncError):
    """Keeper's side cannot be read."""


@dataclass(kw_only=True, slots=True)
class ItemContext:
    """One item of a plan with what was found about it just now."""

    item: PlanItem
    local: LocalSecret | None
    entry: SyncEntry | None
    value: str = field(default="", repr=False)
    # Whether the target's tags, proved, leave the secret out, or do not select it for certain.
    left_out: bool = False
    unselected: bool = False
    # What an answered write made, of which only the look is missing.
    awaited: str = ""
    # What a write of this item made that was not answered, if it took place.
    unanswered: str = ""
    # A write with an unknown outcome when this one was intended: it may arrive late.
    earlier_intent: Intent = NO_INTENT
    # Our entry's data before the secret was claimed for creation.
    claimed_from: Mapping[str, Any] = field(default_factory=dict)

    @property
    def existed_before(self) -> bool:
        """Return whether the secret to create existed before as ours: the target may still hold that one."""
        return bool(self.claimed_from.get("remote_id"))

    @property
    def is_owned(self) -> bool:
        return self.entry is not None and self.entry.ownership != Ownership.NONE


def check_preconditions(
    work: ItemContext, *, plan: Plan, actor: Principal, now: datetime, apart: timedelta
) -> None:
    """Let an item pass as it was planned; `apart` is the time that a system asks for between versions.

    Raises PlanOutdated, LocalUnreadable, and Forbidden or Invisible (recorded).
    """
    # What the target's tags do not select is neither delivered nor fetched, whatever the plan has.
    if work.unselected and work.item.act not in {Act.DELETE, Act.RELEASE}:
        raise PlanOutdated(f"{LEFT_OUT}: refresh the plan")
    _CHECKS[Act(work.item.act)](work, plan)
    # Without marks only our entry proves which secret it is.
    unmarked = not capabilities_of(plan.target.backend).keeps_marks
    same_secret = work.entry is not None and work.entry.remote_id == work.item.remote_id
    if unmarked and not same_secret and work.item.act in {Act.UPDATE, Act.DELETE}:
        raise PlanOutdated("it is not known to be as this target wrote it: it is left alone")
    delivers = is_push(work, plan)
    if delivers or is_pull(work, plan):
        right = Action.SECRET_DELIVER if delivers else Action.SECRET_PULL
        require(actor=actor, action=right, environment=plan.target.environment, name=work.item.name)
    _refuse_too_soon(work, plan, now, apart)


def adopt_mode(plan: Plan) -> AdoptMode | None:
    """Return what a plan of adoption does with the values; None for other plans."""
    return AdoptMode(plan.options["mode"]) if plan.kind == PlanKind.ADOPT else None


def is_push(work: ItemContext, plan: Plan) -> bool:
    """Return whether a value of Keeper's goes to the target."""
    replaces = work.item.act == Act.ADOPT and adopt_mode(plan) is AdoptMode.OVERWRITE
    return replaces or work.item.act in {Act.CREATE, Act.UPDATE}


def is_pull(work: ItemContext, plan: Plan) -> bool:
    """Return whether the target's value comes to Keeper."""
    keeps = work.item.act == Act.ADOPT and adopt_mode(plan) is AdoptMode.TAKE_REMOTE
    return keeps or work.item.act == Act.PULL


def _check_write(work: ItemContext, plan: Plan) -> None:
    _refuse_changed(work)
    if work.item.act == Act.UPDATE and not work.is_owned:
        raise PlanOutdated("it is not ours any more: it is left alone")
    _refuse_undecided(work, plan)


def _check_pull(work: ItemContext, plan: Plan) -> None:
    _refuse_unreadable(work)
    # Where Keeper's side moved, nothing is written into it; an earlier attempt may have been what moved it.
    is_chosen = "choice" in plan.options or work.item.name in staged_choices.chosen_by(plan.options)
    version = work.local.version if work.local else ""
    if version == work.item.keeper_version or is_chosen:
        _refuse_undecided(work, plan)


def _check_adoption(work: ItemContext, plan: Plan) -> None:
    if plan.kind != PlanKind.ADOPT or work.item.name not in plan.options["names"]:
        raise PlanOutdated("the plan does not adopt this secret")
    _refuse_unreadable(work)
    if adopt_mode(plan) is not AdoptMode.TAKE_REMOTE:
        _refuse_changed(work)


def _check_deletion(work: ItemContext, plan: Plan) -> None:
    item, entry = work.item, work.entry
    if entry is None or entry.ownership != Ownership.CREATED or entry.base_target != item.target_version:
        raise PlanOutdated("it is not known to be as this target wrote it: it is not deleted")
    if plan.kind == PlanKind.DISCONNECT:
        if plan.options["mode"] != DisconnectMode.WITHDRAW:
            raise PlanOutdated("the plan does not withdraw this secret")
        return
    if work.local is not None:
        raise PlanOutdated("it exists in Keeper again: plan again")
    gone = {} if work.left_out else {entry.name: entry.secret_uuid}
    if local_state.find_unexplained_losses(plan.target.environment, gone):
        raise LocalUnreadable(local_state.LOST)
    _refuse_undecided(work, plan)


def _check_release(_work: ItemContext, plan: Plan) -> None:
    if plan.kind != PlanKind.DISCONNECT:
        raise PlanOutdated("the plan does not disconnect the target")


def _refuse_undecided(work: ItemContext, plan: Plan) -> None:
    """Refuse what neither the target's rules, asked again, nor a person's choice would have done."""
    if "choice" in plan.options:
        # A choice holds for the secret as it was shown.
        acts = {Act.PULL} if plan.options["choice"] == ConflictChoice.THEIRS else {Act.CREATE, Act.UPDATE}
        shown = (plan.options["name"], plan.options["keeper_version"], plan.options["target_version"])
        if not (
            work.item.act in acts
            and (work.item.name, work.item.keeper_version, work.item.target_version) == shown
        ):
            raise PlanOutdated("this is not what was chosen")
    elif work.item.name in staged_choices.chosen_by(plan.options):
        if not staged_choices.is_chosen(work.item, plan.options):
            raise PlanOutdated("this was not chosen: refresh the plan")
    elif Act(reconcile(_to_item(work, plan.target), plan.target.rules).outcome) != work.item.act:
        raise PlanOutdated("by what is known now, the target's rules do not do this: plan again")


def _to_item(work: ItemContext, target: Target) -> Item:
    """Return both sides for `reconcile`: Keeper's as it is, the target's as the plan saw it.

    The act itself proves that the target's side is unchanged and ours; here the plan can state of it
    less than our entry does, and nothing more.
    """
    item, entry = work.item, work.entry
    seen = SecretMetadata(
        name=item.name,
        presence=Presence(item.target_presence),
        remote_id=item.remote_id,
        version=item.target_version,
    )
    ours = entry is not None and is_same_secret(entry, seen) and item.ownership != Ownership.NONE
    return Item(
        keeper=keeper_side(target, work.local, entry) if work.local else GONE,
        target=target_side(entry, seen),
        base=last_synced(entry),
        ownership=Ownership(entry.ownership) if entry is not None and ours else Ownership.NONE,
    )


def _refuse_changed(work: ItemContext) -> None:
    _refuse_unreadable(work)
    if work.local is None or work.local.version != work.item.keeper_version:
        raise PlanOutdated(_CHANGED)


def _refuse_unreadable(work: ItemContext) -> None:
    if work.local is not None and work.local.presence is not Presence.PRESENT:
        raise LocalUnreadable(Reason.KEEPER_UNREADABLE)


def _refuse_too_soon(work: ItemContext, plan: Plan, now: datetime, apart: timedelta) -> None:
    entry = work.entry
    if work.item.act != Act.UPDATE or not apart or entry is None:
        return
    due = entry.next_version_at(apart, now)
    if now < due and not _is_pending_version(work, plan):
        minutes = int(apart.total_seconds() // 60)
        raise TooSoon(f"{TOO_SOON} in {minutes} minutes: the next is due at {due:%H:%M} UTC", due=due)


def _is_pending_version(work: ItemContext, plan: Plan) -> bool:
    """Return whether the version that becomes current was put there as pending: then no new one is made."""
    item, entry = work.item, work.entry
    return (
        entry is not None
        and entry.pending_at is not None
        and entry.pending_target
        == write_token(
            plan.target,
            place=item.remote_id,
            keeper_version=item.keeper_version,
            target_version=item.target_version,
        )
    )


_CHECKS: Final[Mapping[Act, Callable[[ItemContext, Plan], None]]] = {
    Act.CREATE: _check_write,
    Act.UPDATE: _check_write,
    Act.PULL: _check_pull,
    Act.ADOPT: _check_adoption,
    Act.DELETE: _check_deletion,
    Act.RELEASE: _check_release,
}
