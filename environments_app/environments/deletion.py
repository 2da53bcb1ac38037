"""Deletes environments: each is kept sealed for a time, restored with everything, and then removed in pieces.

A deleted environment stays in the database as it is, so that a restore brings all of it back. It exists for
nobody: `Environment.objects` leaves it out, nobody has a grant in it, and `require` refuses. Its name
stays taken until it is removed. Nothing is deleted in other systems: what was synced to them stays there.
"""

import logging
import time
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Final

from django.conf import settings
from django.db import models, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.events.actors import Actor, system
from audit_app.events.streams import environment_stream
from audit_app.integrity.row_authentication import (
    AuthenticatedRow,
    named_by_mac,
    record_integrity_violation,
    verified_rows,
)
from audit_app.integrity.row_state import object_name, row_digest_entry, state_digest
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import record
from core.canonical_json import Json
from environments_app.approvals.gate import Line, Proposal, require_approval
from environments_app.authorization.policy import (
    Principal,
    environments_for,
    require,
    require_confirmed,
)
from environments_app.authorization.principals import principal_among_deleted
from environments_app.authorization.rows import lock_authentic
from environments_app.environments.purge_checks import dependents, problems_of, relations
from environments_app.errors import Conflict, Invisible, Tampered
from environments_app.models import Alert, Environment
from environments_app.notifications.service import EMERGENCY
from environments_app.sessions.service import lock_row

# What people know of an environment, in this order: its models by their labels.
_TOLD: Final = {
    "secrets_app.secret": "Secrets",
    "sync_app.target": "Sync targets",
    "sync_app.rotationpolicy": "Rotation policies",
    "environments_app.membership": "Memberships",
    "environments_app.servicetoken": "Service tokens",
    "environments_app.personaltoken": "Personal tokens for it alone",
    "environments_app.trust": "Trusts of workloads",
    "secrets_app.webhook": "Webhooks",
    "environments_app.recipient": "Alert recipients",
    "sync_app.mountrule": "Mounts of a migration",
    "sync_app.migration": "Migrations",
    "secrets_app.share": "One-time links",
    "environments_app.approval": "Approval requests",
    "environments_app.accessrequest": "Access requests",
    "environments_app.samlgroupmapping": "Group mappings",
}
_UNREVIEWED: Final = "An emergency read here waits for its review. Someone else reviews it first."
_PIECE: Final = 200
_NAMED: Final = 5
_PASS_SECONDS: Final = 20.0
logger = logging.getLogger(__name__)


def contents(environment: Environment) -> list[tuple[str, int]]:
    """Return what would go with an environment: what it is, and how many; nothing of which there is none."""
    related = {relation.related_model._meta.label_lower: relation for relation in relations(Environment)}
    found = []
    for label, words in _TOLD.items():
        model, field = related[label].related_model, related[label].field.name
        rows: QuerySet[Any] = QuerySet(model).filter(**{field: environment})
        names = {each.name for each in model._meta.get_fields()}
        rows = rows.filter(live=True) if "live" in names else rows
        rows = rows.filter(revoked_at=None) if "revoked_at" in names else rows
        if count := rows.count():
            found.append((words, count))
    return found


def delete_environment(*, actor: Principal, environment: Environment) -> Environment:
    """Delete an environment with all that is in it, and return it: from the next request on it is gone.

    Raises Invisible, Forbidden, ConfirmationNeeded, Tampered, ApprovalNeeded if it is protected, and Conflict
    while an emergency read in it waits for its review, or if the right was lost, or it was deleted or
    protected, meanwhile.
    """
    require(actor=actor, action=Action.ENVIRONMENT_DELETE, environment=environment)
    require_confirmed(actor)
    proposal = Proposal(
        action=Action.ENVIRONMENT_DELETE,
        environment=environment,
        object=_object(environment),
        expected=state_digest(environment),
        summary=[Line(words, str(count), "") for words, count in contents(environment)],
    )
    approval = require_approval(actor=actor, proposal=proposal)
    with lock_row(actor, environment, Action.ENVIRONMENT_DELETE, environment) as stored:
        if stored.deleted_at is not None:
            raise Conflict(f"{stored.name} is deleted already.")
        if Alert.objects.filter(environment=stored, kind=EMERGENCY, open=True).exists():
            raise Conflict(_UNREVIEWED)
        approved = approval.consume(stored, actor=actor, state=state_digest(stored))
        stored.deleted_at = timezone.now()
        stored.save(update_fields=["deleted_at", "updated_at"])
        counts: dict[str, Json] = {words.lower(): count for words, count in contents(stored)}
        _record(actor, Action.ENVIRONMENT_DELETE, stored, {**counts, **approved, **row_digest_entry(stored)})
    return stored


def deleted_environments(actor: Principal) -> QuerySet[Environment]:
    """Return the deleted environments that an actor may restore, the last deleted first."""
    places = environments_for(actor, Action.ENVIRONMENT_RESTORE)
    if not actor.sees_installation:
        places = environments_for(principal_among_deleted(actor), Action.ENVIRONMENT_RESTORE)
    rows: QuerySet[Environment] = Environment.every.filter(deleted_at__isnull=False, purge_began_at=None)
    if places is None:
        return rows.none()
    return (rows if actor.sees_installation else rows.filter(places)).order_by("-deleted_at")


def find_deleted(*, actor: Principal, name: str) -> Environment:
    """Return a deleted environment that the actor may restore. Raises Invisible."""
    found = deleted_environments(actor).filter(name=name).first()
    if found is None or not verified_rows([found]):
        raise Invisible("There is no such deleted environment.")
    return found


def restore_environment(*, actor: Principal, environment: Environment) -> Environment:
    """Bring a deleted environment back with everything as it was, access included.

    Raises Invisible, Forbidden, ConfirmationNeeded, Tampered, and Conflict if it is not deleted, or its
    removal has begun.
    """
    require(actor=_among_deleted(actor), action=Action.ENVIRONMENT_RESTORE, environment=environment)
    require_confirmed(actor)
    with lock_row(actor, environment, Action.ENVIRONMENT_RESTORE, environment) as stored:
        if stored.deleted_at is None:
            raise Conflict(f"{stored.name} is not deleted.")
        if stored.purge_began_at is not None:
            raise Conflict(f"{stored.name} is being removed for good: its time was over.")
        deleted_at, stored.deleted_at = stored.deleted_at, None
        stored.save(update_fields=["deleted_at", "updated_at"])
        told = {"deleted_at": deleted_at.isoformat(), **row_digest_entry(stored)}
        _record(actor, Action.ENVIRONMENT_RESTORE, stored, told)
    return stored


def purge_time(environment: Environment) -> datetime | None:
    """Return when a deleted environment will be removed; None if it is not deleted, or never."""
    days = settings.KEEPER_DELETED_RETENTION_DAYS
    return environment.deleted_at + timedelta(days=days) if environment.deleted_at and days else None


def purge_environments() -> int:
    """Go on with the removal of the environments whose time is over; return how many are gone.

    Each piece is a transaction of its own, and what is left waits for the next pass. An environment with a
    row that Keeper did not write stays: editing the database destroys no secret.
    """
    due = Q(purge_began_at__isnull=False)
    if days := settings.KEEPER_DELETED_RETENTION_DAYS:
        due |= Q(deleted_at__lte=timezone.now() - timedelta(days=days))
    gone, rows = 0, Environment.every.filter(due, deleted_at__isnull=False).order_by("deleted_at")
    for environment in verified_rows(list(rows)):
        try:
            gone += purge(actor=system(), environment=environment, seconds=_PASS_SECONDS)
        except Tampered as error:
            logger.warning("%s", error)
    return gone


def purge(*, actor: Actor, environment: Environment, seconds: float | None = None) -> bool:
    """Remove a deleted environment piece by piece, one at least, for so many seconds; return if it is gone.

    Raises Conflict if it was restored meanwhile, and Tampered, which names them, if rows of it were edited,
    put back or lost outside Keeper: their traces stay.
    """
    _require_untouched(environment)
    until = None if seconds is None else time.monotonic() + seconds
    with lock_authentic(environment) as stored:
        if stored.deleted_at is None:
            raise Conflict(f"{stored.name} is not deleted.")
        if stored.purge_began_at is None:
            stored.purge_began_at = timezone.now()
            stored.save(update_fields=["purge_began_at", "updated_at"])
            counts: dict[str, Json] = {words.lower(): count for words, count in contents(stored)}
            _record(actor, Action.ENVIRONMENT_PURGE, stored, {**counts, **row_digest_entry(stored)})
    while _remove_piece(actor, stored):
        if until is not None and time.monotonic() >= until:
            return False
    return True


def _require_untouched(environment: Environment) -> None:
    found = list(islice(problems_of(environment), _NAMED + 1))
    if not found:
        return
    named = [f"{each.object}: {each.message}" for each in found[:_NAMED]]
    reason = "; ".join(named) + ("; and more" if len(found) > _NAMED else "")
    told = {"kind": "environment", "uuid": environment.uuid, "name": environment.name}
    record_integrity_violation(**told, reason=f"it is not removed: {reason}"[:500])
    raise Tampered(
        f"{environment.name} is not removed: the database was changed outside Keeper ({reason}). "
        "`keeper verify-audit` names each such row: find out who changed it, and take a backup of the proof."
    )


def _remove_piece(actor: Actor, environment: Environment) -> bool:
    """Remove rows of the first model that has any, and last the environment; return if any was left."""
    for model, path in dependents():
        with transaction.atomic():
            rows: QuerySet[Any] = QuerySet(model).filter(**{path: environment}).order_by("-pk")
            if issubclass(model, AuthenticatedRow):
                rows = rows.prefetch_related(*named_by_mac(model))
            if batch := list(rows[:_PIECE]):
                _remove(actor, environment, batch)
                return True
    with transaction.atomic():
        _record(actor, Action.ENVIRONMENT_PURGE, environment, row_digest_entry(environment, gone=True))
        environment.delete()
    return False


def _remove(actor: Actor, environment: Environment, batch: list[models.Model]) -> None:
    model = type(batch[0])
    for row in batch:
        if isinstance(row, AuthenticatedRow) and not row.is_authentic():
            raise Tampered(f"{object_name(row)} was changed outside Keeper meanwhile: it is not removed.")
    if issubclass(model, AuthenticatedRow) and model.RECORDED:
        told = {"removed": len(batch), "kind": model.MAC_LABEL, **row_digest_entry(*batch, gone=True)}  # type: ignore[arg-type]  # of that model
        _record(actor, Action.ENVIRONMENT_PURGE, environment, told)
        for row in batch:
            row.delete()
    else:
        QuerySet(model).filter(pk__in=[row.pk for row in batch]).delete()


def _among_deleted(actor: Principal) -> Principal:
    return actor if actor.sees_installation else principal_among_deleted(actor)


def _object(environment: Environment) -> AuditObject:
    return AuditObject("environment", environment.uuid, environment.name)


def _record(actor: Actor, action: Action, environment: Environment, details: dict[str, Json]) -> None:
    stream = environment_stream(environment.uuid)
    record(actor=actor, action=action, stream=stream, object=_object(environment), details=details)
