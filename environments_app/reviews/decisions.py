"""Decisions of reviews: keep, change or end each access, and end what nobody decided.

A decision asks everything again at the moment of the act, under the lock of its review: the review is open,
the person may still decide, and the access is the one that the person saw. To change or to end access is
the ordinary act of the reviewer, in the same transaction.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from django.db import models
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.events.actors import Actor
from core.canonical_json import Json, utc_text
from core.errors import KeeperError
from environments_app.approvals.program_releases import end_release
from environments_app.authorization.credential_custody import CustodyGraph
from environments_app.authorization.policy import Grant, Principal
from environments_app.authorization.principals import refresh_principal, system_principal
from environments_app.authorization.rows import lock_authentic, require_authentic
from environments_app.environments import groups, memberships
from environments_app.errors import Conflict, InvalidField
from environments_app.models import (
    AccessKind,
    Decision,
    Environment,
    Membership,
    ProgramRelease,
    Review,
    ReviewItem,
    ReviewState,
    ServiceToken,
    Trust,
    User,
    UserRole,
)
from environments_app.names import validate_prefix
from environments_app.notifications.service import MAX_LINES, raise_alert
from environments_app.reviews.population import (
    BACK_OTHERWISE,
    Line,
    key_of,
    lines_for,
    live_successors,
    unsettled,
)
from environments_app.reviews.reviewers import ENDS_BY, candidates_in, why_not_reviewer
from environments_app.reviews.service import (
    GRACE_DAYS,
    KIND,
    address,
    listed_keys,
    record_step,
    refuse,
    require_open,
    settle_alert,
    short_text,
)
from environments_app.sessions.service import lock_row
from environments_app.tokens import service as tokens
from environments_app.trusts import service as trusts
from environments_app.users import accounts

# What a change makes less; the other kinds of access are kept or ended.
_CHANGEABLE: Final[Mapping[str, type[models.Model]]] = MappingProxyType(
    {AccessKind.DIRECT: Membership, AccessKind.TRUST: Trust, AccessKind.INSTALLATION: User}
)


class Less(NamedTuple):
    """What a reviewer leaves of a right: a lower role, a narrower path, an earlier end; None leaves it."""

    role: str | None = None
    prefix: str | None = None
    expires_at: datetime | None = None

    @property
    def changes(self) -> dict[str, Any]:
        """What is given, by the fields of the rows."""
        return {name: value for name, value in self._asdict().items() if value is not None}


UNCHANGED: Final = Less()


def decide(
    *,
    actor: Principal,
    item: ReviewItem,
    decision: str,
    state: str,
    reason: str = "",
    less: Less = UNCHANGED,
) -> ReviewItem:
    """Keep, change or end the access of an item, which is in the `state` that the reviewer saw.

    `less` is what a change leaves. Returns the item. Raises Invisible; Forbidden for one's own access and
    without the right to end it; InvalidField without a reason where one is needed, and for a change that
    makes nothing less; Conflict if it is decided, has changed, or the review is over; Tampered; and what the
    act raises that changes or ends the access, which leaves the item undecided.
    """
    chosen, text = _parsed(decision, less), short_text("reason", reason)
    environment = _place(item)
    refusal = why_not_reviewer(actor, item, environment, CustodyGraph())
    if refusal:
        refuse(actor, Action.REVIEW_DECIDE, item.review, item, refusal)
    with lock_row(actor, item.review, ENDS_BY[item.kind], environment) as review:
        require_open(review)
        stored = _lock_item(item)
        now, environment = refresh_principal(actor), _place(stored)
        refusal = why_not_reviewer(now, stored, environment, CustodyGraph())
        if refusal:
            raise Conflict(f"Your rights have changed meanwhile. {refusal}")
        if chosen == Decision.CHANGE:
            _lock_access(stored)
        lines = lines_for([stored])
        again = unsettled(stored, lines, listed_keys(review)) if stored.decision else ""
        if stored.decision and not again:
            raise Conflict(f"{stored.decided_by_name} has decided this already.")
        if again == BACK_OTHERWISE:
            raise Conflict(f"{stored}: {again}")
        line = lines.get(key_of(stored))
        _require_seen(stored, line, state, chosen)
        if not text and (why := _needs_reason(stored, line, chosen, now)):
            raise InvalidField("reason", why)
        rows = []
        if chosen == Decision.CHANGE and line:
            rows = _make_less(now, stored, line, less)
            line = lines_for([stored]).get(key_of(stored))
        elif chosen == Decision.END:
            rows, line = _end(now, stored, line), None
        _store(now, review, stored, chosen, text, line, rows)
    return stored


def end_undecided() -> int:
    """End what nobody decided in reviews that say so, a week after they were due; return how much.

    Each is tried by itself, in each pass again; what cannot be ended stays undecided, with an alert.
    """
    ended = 0
    late = timezone.now() - timedelta(days=GRACE_DAYS)
    due = Review.objects.filter(state=ReviewState.OPEN, ends_undecided=True, due_at__lte=late)
    for review in due.order_by("pk"):
        if not review.is_authentic():
            continue
        failed = []
        undecided = ReviewItem.objects.filter(review=review, decision=Decision.UNDECIDED)
        for item in undecided.select_related("review").order_by("pk"):
            try:
                ended += _end_late(item, late)
            except KeeperError as error:
                failed.append(f"{item}: {error}")
        if failed:
            raise_alert(
                kind=KIND,
                about=review.uuid,
                environment=None,
                subject=f"Access review: {len(failed)} entries could not be ended: {review.name}"[:200],
                lines=failed[:MAX_LINES],
                link=address(review),
                people=[one.user.uuid for one in candidates_in(None)],
            )
    return ended


def _end_late(item: ReviewItem, late: datetime) -> bool:
    """End the access of an item that nobody decided, as Keeper; return whether that was still so."""
    actor = system_principal(is_admin=True)
    with lock_authentic(item.review) as review:
        stored = _lock_item(item)
        if not review.is_open or not review.ends_undecided or review.due_at > late or stored.decision:
            return False
        _place(stored)
        rows = _end(actor, stored, lines_for([stored]).get(key_of(stored)))
        text = f"Nobody decided within {GRACE_DAYS} days after the review was due."
        _store(actor, review, stored, Decision.END, text, None, rows)
    return True


def _store(
    actor: Actor,
    review: Review,
    item: ReviewItem,
    chosen: Decision,
    reason: str,
    line: Line | None,
    rows: list[str],
) -> None:
    """Store and record a decision, and what access it leaves; `rows` are what it changed or ended."""
    item.decision, item.reason, item.decided_at = chosen, reason, timezone.now()
    item.decided_state = line.state if line else ""
    item.kept = {**line.right, "as_listed": line.right == item.right} if line else None
    item.decided_by_uuid, item.decided_by_name = actor.uuid, actor.name
    item.save()
    acted: dict[str, Json] = {"changed" if chosen == Decision.CHANGE else "ended": [*rows]}
    record_step(actor, Action.REVIEW_DECIDE, review, {**_decision(item), **acted}, item)
    if not ReviewItem.objects.filter(review=review, decision=Decision.UNDECIDED).exists():
        settle_alert(review, "All access is decided, and can be signed off")


def _lock_item(item: ReviewItem) -> ReviewItem:
    stored = ReviewItem.objects.select_for_update().select_related("review").get(pk=item.pk)
    require_authentic(stored)
    return stored


def _lock_access(item: ReviewItem) -> None:
    """Lock the row that a change makes less, so that it is less than what the reviewer saw."""
    if model := _CHANGEABLE.get(item.kind):
        list(models.QuerySet(model).select_for_update().filter(uuid=item.row_uuid).values_list("pk"))


def _place(item: ReviewItem) -> Environment | None:
    """Return the environment of an item, None once it is purged. Raises Conflict while it is deleted."""
    place = Environment.every.filter(uuid=item.environment_uuid).first() if item.environment_uuid else None
    if place is not None and place.deleted_at is not None:
        raise Conflict("The environment is deleted. Restore it first, or cancel the review.")
    return place


def _require_seen(item: ReviewItem, line: Line | None, state: str, chosen: Decision) -> None:
    """Raise Conflict unless the access is in the state that the reviewer saw; empty stands for none."""
    if (line.state if line else "") != state:
        raise Conflict(f"{item}: this access has changed since the page was shown. Look at it again.")
    if line is None and chosen != Decision.END:
        raise Conflict(f"{item}: this access has ended already, so nothing of it is left. Choose End.")
    if line is not None and line.void and chosen == Decision.KEEP:
        raise Conflict(f"{item}: this counts for nothing, since {line.void}. Choose End.")


def _needs_reason(item: ReviewItem, line: Line | None, chosen: Decision, actor: Principal) -> str:
    """Return why a decision needs a reason, or nothing."""
    if item.decision:
        return "Write why you decide about this again."
    if item.reviewer_uuid != actor.uuid:
        asked = f"{item.reviewer_name} is asked" if item.reviewer_name else "Nobody was asked"
        return f"{asked}. Write why you decide about this."
    if chosen == Decision.KEEP and line and line.right != item.right:
        return f"{item}: this access is another one than was listed. Write why it is kept."
    return (
        "It was not used for a long time. Write why it is kept."
        if item.unused and chosen != Decision.END
        else ""
    )


def _make_less(actor: Principal, item: ReviewItem, line: Line, less: Less) -> list[str]:
    """Change access by the ordinary act, and return the row that it changed. Raises what the act raises."""
    row, changes = line.way.row, less.changes
    if "prefix" in changes:
        changes["prefix"] = validate_prefix(changes["prefix"])
    _require_less(item, line, changes)
    if isinstance(row, Membership):
        memberships.change_membership(actor=actor, membership=row, **changes)
    elif isinstance(row, Trust):
        trusts.change(actor=actor, trust=row, **changes)
    elif isinstance(row, User):
        accounts.update_user(actor=actor, user=row, **changes)
    return [str(row.uuid)]


def _require_less(item: ReviewItem, line: Line, changes: Mapping[str, Any]) -> None:
    """Raise InvalidField unless a change is possible, adds nothing, and takes something away."""
    way = line.way
    if line.kind == AccessKind.INSTALLATION:
        if way.role != UserRole.ADMIN or changes != {"role": UserRole.AUDITOR}:
            raise InvalidField("role", f"{item}: an administrator becomes an auditor, and no other change.")
        return
    if line.kind not in _CHANGEABLE:
        kinds = {AccessKind.TOKEN: "a service token", AccessKind.RELEASE: "a release"}
        what = kinds.get(line.kind, "a place in a group")
        raise InvalidField("decision", f"{item}: {what} can't be made less. Keep it, or end it.")
    role, prefix = memberships.parse_role(changes.get("role", way.role)), changes.get("prefix", way.prefix)
    ends = changes.get("expires_at", way.expires_at)
    if role.rank > memberships.parse_role(way.role).rank:
        raise InvalidField("role", f"{item}: a review gives no higher role.")
    if not Grant.reaches(way.prefix, prefix):
        raise InvalidField("prefix", f"{item}: choose a path under the present one.")
    if way.expires_at and (ends is None or ends > way.expires_at):
        raise InvalidField("expires_at", f"{item}: choose an earlier end than the present one.")
    if (str(role), prefix, ends) == line.facts:
        raise InvalidField("decision", f"{item}: nothing would change. Choose Keep.")


def _end(actor: Principal, item: ReviewItem, line: Line | None) -> list[str]:
    """End access by the ordinary act, and return the rows that it ended. Raises what the act raises."""
    ended = []
    if line is not None:
        _end_line(actor, line)
        ended.append(str(line.way.place.uuid if line.way.place else line.way.row.uuid))
    if item.kind == AccessKind.TOKEN:
        for token in live_successors(item.review, item.row_uuid):
            tokens.revoke(actor=actor, token=token)
            ended.append(str(token.uuid))
    return ended


def _end_line(actor: Principal, line: Line) -> None:
    row, place = line.way.row, line.way.place
    if place is not None:
        groups.remove_from_group(actor=actor, member=place)
    elif isinstance(row, Membership):
        memberships.revoke_membership(actor=actor, membership=row)
    elif isinstance(row, ServiceToken):
        tokens.revoke(actor=actor, token=row)
    elif isinstance(row, Trust):
        trusts.delete(actor=actor, trust=row)
    elif isinstance(row, ProgramRelease):
        end_release(actor=actor, release=row)
    else:
        accounts.update_user(actor=actor, user=row, role=UserRole.USER)


def _parsed(decision: str, less: Less) -> Decision:
    """Return the decision of this name. Raises InvalidField for none, and unless a change says to what."""
    if decision not in {each.value for each in Decision if each}:
        raise InvalidField("decision", "Choose keep, change or end.")
    chosen = Decision(decision)
    if chosen == Decision.CHANGE and not less.changes:
        raise InvalidField("decision", "Choose a lower role, a path or an end.")
    if chosen != Decision.CHANGE and less.changes:
        raise InvalidField("decision", "A role, path or end goes with change alone.")
    return chosen


def _decision(item: ReviewItem) -> dict[str, Json]:
    return {
        "item": str(item.uuid),
        "decision": str(item.decision),
        "reason": item.reason,
        "kept": item.kept,
        "decided_at": utc_text(item.decided_at) if item.decided_at else "",
    }
