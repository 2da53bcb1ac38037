"""Takes secrets out of use and back: rename, delete (soft), restore, purge, end of the recovery window.

A secret that was deleted long enough ago is destroyed.
"""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.events.actors import ActorKind, system
from audit_app.integrity.row_authentication import verified_rows
from audit_app.recording.recorder import record_many
from core.canonical_json import Json
from environments_app.approvals.gate import (
    ApprovalGrant,
    Line,
    require_approval,
    require_release,
    system_approval,
)
from environments_app.authorization.policy import Grant, Principal
from environments_app.authorization.principals import system_principal
from environments_app.models import Role
from secrets_app.errors import NotDeleted, StaleVersion, VersionGone
from secrets_app.interfaces import run_write_guards
from secrets_app.models import Secret, SecretVersion
from secrets_app.models.version_rules import DESTROYED
from secrets_app.queries.lookup import require_authentic, require_not_deleted, require_on
from secrets_app.rows import environment_snapshot
from secrets_app.rows.store import check_etag, event, update_stored
from secrets_app.services.proposals import acting
from secrets_app.services.releases import renaming_lines
from secrets_app.values.names import validate_secret_name


def rename(*, actor: Principal, secret: Secret, name: str, expected: str | None = None) -> Secret:
    """Give a secret another name in its environment; the row, its id and its history stay.

    Needs the right under both names. Raises InvalidName, NameTaken, StaleVersion,
    TamperedSecret, and Forbidden or Invisible.
    """
    validate_secret_name(name)
    for place in (secret.name, name):
        require_on(actor=actor, action=Action.SECRET_RENAME, secret=secret, name=place)
    require_authentic(secret)
    check_etag(secret, expected)
    if name == secret.name:
        return secret
    lines = [Line("Name", secret.name, name)]
    lines += renaming_lines(secret, name) if secret.guarded else []
    clearance = _cleared(actor, Action.SECRET_RENAME, secret, lines, name=name)
    before, secret.name = secret.name, name
    secret.refresh_search_text()
    update_stored(
        actor=actor,
        secret=secret,
        action=Action.SECRET_RENAME,
        details={"from": before},
        clearance=clearance,
        formerly=before,
    )
    return secret


def delete(
    *,
    actor: Principal,
    secret: Secret,
    expected: str | None = None,
    clearance: ApprovalGrant | None = None,
) -> Secret:
    """Delete a secret softly: it can be restored until it is purged, and its name is free.

    `clearance` is that of a move of which this is the end. Raises StaleVersion, ManagedValue,
    TamperedSecret, ApprovalNeeded, and Forbidden or Invisible.
    """
    require_on(actor=actor, action=Action.SECRET_DELETE, secret=secret)
    require_not_deleted(secret)
    require_authentic(secret)
    check_etag(secret, expected)
    confirm = run_write_guards(actor=actor, secret=secret, value=None)
    clearance = clearance or _cleared(actor, Action.SECRET_DELETE, secret)
    secret.live, secret.deleted_at = None, timezone.now()
    update_stored(
        actor=actor,
        secret=secret,
        action=Action.SECRET_DELETE,
        details={},
        clearance=clearance,
        confirm=confirm,
    )
    return secret


def mark_rotation_due(*, actor: Principal, secret: Secret, expected: str | None = None) -> Secret:
    """Mark a secret without a policy as due for manual rotation; its next value clears the mark.

    Raises StaleVersion, TamperedSecret, and Forbidden or Invisible.
    """
    require_on(actor=actor, action=Action.SECRET_UPDATE, secret=secret)
    require_not_deleted(secret)
    require_authentic(secret)
    check_etag(secret, expected)
    secret.rotation_due_at = timezone.now()
    update_stored(
        actor=actor,
        secret=secret,
        action=Action.SECRET_UPDATE,
        details={"fields": ["rotation_due_at"]},
        # A mark for users: it changes no served value, so it needs no approval.
        clearance=system_approval(system(), secret.environment),
    )
    return secret


def restore(*, actor: Principal, secret: Secret) -> Secret:
    """Bring a deleted secret back under its name, with its history.

    Raises NotDeleted, NameTaken if the name has been given to another in the meantime, VersionGone if its
    current version was destroyed, TamperedSecret, and Forbidden or Invisible.
    """
    require_on(actor=actor, action=Action.SECRET_RESTORE, secret=secret)
    _require_deleted(secret)
    require_authentic(secret)
    if not secret.current_number:
        raise VersionGone("The secret has no version yet. Create it under its name.")
    if secret.rules.state(secret.current_number) == DESTROYED:
        raise VersionGone(
            f"The current version, {secret.current_number}, was destroyed. "
            "Create the secret again under its name."
        )
    clearance = _cleared(actor, Action.SECRET_RESTORE, secret)
    secret.rules = secret.rules.again([secret.current_number], limit=secret.environment.delete_version_after)
    secret.live, secret.deleted_at = True, None
    update_stored(actor=actor, secret=secret, action=Action.SECRET_RESTORE, details={}, clearance=clearance)
    return secret


def purge(*, actor: Principal, secret: Secret) -> None:
    """Destroy a deleted secret with all its versions, for ever; the audit log keeps what happened.

    Raises NotDeleted, StaleVersion if it was restored in the meantime, TamperedSecret (a row that was
    edited to belong to another secret, or to look deleted, is evidence), and Forbidden or Invisible.
    """
    require_on(actor=actor, action=Action.SECRET_PURGE, secret=secret)
    _require_deleted(secret)
    require_authentic(secret)
    clearance = _cleared(actor, Action.SECRET_PURGE, secret)
    with transaction.atomic():
        approved = clearance.consume(secret.environment, actor=actor, state=secret.state)
        locked = Secret.objects.select_for_update().filter(
            pk=secret.pk, live__isnull=True, revision=secret.revision
        )
        if not locked.exists():
            raise StaleVersion("The secret was changed in the meantime. Nothing was deleted.")
        versions = SecretVersion.objects.filter(secret_id=secret.pk)
        details = {"versions": versions.count(), **approved}
        draft = event(actor=actor, secret=secret, action=Action.SECRET_PURGE, details=details)
        environment_snapshot.forget(secret.environment_id)
        versions.delete()
        secret.delete()
        record_many([draft])


# Nothing keeps the guard of the name that these leave: a second person agrees to them anywhere.
_FREEING: Final = frozenset({Action.SECRET_RENAME, Action.SECRET_PURGE})


def _cleared(
    actor: Principal, action: Action, secret: Secret, summary: Sequence[Line] = (), **arguments: Json
) -> ApprovalGrant:
    proposal = acting(action, secret, summary=summary, arguments=arguments)
    if secret.guarded and action in _FREEING and actor.kind is not ActorKind.SYSTEM:
        return require_release(actor=actor, proposal=proposal)
    return require_approval(actor=actor, proposal=proposal)


def _require_deleted(secret: Secret) -> None:
    if secret.live:
        raise NotDeleted("The secret is not deleted: it can be restored or purged once it is.")


logger = logging.getLogger(__name__)

_AT_A_TIME: Final = 500


def purge_time(secret: Secret) -> datetime | None:
    """Return when a deleted secret will be destroyed; None if it is not deleted, or never."""
    if secret.deleted_at is None or not settings.KEEPER_DELETED_RETENTION_DAYS:
        return None
    return secret.deleted_at + timedelta(days=settings.KEEPER_DELETED_RETENTION_DAYS)


def purge_expired() -> int:
    """Destroy what was deleted KEEPER_DELETED_RETENTION_DAYS ago (0: nothing, ever); return how many.

    Each is an act of its own with its own event. A row that Keeper did not write is skipped: editing the
    database destroys no secret.
    """
    if not settings.KEEPER_DELETED_RETENTION_DAYS:
        return 0
    before = timezone.now() - timedelta(days=settings.KEEPER_DELETED_RETENTION_DAYS)
    due = Secret.objects.select_related("environment").filter(
        live__isnull=True, deleted_at__lte=before, environment__deleted_at__isnull=True
    )
    return sum(_purged(secret) for secret in verified_rows(due.order_by("pk")[:_AT_A_TIME]))


def _purged(secret: Secret) -> bool:
    environment = secret.environment
    grant = Grant(
        environment_id=environment.pk,
        environment_uuid=environment.uuid,
        environment_name=environment.name,
        role=Role.MANAGER,
        prefix=secret.name,
    )
    try:
        purge(actor=system_principal(grants=(grant,)), secret=secret)
    except StaleVersion:
        logger.info("secret %s was restored or purged meanwhile", secret.uuid)
        return False
    return True
