"""Offboarding: what a user can read, what they did read, and which of it is still served.

Secrets of which they know (`exposure`) a value that is or was just now served are queued for rotation.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import TypeVar
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.module_loading import import_string

from audit_app.db.batches import in_batches
from audit_app.events import streams
from audit_app.events.actions import Action
from audit_app.integrity.row_authentication import AuthenticatedRow
from audit_app.queries.access_log import record_view
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import record
from environments_app.authorization.credential_custody import CustodyGraph
from environments_app.authorization.policy import Principal, require, require_confirmed, visible
from environments_app.authorization.principals import grants_ignoring_status
from environments_app.errors import Conflict, Invisible
from environments_app.models import Environment, ServiceToken, Trust, User
from environments_app.users.accounts import disable_user
from environments_app.users.password_backend import named_user
from secrets_app.exposure.known_values import Known, known_to
from secrets_app.models import Secret

_Row = TypeVar("_Row", bound=AuthenticatedRow)
Queue = Callable[[Collection[UUID]], int]


@dataclass(frozen=True, kw_only=True)
class OffboardingReport:
    """The offboarding report of a user."""

    user: User
    could_read: Sequence[Secret]
    known: Sequence[Known]
    tokens: Sequence[ServiceToken]
    trusts: Sequence[Trust]
    # That the person could sign in as.
    accounts: Sequence[User]

    @property
    def standing(self) -> list[Known]:
        return [each for each in self.known if each.stands]


@dataclass(frozen=True, kw_only=True)
class Offboarded:
    """What was done: how many secrets are marked as due, and how many rotations were brought forward."""

    marked: int
    queued: int


def find_person(*, actor: Principal, username: str) -> User:
    """Return a user by name. Raises Forbidden, and Invisible if there is none."""
    require(actor=actor, action=Action.USER_VIEW, environment=None)
    user = named_user(username)
    if user is None:
        raise Invisible("User not found.")
    return user


def offboarding_report(*, actor: Principal, user: User) -> OffboardingReport:
    """Return what a person could read, knows, and holds. Raises Forbidden: administrators and auditors may.

    What they know is read from the audit log, and recorded as a view of it, before anything is looked up.
    """
    require(actor=actor, action=Action.USER_VIEW, environment=None)
    record_view(viewer=actor, face="offboarding", wanted={"reader": f"user {user.username}"})
    could_read = Secret.objects.filter(visible(grants_ignoring_status(user), Action.SECRET_REVEAL), live=True)
    # Those of workloads live for minutes, by their trusts.
    tokens = ServiceToken.objects.filter(revoked_at=None, trust_uuid=None).select_related("environment")
    trusts = Trust.objects.select_related("environment")
    others = User.objects.filter(is_active=True).exclude(pk=user.pk)
    hands = CustodyGraph()

    def held(rows: QuerySet[_Row]) -> list[_Row]:
        found = list(rows.order_by("pk"))
        hands.learn(row.uuid for row in found)
        return [
            row
            for row in found
            if getattr(row, "created_by_id", None) == user.pk
            or user.uuid in hands.behind(row.uuid, environment=getattr(row, "environment", None))
        ]

    return OffboardingReport(
        user=user,
        could_read=list(could_read.select_related("environment").order_by("environment__name", "name")),
        known=known_to(UUID(str(user.uuid))),
        tokens=[token for token in held(tokens) if token.is_live],
        trusts=[trust for trust in held(trusts) if trust.is_live],
        accounts=held(others),
    )


def offboard(*, actor: Principal, user: User) -> Offboarded:
    """Disable an account, which ends its sessions, and queue what the person knows for rotation.

    Secrets are marked as due; those under a policy with a cadence rotate as soon as their window
    allows it. It can be repeated: what stands by then is queued again.
    Raises Forbidden, ConfirmationNeeded, Tampered, or Conflict for oneself and the last administrator.
    """
    require(actor=actor, action=Action.USER_CHANGE, environment=None)
    require_confirmed(actor)
    if actor.uuid == user.uuid:
        raise Conflict("You can't offboard yourself. Ask another administrator.")
    # First, so that nothing more is read while the rest is found.
    disable_user(actor=actor, user=user)
    standing = offboarding_report(actor=actor, user=user).standing
    for environment, group in groupby(standing, key=lambda known: known.secret.environment):
        _mark(actor, user, environment, [known.secret for known in group])
    due = [known.secret.uuid for known in standing]
    queued = sum(queue(due) for queue in _queues()) if due else 0
    record(
        actor=actor,
        action=Action.USER_OFFBOARD,
        stream=streams.SYSTEM,
        object=AuditObject("user", user.uuid, user.username),
        details={"marked": len(due), "queued": queued},
    )
    return Offboarded(marked=len(due), queued=queued)


def _mark(actor: Principal, user: User, environment: Environment, secrets: Sequence[Secret]) -> None:
    for batch in in_batches(secrets):
        with transaction.atomic():
            rows = Secret.objects.filter(pk__in=[secret.pk for secret in batch])
            rows.update(rotation_due_at=timezone.now())
            record(
                actor=actor,
                action=Action.USER_OFFBOARD,
                stream=streams.environment_stream(environment.uuid),
                object=AuditObject("user", user.uuid, user.username),
                details={"due": [secret.name for secret in batch]},
            )


@cache
def _queues() -> tuple[Queue, ...]:
    return tuple(import_string(path) for path in settings.KEEPER_ROTATION_RESCHEDULERS)
