"""Use cases of rotation policies: creating, changing, suspending and removing them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from django.db import IntegrityError, transaction
from django.utils import timezone

from audit_app.events.actions import Action, Outcome
from audit_app.integrity.row_authentication import verified_rows
from audit_app.integrity.row_state import row_digest_entry
from audit_app.recording.drafts import stream_and_object
from audit_app.recording.recorder import commit_record, record
from core.canonical_json import Json
from environments_app.approvals.gate import unneeded_approval
from environments_app.authorization.policy import Principal, require
from environments_app.authorization.rows import lock_authentic
from environments_app.errors import InvalidField
from secrets_app.errors import InvalidInput
from secrets_app.models import Secret
from secrets_app.queries.lookup import require_authentic as require_authentic_secret
from secrets_app.queries.lookup import require_not_deleted as require_living_secret
from secrets_app.services.read import current_version_of, open_version, require_readable
from secrets_app.types.registry import SecretType, inspect
from sync_app.errors import (
    BackendError,
    LoginRefused,
    RotationConflict,
    RotationInProgress,
    TargetUnreachable,
)
from sync_app.jobs.request_limit import limit_requests
from sync_app.models import RotationPolicy
from sync_app.rotation.lookup import (
    find_orphaned_login,
    require_authentic,
    require_not_removed,
    require_policy_access,
)
from sync_app.rotation.policies.approval import refuse_running, require_resume_approval, state_of
from sync_app.rotation.policies.credentials import build_rotator, rotator_class, seal_credentials
from sync_app.rotation.policies.guards import NOT_ENDED, end_tampered
from sync_app.rotation.policies.rules import (
    CHANGEABLE,
    apply_rules,
    first_due,
    publish_due,
    refuse_shared_logins,
)
from sync_app.rotators.base import LoginAnswer, Rotator

_TAKEN = "the secret is under a rotation policy already: change or remove that one"
# Of the differences of two logins, in an event; the comparison has all.
_NAMED = 20
_ENDS = "the value is deleted at a time (delete_version_after): write it again after setting 0s"
_MOVED = "the secret's value was changed meanwhile: try again"


def create(
    *,
    actor: Principal,
    secret: Secret,
    rotator: str,
    settings: Mapping[str, str],
    credentials: Mapping[str, str],
    **rules: Any,
) -> RotationPolicy:
    """Put a secret under a rotation policy, after its value was seen to log in with the rotator.

    `rules` are those of rotation.rules. Nothing is changed on the other system. The policy has the
    `differences` of its logins, at which a rotation would stop. In a protected environment it begins
    suspended: resuming it needs an approval. Raises Forbidden or Invisible; InvalidField or BadDestination;
    ApprovalVoid if the environment was protected meanwhile; RotationConflict if the secret is under a
    policy, or another one rotates its logins; LoginRefused, ValueUnusable, PermissionMissing or another
    BackendError if a rotation could not work.
    """
    environment = secret.environment
    policy = RotationPolicy(uuid=uuid4(), environment=environment, secret=secret, rotator=rotator)
    apply_rules(policy, rules)
    require(actor=actor, action=Action.ROTATION_CREATE, environment=environment, name=secret.name)
    require_readable(actor=actor, secret=secret)
    require_living_secret(secret)
    if secret.uses_references:
        raise RotationConflict("the secret expands references, so its value cannot be rotated")
    number = secret.current_number
    connection = build_rotator(rotator, settings=settings, credentials=credentials)
    _apply_proven_connection(actor, policy, connection, Action.ROTATION_CREATE)
    seal_credentials(policy, credentials)
    unneeded = unneeded_approval(actor, environment)
    if unneeded is None:
        policy.suspended_at = timezone.now()
    policy.due_at = first_due(policy)
    try:
        with transaction.atomic():
            stored = Secret.objects.select_for_update().get(pk=secret.pk)
            if not stored.live or stored.current_number != number or stored.uses_references:
                raise RotationConflict(_MOVED)
            if number in stored.rules.deleted:
                raise RotationConflict(_ENDS)
            # The logins may have taken seconds.
            if unneeded:
                unneeded.consume(environment, actor=actor)
            refuse_shared_logins(policy, actor=actor)
            policy.save(force_insert=True)
            _record(actor, Action.ROTATION_CREATE, policy, _creation_details(policy))
    except IntegrityError as error:
        if not RotationPolicy.objects.filter(secret=secret, live=True).exists():
            raise
        raise RotationConflict(_TAKEN) from error
    return policy


def change(*, actor: Principal, policy: RotationPolicy, **rules: Any) -> RotationPolicy:
    """Change the rules of a policy (CHANGEABLE) and return it as stored; a grace under way stays.

    Raises Forbidden or Invisible; InvalidField; Tampered; RotationConflict once it was removed.
    """
    require_policy_access(actor=actor, action=Action.ROTATION_CHANGE, policy=policy)
    with _lock_policy(policy) as stored:
        refuse_running(actor, stored)
        changed = apply_rules(stored, rules)
        if changed:
            stored.due_at = first_due(stored)
            stored.save(update_fields=[*changed, "due_at", "updated_at"])
            _record(actor, Action.ROTATION_CHANGE, stored, {name: getattr(stored, name) for name in changed})
    return stored


def change_connection(
    *,
    actor: Principal,
    policy: RotationPolicy,
    credentials: Mapping[str, str],
    settings: Mapping[str, str] | None = None,
) -> RotationPolicy:
    """Replace the administrator's credential, and the settings that change with it.

    Where a credential goes is only changed with the credential in hand, and only if the value that
    is served logs in there; the old envelope opens no more. With the same settings it is also done
    while a rotation is at work, which may need it. In a protected environment only while it is suspended.

    Raises what `create` raises, Tampered, RotationInProgress, and RotationConflict once it was removed.
    """
    require_policy_access(actor=actor, action=Action.ROTATION_CHANGE, policy=policy)
    require_not_removed(policy)
    require_authentic(policy)
    settings_after = {**policy.settings, **(settings or {})}
    draft = RotationPolicy(
        uuid=policy.uuid, environment=policy.environment, secret=policy.secret, rotator=policy.rotator
    )
    rotator = build_rotator(policy.rotator, settings=settings_after, credentials=credentials)
    refuse_running(actor, policy)
    _apply_proven_connection(actor, draft, rotator, Action.ROTATION_CHANGE)
    seal_credentials(draft, credentials)
    with _lock_policy(policy) as stored:
        refuse_running(actor, stored)
        # It may have been moved since it was read.
        if draft.settings != _without_empty(stored.settings):
            if stored.rotations.filter(slot__isnull=False).exists():
                raise RotationInProgress(NOT_ENDED)
            refuse_shared_logins(draft, actor=actor)
            _refuse_orphaning(stored, draft)
        fields = ("settings", "endpoint", "credentials", "data_key_id")
        for field in fields:
            setattr(stored, field, getattr(draft, field))
        stored.save(update_fields=[*fields, "updated_at"])
        details: dict[str, Json] = {"fields": ["credentials", *(settings or {})], "endpoint": stored.endpoint}
        _record(actor, Action.ROTATION_CHANGE, stored, details)
    return stored


def suspend(*, actor: Principal, policy: RotationPolicy) -> RotationPolicy:
    """Let no rotation begin until the policy is resumed; one that is at work continues to its end.

    Raises Forbidden or Invisible, Tampered, and RotationConflict once it was removed.
    """
    return _suspend(actor, policy, suspended=True)


def resume(*, actor: Principal, policy: RotationPolicy) -> RotationPolicy:
    """Let a suspended policy rotate again; raises as `suspend` does, and ApprovalNeeded."""
    return _suspend(actor, policy, suspended=False)


def remove(*, actor: Principal, policy: RotationPolicy) -> None:
    """Remove a policy, forget its credential, and let people write the secret's value again.

    One whose row was changed outside Keeper is removed as it is, since it can do nothing any more; so
    is one whose rotation was changed, which ends with it. The event names a login that an abandoned
    rotation left valid. Raises Forbidden or Invisible, and RotationInProgress while a rotation has not
    ended.
    """
    require_policy_access(actor=actor, action=Action.ROTATION_REMOVE, policy=policy)
    require_not_removed(policy)
    without_credentials = RotationPolicy(
        uuid=policy.uuid, environment=policy.environment, secret=policy.secret, endpoint=policy.endpoint
    )
    seal_credentials(without_credentials, {})
    left = find_orphaned_login(policy)
    with transaction.atomic():
        stored = RotationPolicy.objects.select_for_update().get(pk=policy.pk)
        forged = not stored.is_authentic()
        if not forged:
            end_tampered(actor=actor, policy=stored)
        stored.credentials, stored.data_key_id = (
            without_credentials.credentials,
            without_credentials.data_key_id,
        )
        stored.endpoint, stored.live, stored.due_at = policy.endpoint, None, None
        stored.save(update_fields=["live", "due_at", "endpoint", "credentials", "data_key_id", "updated_at"])
        details: dict[str, Json] = {"left_valid": left.left_number} if left else {}
        _record(actor, Action.ROTATION_REMOVE, stored, {"forged": forged, **details})
    if forged:
        verified_rows([policy])


@contextmanager
def _lock_policy(policy: RotationPolicy) -> Iterator[RotationPolicy]:
    with lock_authentic(policy) as stored:
        require_not_removed(stored)
        yield stored


def _suspend(actor: Principal, policy: RotationPolicy, *, suspended: bool) -> RotationPolicy:
    require_policy_access(actor=actor, action=Action.ROTATION_SUSPEND, policy=policy)
    resumes = policy.suspended_at is not None and not suspended
    approval = require_resume_approval(actor, policy) if resumes else None
    with _lock_policy(policy) as stored:
        if stored.suspended_at is not None and not suspended and approval is None:
            raise RotationConflict("the policy was suspended in the meantime: reload the page")
        approved = (
            approval.consume(stored.environment, actor=actor, state=state_of(stored)) if approval else {}
        )
        if (stored.suspended_at is not None) is not suspended:
            stored.suspended_at = timezone.now() if suspended else None
            stored.save(update_fields=["suspended_at", "updated_at"])
            _record(actor, Action.ROTATION_SUSPEND, stored, {"suspended": suspended, **approved})
    return stored


def _refuse_orphaning(policy: RotationPolicy, moved: RotationPolicy) -> None:
    """Refuse to forget a login that an abandoned rotation left valid at the place before."""
    logins_of = rotator_class(policy.rotator).logins_of
    same = (policy.endpoint, logins_of(policy.settings)) == (moved.endpoint, logins_of(moved.settings))
    if not same and find_orphaned_login(policy):
        raise RotationConflict(
            "an abandoned rotation left a login valid at the policy's present place: retire it first, or "
            "remove the policy, whose last event names it"
        )


def _apply_proven_connection(
    actor: Principal, policy: RotationPolicy, rotator: Rotator, action: Action
) -> None:
    """Put a rotator's place on a policy, after the served value was seen to log in there."""
    secret = policy.secret
    require_authentic_secret(secret)
    version = current_version_of(secret)
    details: dict[str, Json] = {"purpose": "rotation policy", "endpoint": rotator.endpoint}
    value = open_version(actor=actor, version=version, action=Action.SECRET_REVEAL, details=details)
    try:
        with limit_requests():
            rotator.check_setup(value)
            _require_fit(rotator, value, SecretType(secret.secret_type))
            policy.differences = rotator.compare_logins(value)
    except BackendError as error:
        commit_record(
            actor=actor,
            action=action,
            **stream_and_object(policy),
            outcome=Outcome.FAILED,
            details={"rotator": policy.rotator, "reason": type(error).__name__},
        )
        raise
    policy.settings, policy.endpoint = _without_empty(rotator.settings), rotator.endpoint


def _without_empty(settings: Mapping[str, str]) -> dict[str, str]:
    """Return settings without what is empty: a policy is older than a setting that was added."""
    return {name: text for name, text in settings.items() if text}


def _require_fit(rotator: Rotator, value: str, secret_type: SecretType) -> None:
    """Raise LoginRefused, TargetUnreachable or InvalidField if no rotation from this value could work."""
    if rotator.supports_probe:
        probed = rotator.probe(value)
        if probed.answer is LoginAnswer.UNKNOWN:
            raise TargetUnreachable(probed.why)
        if probed.answer is not LoginAnswer.ACCEPTED:
            raise LoginRefused(f"the secret's current value cannot log in: {probed.why}")
        for address, there in rotator.probe_replicas(value):
            if there.answer is not LoginAnswer.ACCEPTED:
                kind = TargetUnreachable if there.answer is LoginAnswer.UNKNOWN else LoginRefused
                raise kind(
                    f"the secret's current value does not log in at the replica {address}: {there.why}"
                )
    sample = rotator.prepare(value).value
    if sample is None:
        return
    try:
        inspect(secret_type, sample)
    except InvalidInput as error:
        raise InvalidField("settings", f"This method does not fit the secret's type: {error}") from error


def _creation_details(policy: RotationPolicy) -> dict[str, Json]:
    return {name: getattr(policy, name) for name in CHANGEABLE} | {
        "rotator": policy.rotator,
        "settings": {name: text for name, text in policy.settings.items() if name != "ca_certificate"},
        "endpoint": policy.endpoint,
        "differences": [difference.what for difference in policy.differences[:_NAMED]],
    }


def _record(actor: Principal, action: Action, policy: RotationPolicy, details: Mapping[str, Json]) -> None:
    publish_due(policy)
    record(
        actor=actor,
        action=action,
        **stream_and_object(policy),
        details={**details, **row_digest_entry(policy)},
    )
