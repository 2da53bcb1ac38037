"""The only gate for approvals: in a protected environment each change needs two people.

Each use case that writes, deletes or widens access calls `require_approval` after the policy let
it pass. It gets a `ApprovalGrant`, without which the rows cannot be written, or the use case ends there
with a request stored and nothing done. An approval is consumed in the transaction of the change.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import models, transaction
from django.db.models import BigIntegerField, Q
from django.urls import reverse
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.events.actors import NIL, Actor, ActorKind
from audit_app.integrity.row_authentication import verified_rows
from audit_app.integrity.row_state import row_digest_entry
from audit_app.interfaces import Purpose, keyring
from audit_app.models import deployment_uuid
from audit_app.recording.drafts import AuditObject, stream_and_object
from audit_app.recording.recorder import record
from core.canonical_json import Json, canonical_json
from core.db.prepared import Argument, PreparedQuery
from core.db.statements import Precondition, has_row_now
from environments_app.approvals.approvers import approvals_that_count, approver_still_eligible, people_to_tell
from environments_app.approvals.group_members import change_since, lock_reach
from environments_app.authorization.credential_custody import CustodyGraph
from environments_app.authorization.policy import Principal, grants_allow
from environments_app.authorization.principals import refresh_principal
from environments_app.authorization.rows import lock_authentic
from environments_app.errors import ApprovalNeeded, ApprovalVoid, Conflict
from environments_app.interfaces import owner_of
from environments_app.models import Approval, ApprovalState, Environment, Role
from environments_app.models.approval import in_time
from environments_app.notifications.service import raise_alert

_DIGEST_LABEL: Final = "keeper/proposal/v1"
_MAX_OPEN: Final = 200
MAX_REASON: Final = 500


class Line(NamedTuple):
    """One line of a proposed change, as the approver sees it: never a value."""

    label: str
    before: str
    after: str


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """One proposed act: its object, the expected state, and everything that it would write.

    `content` is what the digest binds; it may hold values and is stored nowhere from here.
    `arguments` is what the owning app needs again and is not secret. `keep` returns the
    rows in which the owning app seals the rest; it is called before the transaction that saves them.
    """

    action: Action
    environment: Environment
    object: AuditObject
    expected: str = ""
    content: Mapping[str, Json] = field(default_factory=dict, repr=False)
    summary: Sequence[Line] = ()
    arguments: Mapping[str, Json] = field(default_factory=dict, repr=False)
    keep: Callable[[Approval], Sequence[models.Model]] | None = field(default=None, repr=False)
    # What the requester wrote about it: approvers read it. The digest does not cover it.
    reason: str = ""

    def message(self, actor: Principal) -> bytes:
        """Return the bytes that the digest covers, requester included."""
        return canonical_json(
            [
                _DIGEST_LABEL,
                str(deployment_uuid()),
                str(self.environment.uuid),
                str(actor.kind),
                str(actor.uuid),
                str(self.action),
                self.object.kind,
                str(self.object.uuid),
                self.object.name,
                self.expected,
                dict(self.content),
                dict(self.arguments),
            ]
        )


class ApprovalGrant:
    """The proof that a write in an environment needs no approval, or has one.

    Only this module creates one. The writer consumes it in the transaction of the write.
    """

    __slots__ = ("_approval", "_environment_id", "_settled", "_spent")

    def __init__(
        self,
        maker: object,
        environment: Environment,
        *,
        approval: Approval | None = None,
        settled: bool = False,
    ) -> None:
        if maker is not _MAKER:
            raise TypeError("require_approval alone gives an approval")
        self._environment_id = environment.pk
        self._approval = approval
        # Whether it needs no approval even in a protected environment.
        self._settled = settled
        self._spent = False

    @property
    def request(self) -> int:
        """The id of the approved request. Raises TypeError if it took none."""
        if self._approval is None:
            raise TypeError("this needs no approval")
        return int(self._approval.pk)

    def preconditions(self) -> list[Precondition]:
        """Return what `require_unneeded` asks, for a transaction that asks it after its last lock."""
        if self._approval is not None or self._settled:
            return [Precondition(_DELETED.statement(self._environment_id), ApprovalVoid(_DELETED_SINCE))]
        return [Precondition(_CLOSED.statement(self._environment_id), ApprovalVoid(_CLOSED_SINCE))]

    def require_unneeded(self, environment: Environment) -> None:
        """Raise ApprovalVoid if the environment was deleted since, or, without an approval, protected."""
        self._require_place(environment)
        for query, error in self.preconditions():
            if has_row_now(query):
                raise error

    def consume(
        self, environment: Environment, *, actor: Actor | None = None, state: str = ""
    ) -> dict[str, Json]:
        """Mark the approval, if any, as carried out, and return its details for the event.

        Call it in the transaction of the write, with the `state` of the locked row in the words of the
        proposal's `expected`: a change between the look at the approval and the lock makes it void. A second
        write of the same act finds it consumed, and another act that carries it as well does not.

        Raises ApprovalVoid if the row has another state, it was carried out concurrently, its approver or the
        actor lost the right, or the environment was protected since it was given.
        """
        self.require_unneeded(environment)
        if self._approval is not None and self._approval.expected != state:
            raise ApprovalVoid(_CHANGED_SINCE)
        return self.consume_approval(environment, actor=actor)

    def consume_approval(self, environment: Environment, *, actor: Actor | None = None) -> dict[str, Json]:
        """Do what `consume` does with an approval, for who claims the row by its revision.

        Without an approval the `preconditions` are asked besides.
        """
        self._require_place(environment)
        if self._approval is None:
            return {}
        with lock_authentic(self._approval) as stored:
            if not (self._spent and stored.state == ApprovalState.EXECUTED):
                _require_standing(stored)
                stored.state, stored.finished_at = ApprovalState.EXECUTED, timezone.now()
                stored.save(update_fields=["state", "finished_at"])
                owner_of(stored.action).forget(stored)
                record_act(actor=actor or stored.requester, action=Action.APPROVAL_CARRY_OUT, approval=stored)
                # The head of the environment's stream is locked by now: who loses a role there is before or
                # after all of this.
                _require_rights(stored, actor)
                self._spent = True
            several = stored.environment.approvals_needed > 1
            names = list(approvals_that_count(stored).values()) if several else []
        return {"approval": str(stored.uuid), "approved_by": ", ".join(names) or stored.decided_by_name}

    def _require_place(self, environment: Environment) -> None:
        if environment.pk != self._environment_id:
            raise TypeError("an approval holds for one environment")


_MAKER: Final = object()
_SECOND: Final = "Guarded secrets take a second person."
_SAID: Final = frozenset({Action.SECRET_REVEAL, Action.SECRET_UNGUARD, Action.SECRET_RELEASE})
_CLOSED_SINCE: Final = "Approvals were turned on for this environment, or it was deleted. Try again."
_CHANGED_SINCE: Final = "Something has changed since this was approved. Request approval again."
_DELETED_SINCE: Final = "The environment was deleted. Nothing was changed."
_DELETED: Final = PreparedQuery(
    lambda: (
        Environment.every.filter(pk=Argument(0, BigIntegerField()), deleted_at__isnull=False)
        .order_by()
        .values_list("pk")
    )
)
_CLOSED: Final = PreparedQuery(
    lambda: (
        Environment.every.filter(
            Q(protected=True) | Q(deleted_at__isnull=False), pk=Argument(0, BigIntegerField())
        )
        .order_by()
        .values_list("pk")
    )
)


def require_approval(*, actor: Principal, proposal: Proposal) -> ApprovalGrant:
    """Return the approval of an act, or store a request for it and end the act.

    Outside protected environments there is nothing to clear. Keeper itself acts within what was
    approved with its target, policy or deletion, or for who has the host.

    Raises ApprovalNeeded once the request is stored (or an equal one exists), and ApprovalVoid if this
    should carry out a request with different content.
    """
    return unneeded_approval(actor, proposal.environment) or require_release(actor=actor, proposal=proposal)


def require_release(*, actor: Principal, proposal: Proposal) -> ApprovalGrant:
    """Do what `require_approval` does in any environment, and for Keeper itself: of a guarded secret."""
    environment = proposal.environment
    message = proposal.message(actor)
    approved = _matching(actor, proposal, message, ApprovalState.APPROVED)
    if approved is not None:
        return ApprovalGrant(_MAKER, environment, approval=approved)
    named = Approval.objects.filter(uuid=actor.approval or NIL, environment=environment).first()
    if named is not None:
        raise ApprovalVoid(
            change_since(named.arguments, environment)
            or "Something has changed since this was approved, or the approver no longer has permission "
            "or was ended since. Request approval again."
        )
    asked = _matching(actor, proposal, message, ApprovalState.PENDING)
    guarded = proposal.action in _SAID or not needs_second_person(actor, environment)
    raise ApprovalNeeded((asked or _ask(actor, proposal, message)).pk, *([_SECOND] if guarded else []))


def approval_for_request(
    *, actor: Principal, proposal: Proposal, asked_by: UUID, role: Role
) -> ApprovalGrant:
    """Return the approval to grant access that its holder asked for, or store a request and end there.

    An access request has two people: the requester and the manager who grants it. That suffices for a role
    that only reads, since a manager could reveal the values anyway. A role that writes or decides counts as
    one of the two people of later acts, so a manager must not create it alone: that grant waits for the
    approval of a third person. So does every grant to an account that the manager could use.

    Raises ApprovalNeeded, ApprovalVoid; TypeError for who asked, or who manages by administration alone.
    """
    environment = proposal.environment
    if not needs_second_person(actor, environment):
        return ApprovalGrant(_MAKER, environment)
    manages = grants_allow(actor, proposal.action, environment_id=environment.pk)
    if actor.kind is not ActorKind.USER or actor.uuid == asked_by or not manages:
        raise TypeError("another person who manages the environment grants what was asked for")
    two = not CustodyGraph().are_one(actor.uuid, [asked_by], environment=environment)
    if role.rank <= Role.READER.rank and two:
        return ApprovalGrant(_MAKER, environment, settled=True)
    return require_approval(actor=actor, proposal=proposal)


def needs_second_person(actor: Actor, environment: Environment) -> bool:
    """Return whether this actor's changes in an environment need an approval."""
    # A row that Keeper did not write is not trusted: the stricter rule applies.
    guarded = environment.protected or not environment.is_authentic()
    return guarded and actor.kind is not ActorKind.SYSTEM


def unneeded_approval(actor: Actor, environment: Environment) -> ApprovalGrant | None:
    """Return the approval of an actor whose changes need none; None if `require_approval` has to be asked."""
    if needs_second_person(actor, environment):
        return None
    return ApprovalGrant(_MAKER, environment, settled=actor.kind is ActorKind.SYSTEM)


def system_approval(actor: Actor, environment: Environment) -> ApprovalGrant:
    """Return the approval of Keeper's own work. Raises TypeError for any other actor."""
    unneeded = unneeded_approval(actor, environment)
    if unneeded is None:
        raise TypeError("only Keeper itself works without asking")
    return unneeded


def record_act(
    *, actor: Actor, action: Action, approval: Approval, details: Mapping[str, Json] | None = None
) -> None:
    """Record what was done about a request, in the caller's transaction."""
    record(
        actor=actor,
        action=action,
        **stream_and_object(approval),
        details={
            "act": approval.action,
            "kind": approval.object_kind,
            "object": str(approval.object_uuid),
            "requester": approval.requester_name,
            **(details or {}),
            **row_digest_entry(approval),
        },
    )


def _require_standing(approval: Approval) -> None:
    if approval.state == ApprovalState.EXECUTED:
        raise ApprovalVoid("This request was already applied.")
    if approval.state != ApprovalState.APPROVED or not approval.is_live:
        raise ApprovalVoid("This request is not approved. Request approval again.")
    lock_reach(approval.arguments)
    changed = change_since(approval.arguments, approval.environment)
    if changed:
        raise ApprovalVoid(changed)


def _require_rights(approval: Approval, actor: Actor | None) -> None:
    """Raise ApprovalVoid if the approver, or the requester since the use case began, has lost a right."""
    if not approver_still_eligible(approval):
        raise ApprovalVoid(
            "The approver no longer has permission, or their account was ended since. Request approval again."
        )
    if not isinstance(actor, Principal):
        return
    now = refresh_principal(actor)
    if {*actor.grants} - {*now.grants} or (actor.is_admin and not now.is_admin):
        raise ApprovalVoid(
            f"The permissions of {actor.name} changed just now. Nothing was changed; apply it again."
        )


def _matching(actor: Principal, proposal: Proposal, message: bytes, state: ApprovalState) -> Approval | None:
    """Return a live request of this actor for exactly this act, if there is one."""
    rows = Approval.objects.filter(
        in_time(),
        environment=proposal.environment,
        action=proposal.action,
        object_uuid=proposal.object.uuid,
        requester_uuid=actor.uuid,
        state=state,
    ).select_related("environment")
    for row in verified_rows(rows):
        same = row.is_live and keyring().verify(Purpose.ROW_MAC, message, bytes(row.digest))
        if same and (state != ApprovalState.APPROVED or approver_still_eligible(row)):
            return row
    return None


def _ask(actor: Principal, proposal: Proposal, message: bytes) -> Approval:
    """Store a request with its owner's payload, record it, and notify its approvers."""
    approval = Approval(
        environment=proposal.environment,
        action=proposal.action,
        object_kind=proposal.object.kind,
        object_uuid=proposal.object.uuid,
        object_name=proposal.object.name,
        expected=proposal.expected,
        digest=keyring().mac(Purpose.ROW_MAC, message),
        summary=[line._asdict() for line in proposal.summary],
        arguments=dict(proposal.arguments),
        reason=proposal.reason[:MAX_REASON],
        requester_kind=actor.kind,
        requester_uuid=actor.uuid,
        requester_name=actor.name,
        expires_at=timezone.now() + timedelta(hours=settings.KEEPER_APPROVAL_HOURS),
    )
    kept = proposal.keep(approval) if proposal.keep else ()
    people = people_to_tell(approval)
    # Durable: the refusal that follows would take a request along that joined a transaction.
    with transaction.atomic(durable=True):
        _refuse_too_many(actor, proposal.environment)
        approval.save(force_insert=True)
        for row in kept:
            row.save(force_insert=True)
        record_act(actor=actor, action=Action.APPROVAL_ASK, approval=approval)
        raise_alert(
            kind="approval",
            about=approval.uuid,
            environment=approval.environment,
            subject=f"{actor.name} asks to {approval.asked_act_and_place}"[:200],
            lines=[f"Reason: {approval.reason}"] if approval.reason else [],
            link=reverse("approval-detail", args=[approval.pk]),
            people=[person.uuid for person in people if person.email],
        )
    return approval


def _refuse_too_many(actor: Principal, environment: Environment) -> None:
    waiting = Approval.objects.filter(
        in_time(),
        environment=environment,
        requester_uuid=actor.uuid,
        state=ApprovalState.PENDING,
    )
    if waiting.count() >= _MAX_OPEN:
        raise Conflict(f"{_MAX_OPEN} of your requests are pending. Cancel some first.")
