"""As whom and with what a rotator works: its principal, values, and the administrator's credential.

Values and the credential are opened after the record of it. The principal is the requester with their
present rights, or Keeper for the policy.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from audit_app.events.actions import Action, Outcome
from audit_app.events.actors import Actor, ActorKind
from audit_app.integrity.active_installation import is_active
from audit_app.integrity.row_authentication import verified_rows
from audit_app.recording.drafts import stream_and_object
from audit_app.recording.recorder import commit_record
from core.canonical_json import Json
from environments_app.authorization.policy import Grant, Principal
from environments_app.authorization.principals import load_principal, system_principal
from environments_app.errors import InvalidField, Tampered
from environments_app.models import Role
from secrets_app.errors import GuardedValue, SecretError
from secrets_app.keys.data_keys import active_key
from secrets_app.keys.encrypted_field import Sealed
from secrets_app.models import SecretVersion
from sync_app.errors import BadDestination, NotTheActiveInstallation
from sync_app.models import Rotation, RotationPolicy
from sync_app.rotation.lookup import report_tampering, require_authentic
from sync_app.rotators.base import Rotator
from sync_app.rotators.registry import ROTATORS


@dataclass(frozen=True, kw_only=True)
class OpenedPolicy:
    """A rotator that may act for its policy, and the values of some versions by their numbers."""

    rotator: Rotator
    values: Mapping[int, str] = field(repr=False)


def rotator_class(name: str) -> type[Rotator]:
    """Return the rotator of this name. Raises InvalidField."""
    try:
        return ROTATORS[name]
    except KeyError:
        raise InvalidField("rotator", f"Choose one of {', '.join(ROTATORS)}.") from None


def open_policy(
    *,
    actor: Actor,
    policy: RotationPolicy,
    versions: Sequence[SecretVersion] = (),
    details: Mapping[str, Json] | None = None,
) -> OpenedPolicy:
    """Return the policy's rotator and the values of some of its secret's versions.

    One event that names them all is committed first. Call it outside a transaction.
    Raises NotTheActiveInstallation, Tampered, TamperedSecret, GuardedValue, an EnvelopeError,
    KeyUnavailable, BackendError.
    """
    require_may_open(policy)
    if versions and policy.secret.left_out:
        raise GuardedValue
    event: dict[str, Any] = {"actor": actor, "action": Action.ROTATION_CONNECT, **stream_and_object(policy)}
    details_with_place: dict[str, Json] = {**(details or {}), "endpoint": policy.endpoint}
    receipt = commit_record(
        **event,
        details=details_with_place,
        manifest=[policy.secret.manifest_entry(version.number) for version in versions] or None,
        covers=frozenset({policy.uuid.bytes, *(version.uuid.bytes for version in versions)}),
    )
    try:
        admin = json.loads(policy.credentials.open(receipt))
        values = {version.number: version.value.open(receipt).decode() for version in versions}
    except SecretError as error:
        commit_record(
            **event, outcome=Outcome.FAILED, details={**details_with_place, "reason": type(error).__name__}
        )
        raise
    rotator = rotator_class(policy.rotator)(settings=policy.settings, admin=admin)
    if rotator.endpoint != policy.endpoint:
        report_tampering(policy, "the endpoint is not that of the settings")
    return OpenedPolicy(rotator=rotator, values=values)


def require_may_open(policy: RotationPolicy) -> None:
    """Raise NotTheActiveInstallation, or Tampered or TamperedSecret, unless its credentials may be used."""
    require_authentic(policy)
    if not is_active():
        raise NotTheActiveInstallation(
            "This installation is not active and does not rotate secrets. To "
            "rotate here, stop the other one and run `keeper activate`."
        )


def seal_credentials(policy: RotationPolicy, credentials: Mapping[str, str]) -> None:
    """Put an administrator's credential on a policy, sealed for its endpoint.

    Call it before the transaction in which the policy is saved: it may ask KMS.
    """
    values = {name: text for name, text in credentials.items() if text}
    key = active_key(policy.environment)
    policy.data_key_id = key.id
    policy.credentials = Sealed.of(
        json.dumps(values).encode(), data_key=key, context=policy.sealing_context()
    )


def build_rotator(rotator: str, *, settings: Mapping[str, str], credentials: Mapping[str, str]) -> Rotator:
    """Return a rotator of what a form or an API call gave. Raises InvalidField or BadDestination."""
    kind = rotator_class(rotator)
    sensitive = {each.name for each in kind.admin_fields}
    for name in sorted(settings.keys() & sensitive):
        raise BadDestination("give this with the credentials, which are sealed", field=name)
    return kind(settings=settings, admin=credentials)


def policy_principal(policy: RotationPolicy, *, role: Role = Role.EDITOR) -> Principal:
    """Return Keeper itself, allowed to edit the policy's secret; the policy's own row is the grant.

    Raises Tampered or TamperedSecret.
    """
    require_authentic(policy)
    environment = policy.environment
    grant = Grant(
        environment_id=environment.pk,
        environment_uuid=environment.uuid,
        environment_name=environment.name,
        role=role,
        prefix=policy.secret.name,
    )
    return system_principal(grants=(grant,))


def load_rotation_principal(rotation: Rotation) -> Principal:
    """Return who a rotation works for, with what they may do by now. Raises Tampered or TamperedSecret."""
    if not verified_rows([rotation]):
        raise Tampered(
            "The rotation was changed outside Keeper. It is inactive and ends only when its "
            "policy is removed."
        )
    require_authentic(rotation.policy)
    if rotation.actor.kind is not ActorKind.SYSTEM:
        return load_principal(rotation.actor)
    return policy_principal(rotation.policy)
