"""Guarded secrets: one person reads one version, once, after a second person has agreed to it.

No receipt but a released one opens a guarded value (`require_release` of `keys.encrypted_field`), so
whatever does not come through here gives nothing. A release is an approval of a read: the same people
decide, on the same page. It holds for the version that was asked for, ends some time after the decision, and
is used up with its event before the value is opened.
"""

from typing import Final, NoReturn

from django.db import transaction
from django.db.models import Q

from audit_app.events.actions import Action
from audit_app.events.actors import Actor, ActorKind
from audit_app.events.streams import environment_stream
from audit_app.integrity.row_authentication import verified_rows
from audit_app.recording import event_store
from audit_app.recording.recorder import record_many
from core.canonical_json import Json
from environments_app.approvals.gate import (
    ApprovalGrant,
    Line,
    Proposal,
    require_approval,
    require_release,
)
from environments_app.authorization.policy import Principal, allows
from environments_app.authorization.principals import refresh_principal
from environments_app.errors import ApprovalNeeded, ApprovalVoid, Conflict, Forbidden
from environments_app.models import Environment
from environments_app.tokens.bearers import token_behind
from secrets_app.errors import InvalidInput, StaleVersion
from secrets_app.keys import data_keys
from secrets_app.models import Secret, SecretVersion
from secrets_app.queries.lookup import require_authentic, require_not_deleted, require_on
from secrets_app.rows.store import claim, event, notify_listeners, update_stored
from secrets_app.services.proposals import acting, require_change
from secrets_app.services.read import (
    RevealedValue,
    current_version_of,
    open_version,
    refuse_guarded,
    version_of,
)

# How many secrets new paths guard at once.
MAX_AT_ONCE: Final = 10_000
PATH_GUARDED: Final = "Its path is guarded."
MIN_REASON: Final = 10
_DISTINCT: Final = 5
MAX_REASON: Final = 500
_CURRENT: Final = "current"


def guard(*, actor: Principal, secret: Secret, expected: str | None = None) -> Secret:
    """Let the values of a secret be read only after a second person has agreed.

    Raises StaleVersion, TamperedSecret, ApprovalNeeded in a protected environment, Forbidden or Invisible.
    """
    require_change(actor, Action.SECRET_GUARD, secret, expected)
    if secret.guarded:
        return secret
    line = Line("Reads", "by each reader", "after a second person has agreed")
    clearance = require_approval(
        actor=actor, proposal=acting(Action.SECRET_GUARD, secret, summary=[line], arguments={})
    )
    return _stored(actor, Action.SECRET_GUARD, secret, clearance, guarded=True)


def unguard(*, actor: Principal, secret: Secret, expected: str | None = None) -> Secret:
    """End the guard of a secret, once a second person has approved that, in any environment.

    Raises Conflict if it has none or its path is guarded, StaleVersion, TamperedSecret, ApprovalNeeded,
    Forbidden or Invisible.
    """
    require_change(actor, Action.SECRET_UNGUARD, secret, expected)
    if not secret.guarded:
        raise Conflict("This secret is not guarded. Nothing was changed.")
    if secret.environment.guards(secret.name):
        raise Conflict(f"{PATH_GUARDED} Rename the secret, or take the path away first.")
    line = Line("Reads", "after a second person has agreed", "by each reader")
    clearance = require_release(
        actor=actor, proposal=acting(Action.SECRET_UNGUARD, secret, summary=[line], arguments={})
    )
    return _stored(actor, Action.SECRET_UNGUARD, secret, clearance, guarded=None)


def guard_names(*, actor: Actor, environment: Environment) -> None:
    """Guard each secret under the guarded paths of an environment, deleted ones too.

    Call it in the transaction that stores the paths: nobody finds a path without its guards. A secret that
    Keeper did not write stays as it is, and opens for nobody. Raises StaleVersion if one was changed or made
    meanwhile, and Conflict beyond MAX_AT_ONCE.
    """
    paths = environment.guarded_paths
    if not paths:
        return
    under = Q(name__in=paths)
    for path in paths:
        under |= Q(name__startswith=f"{path}/")
    waiting = Secret.objects.filter(under, environment=environment, guarded=None).order_by("pk")
    found = list(waiting[: MAX_AT_ONCE + 1])
    if len(found) > MAX_AT_ONCE:
        raise Conflict(f"More than {MAX_AT_ONCE:,} secrets are under these paths. Begin with longer paths.")
    for secret in found:
        secret.environment = environment
    own = verified_rows(found)
    for secret in own:
        secret.guarded = True
        claim(secret, None)
    drafts = [
        event(actor=actor, secret=secret, action=Action.SECRET_GUARD, details={"by_path": True})
        for secret in own
    ]
    locked = event_store.lock_head(environment_stream(environment.uuid), [])
    if waiting.exclude(pk__in=[secret.pk for secret in found]).exists():
        raise StaleVersion("A secret was made under these paths meanwhile. Nothing was saved. Try again.")
    record_many(drafts, locked=locked)
    notify_listeners(environment.pk, [secret.name for secret in own])


def request_read(*, actor: Principal, secret: Secret, reason: str, number: int | None = None) -> NoReturn:
    """Ask for a second person's agreement to read the current version of a secret, or version `number`.

    Raises ApprovalNeeded with the request, which is the one that is there already for the same version; and
    InvalidInput, NoSuchVersion, GuardedValue for a program, StaleVersion if the secret is deleted,
    TamperedSecret, Forbidden or Invisible.
    """
    require_on(actor=actor, action=Action.SECRET_REVEAL, secret=secret)
    require_not_deleted(secret)
    require_authentic(secret)
    if not secret.guarded:
        raise Conflict("This secret is not guarded. Reveal it; nothing was requested.")
    if actor.kind is not ActorKind.USER:
        refuse_guarded(actor, Action.SECRET_REVEAL, secret)
    reason = checked_reason(reason, MIN_REASON)
    version = current_version_of(secret) if number is None else version_of(secret, number)
    released = require_release(actor=actor, proposal=_reading(secret, version, reason))
    raise ApprovalNeeded(released.request, _AGREED)


def checked_reason(reason: str, least: int) -> str:
    """Return a reason that others can read. Raises InvalidInput if it is too short or too long.

    Five different characters count as one that can be read: some characters show as nothing.
    """
    reason = reason.strip()
    if not least <= len(reason) <= MAX_REASON or len({*reason}) < _DISTINCT:
        raise InvalidInput("reason", f"Give a reason of {least} to {MAX_REASON} characters, in words.")
    return reason


def open_released(
    *, actor: Principal, secret: Secret, number: int, was_current: bool = True
) -> RevealedValue:
    """Use up the release of a version and show it, this once; `actor` carries the approval.

    Raises ApprovalVoid if it was used, withdrawn or has expired, the version is not what it was, or the guard
    ended; GuardedValue, NoSuchVersion, and what `reveal` raises. A key that is away is found out before
    anything is used up.
    """
    require_on(actor=actor, action=Action.SECRET_REVEAL, secret=secret)
    require_authentic(secret)
    if was_current and number != secret.current_number:
        raise ApprovalVoid(_replaced(secret, number))
    version = version_of(secret, number)
    grant = require_release(actor=actor, proposal=_reading(secret, version))
    if version.data_key_id:
        data_keys.prefetch({version.data_key_id})
    approved = _use_up(actor, secret, version, grant)
    value = open_version(
        actor=actor, version=version, action=Action.SECRET_REVEAL, details=approved, released=True
    )
    return RevealedValue(version=version, value=value)


_AGREED: Final = "A second person has agreed already: show the value once on the page of the request."


def _use_up(
    actor: Principal, secret: Secret, version: SecretVersion, grant: ApprovalGrant
) -> dict[str, Json]:
    """Mark the release as used with its event, if everything is still as it was approved."""
    lost = False
    with transaction.atomic(durable=True):
        # The secret first, as those do who end what belongs to it.
        locked = Secret.objects.select_for_update().filter(pk=secret.pk).first()
        if locked is None or not locked.live or not locked.guarded:
            raise ApprovalVoid("The secret was deleted, or its guard ended. Look at its page.")
        locked.environment = secret.environment
        require_authentic(locked)
        if locked.current_number != secret.current_number or locked.rules.state(version.number):
            raise ApprovalVoid(_replaced(locked, version.number))
        now = refresh_principal(actor)
        bearer = token_behind(actor)
        lost = actor.scope is not None and (bearer is None or not bearer.is_live)
        place = locked.environment_id
        lost = lost or not allows(now, Action.SECRET_REVEAL, environment_id=place, name=locked.name)
        approved = {} if lost else grant.consume_approval(secret.environment, actor=actor)
    if lost:
        require_on(actor=refresh_principal(actor), action=Action.SECRET_REVEAL, secret=secret)
        raise Forbidden("You may no longer read this secret.")
    return approved


def _replaced(secret: Secret, number: int) -> str:
    if secret.rules.state(number):
        return f"v{number} was deleted since it was approved. Nothing was shown."
    now = secret.current_number
    return f"v{number} was approved, and v{now} is current by now. Nothing was shown. Request v{now}."


def _reading(secret: Secret, version: SecretVersion, reason: str = "") -> Proposal:
    """Return the proposal to read one version; it is another one once the version is not the current one."""
    current = version.number == secret.current_number
    return Proposal(
        action=Action.SECRET_REVEAL,
        environment=secret.environment,
        object=secret.audit_object,
        expected=f"{_CURRENT if current else 'older'} {version.uuid}",
        arguments={"secret": secret.pk, "number": version.number, _CURRENT: current},
        summary=[Line("Shows once", "", f"v{version.number}{' (current)' if current else ''}")],
        reason=reason,
    )


def _stored(
    actor: Principal, action: Action, secret: Secret, clearance: ApprovalGrant, *, guarded: bool | None
) -> Secret:
    secret.guarded = guarded
    update_stored(actor=actor, secret=secret, action=action, details={}, clearance=clearance)
    return secret
