"""Deletes, restores and destroys single versions of a secret, and a secret with all its versions for KV v2.

The current version of a living secret can always be read: a secret whose current version is deleted or
destroyed is deleted itself, until that version is restored or a new value is written.
"""

import logging
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

from django.db import transaction
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.integrity.row_authentication import verified_rows
from core.canonical_json import Json
from environments_app.approvals.gate import ApprovalGrant, Line, require_approval, system_approval
from environments_app.authorization.policy import Principal
from environments_app.authorization.principals import system_principal
from secrets_app.errors import ManagedValue, StaleVersion
from secrets_app.interfaces import run_write_guards
from secrets_app.keys.encrypted_field import Sealed
from secrets_app.models import Secret, SecretVersion
from secrets_app.queries.lookup import require_authentic, require_on
from secrets_app.rows import environment_snapshot
from secrets_app.rows.store import bounded, update_stored
from secrets_app.services.proposals import acting

logger = logging.getLogger(__name__)

_AT_A_TIME: Final = 500


def delete_versions(*, actor: Principal, secret: Secret, numbers: Collection[int]) -> Secret:
    """Delete versions, which can be restored; with its current version the secret is deleted.

    Versions that do not exist or are gone already stay as they are. Raises StaleVersion, ManagedValue,
    TamperedSecret, ApprovalNeeded, InvalidInput, and Forbidden or Invisible.
    """
    require_on(actor=actor, action=Action.SECRET_DELETE, secret=secret)
    _require_versions(secret)
    stored = _stored(secret, [number for number in numbers if not secret.rules.state(number)])
    if not stored:
        return secret
    confirm = run_write_guards(actor=actor, secret=secret, value=None)
    clearance = _cleared(actor, Action.SECRET_DELETE, secret, versions=[*stored])
    now = timezone.now()
    secret.rules = bounded(secret.rules.without(stored, at=now))
    _take_out(secret, stored, now)
    update_stored(
        actor=actor,
        secret=secret,
        action=Action.SECRET_DELETE,
        details={"versions": [*stored]},
        clearance=clearance,
        confirm=confirm,
    )
    return secret


def restore_versions(*, actor: Principal, secret: Secret, numbers: Collection[int]) -> Secret:
    """Restore deleted versions; with its current version a secret is served again.

    So is one that was deleted as a whole, which each of its versions was. Versions that are not deleted, or
    are destroyed, stay as they are. Raises StaleVersion, NameTaken, TamperedSecret, ApprovalNeeded, and
    Forbidden or Invisible.
    """
    require_on(actor=actor, action=Action.SECRET_RESTORE, secret=secret)
    rules, current = secret.rules, secret.current_number
    whole = not secret.live and not rules.hidden and not rules.state(current) and current in numbers
    if whole:
        require_authentic(secret)
    else:
        _require_versions(secret)
    gone = rules.deleted.keys() | ({current} if whole else set())
    # One that was only described has none.
    restored = _stored(secret, {*numbers} & gone - {*rules.destroyed})
    if not restored:
        return secret
    clearance = _cleared(actor, Action.SECRET_RESTORE, secret, versions=[*restored])
    secret.rules = rules.again(restored, limit=secret.environment.delete_version_after)
    if current in restored:
        secret.live, secret.deleted_at = True, None
    update_stored(
        actor=actor,
        secret=secret,
        action=Action.SECRET_RESTORE,
        details={"versions": [*restored]},
        clearance=clearance,
    )
    return secret


def destroy_versions(*, actor: Principal, secret: Secret, numbers: Collection[int]) -> Secret:
    """Destroy the values of versions for ever, of a deleted secret as well; their rows and events stay.

    Versions that do not exist or are destroyed already stay as they are. Raises as `delete_versions` does.
    """
    require_on(actor=actor, action=Action.SECRET_DESTROY, secret=secret)
    require_authentic(secret)
    stored = _stored(secret, [number for number in numbers if number not in secret.rules.destroyed])
    if not stored:
        return secret
    confirm = run_write_guards(actor=actor, secret=secret, value=None)
    clearance = _cleared(actor, Action.SECRET_DESTROY, secret, versions=[*stored])
    now = timezone.now()
    secret.rules = bounded(secret.rules.destroying(stored))
    _take_out(secret, stored, now)
    with transaction.atomic():
        # A snapshot may hold what was the current value; also one that is being stored until this is seen.
        environment_snapshot.forget(secret.environment_id)
        transaction.on_commit(lambda: environment_snapshot.forget(secret.environment_id))
        SecretVersion.objects.filter(secret_id=secret.pk, number__in=stored).update(
            value=Sealed(b""), data_key=None, destroyed_at=now
        )
        update_stored(
            actor=actor,
            secret=secret,
            action=Action.SECRET_DESTROY,
            details={"versions": [*stored]},
            clearance=clearance,
            confirm=confirm,
        )
    return secret


def delete_all(*, actor: Principal, secret: Secret) -> Secret:
    """Delete a secret with all its versions, so that clients of KV v2 see none of it; Keeper can restore it.

    Raises as `delete_versions` does.
    """
    require_on(actor=actor, action=Action.SECRET_DELETE, secret=secret)
    _require_versions(secret)
    confirm = run_write_guards(actor=actor, secret=secret, value=None)
    clearance = _cleared(actor, Action.SECRET_DELETE, secret, all=True)
    secret.rules = secret.rules.hiding()
    if secret.live:
        secret.live, secret.deleted_at = None, timezone.now()
    update_stored(
        actor=actor,
        secret=secret,
        action=Action.SECRET_DELETE,
        details={"all": True},
        clearance=clearance,
        confirm=confirm,
    )
    return secret


def delete_ended() -> int:
    """Delete the secrets whose current version's time is over; return how many.

    Readers refuse such a version from its time on. Each is an act with its own event. A row that Keeper did
    not write is skipped.
    """
    due = Secret.objects.select_related("environment").filter(live=True, version_ends_at__lte=timezone.now())
    return sum(_ended(secret) for secret in verified_rows(due.order_by("version_ends_at")[:_AT_A_TIME]))


def _ended(secret: Secret) -> bool:
    number = secret.current_number
    if not secret.rules.state(number):
        # The column that it was found by is not what decides.
        return False
    actor = system_principal()
    try:
        confirm = run_write_guards(actor=actor, secret=secret, value=None)
        _take_out(secret, [number], timezone.now())
        update_stored(
            actor=actor,
            secret=secret,
            action=Action.SECRET_DELETE,
            details={"versions": [number], "because": "delete_version_after"},
            clearance=system_approval(actor, secret.environment),
            confirm=confirm,
        )
    except (StaleVersion, ManagedValue):
        logger.info("secret %s was changed meanwhile", secret.uuid)
        return False
    return True


def _require_versions(secret: Secret) -> None:
    """Refuse a secret that was edited, or was deleted as a whole."""
    require_authentic(secret)
    if not secret.live and not secret.is_withdrawn:
        raise StaleVersion("The secret is deleted with all its versions. Restore it first.")


def _take_out(secret: Secret, numbers: Collection[int], now: datetime) -> None:
    """Let a secret not be served, and its previous stage be empty, whose version is among these."""
    if secret.live and secret.current_number in numbers:
        secret.live, secret.deleted_at = None, now
    if secret.previous_number in numbers:
        secret.previous_number = None


def _stored(secret: Secret, numbers: Collection[int]) -> Sequence[int]:
    rows = SecretVersion.objects.filter(secret_id=secret.pk, number__in=numbers)
    return sorted(rows.values_list("number", flat=True))


def _cleared(actor: Principal, action: Action, secret: Secret, **arguments: Json) -> ApprovalGrant:
    numbers = arguments.get("versions")
    shown = ", ".join(f"v{number}" for number in numbers) if isinstance(numbers, list) else "all"
    proposal = acting(
        action,
        secret,
        summary=[Line("Versions", "", f"{shown} (now v{secret.current_number})")],
        arguments=arguments,
    )
    return require_approval(actor=actor, proposal=proposal)
