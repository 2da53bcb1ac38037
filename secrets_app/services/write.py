"""Writes secrets: create, change, put by name, roll back. A changed value makes a new version."""

from types import EllipsisType
from typing import Final, Unpack

from django.db.models import Max
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.recording.drafts import stream_and_object
from audit_app.recording.recorder import commit_record
from core.canonical_json import Json
from environments_app.approvals.gate import ApprovalGrant, Line, require_approval, unneeded_approval
from environments_app.authorization.policy import Principal, require
from environments_app.models import Environment
from secrets_app.errors import InvalidInput, InvalidValue, NameTaken, StaleVersion
from secrets_app.interfaces import run_write_guards
from secrets_app.keys import fingerprints
from secrets_app.models import Secret
from secrets_app.queries.lookup import (
    find_active,
    find_withdrawn,
    require_authentic,
    require_not_deleted,
    require_on,
)
from secrets_app.rows import references
from secrets_app.rows.store import check_etag, insert, update_stored
from secrets_app.services import proposals
from secrets_app.services.decoys import note_references, note_use
from secrets_app.services.read import current_version_of, open_version, version_of
from secrets_app.types.registry import SecretType, inspect
from secrets_app.values.metadata import (
    Metadata,
    apply_facts,
    apply_facts_keeping_expiry,
    apply_metadata,
    checked_comment,
)
from secrets_app.values.names import validate_secret_name
from secrets_app.values.versions import (
    NewValue,
    Preceding,
    first_number,
    next_number,
    preceding,
    sealed_version,
)

# Retries of a write without an expected version after concurrent changes.
_ATTEMPTS: Final = 30


def create(
    *,
    actor: Principal,
    environment: Environment,
    name: str,
    secret_type: SecretType | None,
    value: str,
    comment: str = "",
    number: int | None = None,
    clearance: ApprovalGrant | None = None,
    decoy: bool = False,
    **metadata: Unpack[Metadata],
) -> Secret:
    """Create a secret with its first version, whose number follows those of deleted secrets of its name.

    One that is deleted because its current version is comes back instead, with its versions and rules.
    `secret_type` None is its type, or text. `number` is the one that the caller expects. `clearance` is that
    of a larger act of which this is a part, such as a copy. `decoy` takes the right to make decoys, but in a
    move, whose decoy stays one.

    Raises InvalidInput if a field breaks its rules, NameTaken if the name lives already, StaleVersion if the
    number is another, TamperedSecret, ManagedValue, ApprovalNeeded, and Forbidden or Invisible.
    """
    validate_secret_name(name)
    require(actor=actor, action=Action.SECRET_CREATE, environment=environment, name=name)
    if decoy and clearance is None:
        require(actor=actor, action=Action.SECRET_DECOY_SET, environment=environment, name=name)
    first = first_number(environment, name)
    if number not in {None, first}:
        raise StaleVersion("The secret was deleted meanwhile. Nothing was saved. Try again.")
    if first > 1 and (withdrawn := find_withdrawn(environment, name)):
        if decoy and clearance is None:
            raise InvalidInput("decoy", "A deleted secret of this name comes back. Give another name.")
        return update(
            actor=actor,
            secret=withdrawn,
            value=value,
            secret_type=secret_type,
            expected=withdrawn.etag,
            comment=comment,
            clearance=clearance,
            anew=True,
            decoy=decoy,
            **metadata,
        )
    kind = secret_type or SecretType.TEXT
    secret = new_secret(environment=environment, name=name, secret_type=kind, value=value, metadata=metadata)
    secret.decoy = decoy or None
    _, places = references.resolve_on_write(
        actor=actor, secret=secret, wanted=metadata.get("uses_references"), value=value
    )
    note_references(actor=actor, places=places or ())
    comment = checked_comment(comment)
    clearance = clearance or unneeded_approval(actor, environment)
    clearance = clearance or require_approval(
        actor=actor,
        proposal=proposals.creating(
            secret, value=value, comment=comment, metadata=metadata, places=places or ()
        ),
    )
    secret.current_number = first
    version = sealed_version(
        actor=actor,
        secret=secret,
        number=secret.current_number,
        value=NewValue(text=value, comment=comment),
    )
    insert(
        actor=actor,
        secret=secret,
        version=version,
        action=Action.SECRET_CREATE,
        details={"decoy": True} if decoy else {},
        places=places or (),
        clearance=clearance,
    )
    return secret


def describe(
    *, actor: Principal, environment: Environment, name: str, **metadata: Unpack[Metadata]
) -> Secret:
    """Store what describes a secret before it has a value, as clients of KV v2 do; its first value follows.

    Until then it is like a secret whose current version is deleted, but has no version. Raises InvalidInput,
    also in a protected environment, whose approvers approve values; StaleVersion if the name was written
    meanwhile; Forbidden or Invisible.
    """
    validate_secret_name(name)
    require(actor=actor, action=Action.SECRET_CREATE, environment=environment, name=name)
    clearance = unneeded_approval(actor, environment)
    if clearance is None:
        raise InvalidInput("value", "This environment is protected: write data first. Nothing was stored.")
    now = timezone.now()
    last = Secret.objects.filter(environment=environment, name=name).aggregate(last=Max("pk"))["last"] or 0
    secret = Secret(environment=environment, name=name, secret_type=SecretType.TEXT, current_number=0)
    secret.live, secret.deleted_at, secret.rotated_at = None, now, now
    secret.rules = secret.rules.without([0], at=now)
    fields = apply_metadata(secret, metadata)
    insert(
        actor=actor,
        secret=secret,
        version=None,
        action=Action.SECRET_CREATE,
        details={"fields": list(fields)},
        clearance=clearance,
        last_seen=last,
    )
    return secret


def update(
    *,
    actor: Principal,
    secret: Secret,
    value: str | None = None,
    secret_type: SecretType | None = None,
    expected: str | None = None,
    comment: str = "",
    clearance: ApprovalGrant | None = None,
    origin: str = "",
    anew: bool = False,
    decoy: bool = False,
    **metadata: Unpack[Metadata],
) -> Secret:
    """Change a secret; what is left out stays.

    An equal value creates no version; that is recorded as a read, before the answer. With `anew`, and where
    the secret becomes JSON or no longer is, it creates one. With `anew` a value brings back a secret that is
    deleted because its current version is.
    `expected` is the ETag that the caller read. Without it the last writer wins. `clearance` is that
    of a larger act of which this is a part, such as a pull. `origin` names the secret that the
    value was copied from, for approvers. With `decoy`, which a moved one brings, it is one from then on.

    Raises StaleVersion if the secret is not at `expected`, InvalidInput if a field breaks its
    rules, ManagedValue, TamperedSecret, ApprovalNeeded, and Forbidden or Invisible.
    """
    for attempt in range(_ATTEMPTS):
        try:
            return _update_once(
                actor=actor,
                secret=secret,
                value=value,
                secret_type=secret_type,
                expected=expected,
                comment=comment,
                metadata=metadata,
                clearance=clearance,
                origin=origin,
                anew=anew,
                decoy=decoy,
            )
        except StaleVersion:
            if expected is not None or attempt == _ATTEMPTS - 1:
                raise
            secret = _read_again(secret, anew=anew)
    raise AssertionError("the loop returns or raises")


def put(
    *,
    actor: Principal,
    environment: Environment,
    name: str,
    secret_type: SecretType | None = None,
    value: str | None = None,
    expected: str | None = None,
    only_new: bool = False,
    comment: str = "",
    secret: Secret | EllipsisType | None = ...,
    **metadata: Unpack[Metadata],
) -> tuple[Secret, bool]:
    """Create the secret of this name or change it; return it and whether it was created.

    With `only_new` it is created or left as it is. `secret` is what the caller has read of it.

    Raises what `create` and `update` raise, InvalidInput if a new secret has no value, and StaleVersion if it
    exists and may only be new.
    """
    validate_secret_name(name)
    if isinstance(secret, EllipsisType):
        secret = find_active(environment, name)
    if secret is None and expected is None:
        try:
            return _put_new(actor, environment, name, secret_type, value, comment, metadata), True
        except (NameTaken, StaleVersion):
            secret = find_active(environment, name)
    if secret is None:
        require(actor=actor, action=Action.SECRET_UPDATE, environment=environment, name=name)
        raise StaleVersion("There is no such secret any more; nothing was written.")
    if only_new:
        require_on(actor=actor, action=Action.SECRET_UPDATE, secret=secret)
        raise StaleVersion("The secret exists already. Nothing was written.")
    changed = update(
        actor=actor,
        secret=secret,
        value=value,
        secret_type=secret_type,
        expected=expected,
        comment=comment,
        **metadata,
    )
    return changed, False


def rollback(*, actor: Principal, secret: Secret, number: int, expected: str | None = None) -> Secret:
    """Make an earlier version's value current again, as a new version of the type that the secret had then.

    Needs the right to reveal, and is recorded as a read of the old version as well.

    Raises NoSuchVersion, StaleVersion, InvalidValue if the value is from before Keeper kept former types and
    does not fit the one of today, ManagedValue, TamperedSecret, and Forbidden or Invisible.
    """
    for right in (Action.SECRET_REVEAL, Action.SECRET_ROLLBACK):
        require_on(actor=actor, action=right, secret=secret)
    require_authentic(secret)
    check_etag(secret, expected)
    old = version_of(secret, number)
    former, kind = secret.secret_type, SecretType(secret.type_of(number))
    retyped = kind != former
    lines = [Line("Value", f"v{secret.current_number}", f"that of v{number} again")]
    if retyped:
        lines.append(Line("Type", former, kind))
    clearance = require_approval(
        actor=actor,
        proposal=proposals.acting(
            Action.SECRET_ROLLBACK, secret, summary=lines, arguments={"number": number}
        ),
    )
    text = open_version(
        actor=actor,
        version=old,
        action=Action.SECRET_REVEAL,
        details={"purpose": "rollback"},
        # It stays in the secret, and nobody sees it.
        released=True,
    )
    secret.secret_type = kind
    moved = apply_facts(secret, inspect(kind, text))
    _, places = references.resolve_on_write(actor=actor, secret=secret, wanted=None, value=text)
    confirm = run_write_guards(actor=actor, secret=secret, value=text)
    new = NewValue(text=text, comment=f"rolled back to v{number}")
    version = sealed_version(actor=actor, secret=secret, number=next_number(secret), value=new)
    if retyped:
        secret.rules = secret.rules.retyped(former, first=version.number)
    update_stored(
        actor=actor,
        secret=secret,
        action=Action.SECRET_ROLLBACK,
        details={"restored": number, **moved, **({"fields": ["secret_type"]} if retyped else {})},
        version=version,
        confirm=confirm,
        places=places,
        clearance=clearance,
    )
    return secret


def new_secret(
    *, environment: Environment, name: str, secret_type: SecretType, value: str, metadata: Metadata
) -> Secret:
    """Return a secret that is checked, all but its references, and not yet stored. Raises InvalidInput."""
    secret = Secret(
        environment=environment,
        name=name,
        secret_type=secret_type,
        rotated_at=timezone.now(),
    )
    facts = inspect(secret_type, value)
    apply_metadata(secret, metadata)
    apply_facts(secret, facts)
    return secret


def _put_new(
    actor: Principal,
    environment: Environment,
    name: str,
    secret_type: SecretType | None,
    value: str | None,
    comment: str,
    metadata: Metadata,
) -> Secret:
    require(actor=actor, action=Action.SECRET_CREATE, environment=environment, name=name)
    if value is None:
        raise InvalidValue("value", "A new secret needs a value.")
    return create(
        actor=actor,
        environment=environment,
        name=name,
        secret_type=secret_type,
        value=value,
        comment=comment,
        **metadata,
    )


def _update_once(
    *,
    actor: Principal,
    secret: Secret,
    value: str | None,
    secret_type: SecretType | None,
    expected: str | None,
    comment: str,
    metadata: Metadata,
    clearance: ApprovalGrant | None,
    origin: str,
    anew: bool,
    decoy: bool,
) -> Secret:
    require_on(actor=actor, action=Action.SECRET_UPDATE, secret=secret)
    require_authentic(secret)
    if anew and secret.is_withdrawn:
        require_on(actor=actor, action=Action.SECRET_RESTORE, secret=secret)
    else:
        require_not_deleted(secret)
    check_etag(secret, expected)
    comment = checked_comment(comment)
    before = proposals.known(secret)
    fields = apply_metadata(secret, metadata)
    retyped = _retype(secret, secret_type, value)
    resolving, places = references.resolve_on_write(
        actor=actor, secret=secret, wanted=metadata.get("uses_references"), value=value
    )
    note_references(actor=actor, places=places or ())
    facts = None if value is None else inspect(SecretType(secret.secret_type), value)
    before_value = None if value is None else preceding(secret)
    # An equal value is another version where the present one ends, and where clients of KV v2 begin to read
    # it as an object, or no longer: each version is read as it was written.
    is_object = bool(retyped) and SecretType.JSON in {secret.secret_type, before["secret_type"]}
    is_new = anew or is_object or secret.current_number in secret.rules.deleted
    changed = value if is_new else _new_text(actor, secret, value, before_value)
    if facts is not None:
        is_next = changed is not None or bool(retyped)
        apply_facts_keeping_expiry(secret, facts, metadata=metadata, is_next=is_next)
    confirm = None
    if changed is not None or retyped or resolving:
        # Resolving references changes what is delivered, whatever the text: no login proves that.
        confirm = run_write_guards(
            actor=actor,
            secret=secret,
            value=None if resolving else value,
            is_guarded=before_value and before_value.is_guarded,
        )
    # The value may have moved the expiry, or moved it back.
    moved = {"expires_at"} if secret.expires_at != before["expires_at"] else set()
    fields = [*sorted({*fields} - {"expires_at"} | moved), *resolving, *retyped]
    if not fields and changed is None:
        return secret
    clearance = clearance or unneeded_approval(actor, secret.environment)
    clearance = clearance or require_approval(
        actor=actor,
        proposal=proposals.updating(
            secret,
            before=before,
            value=value,
            secret_type=secret_type,
            comment=comment,
            metadata=metadata,
            places=places or (),
            origin=origin,
            anew=anew,
        ),
    )
    if changed is not None:
        secret.live, secret.deleted_at = True, None
        secret.decoy = decoy or secret.decoy
    version = None
    if changed is not None and before_value is not None:
        version = sealed_version(
            actor=actor,
            secret=secret,
            number=before_value.next_number,
            value=NewValue(text=changed, comment=comment),
            key=before_value.key,
        )
    if retyped:
        first = version.number if version else secret.current_number
        secret.rules = secret.rules.retyped(before["secret_type"], first=first)
    details: dict[str, Json] = {"fields": list(fields)} if fields else {}
    update_stored(
        actor=actor,
        secret=secret,
        action=Action.SECRET_UPDATE,
        details=details,
        version=version,
        clearance=clearance,
        confirm=confirm,
        places=places,
    )
    return secret


def _retype(secret: Secret, secret_type: SecretType | None, value: str | None) -> list[str]:
    if secret_type is None or secret_type == secret.secret_type:
        return []
    if value is None:
        raise InvalidInput("secret_type", "Give the value along with a new type, so that it can be checked.")
    secret.secret_type = secret_type
    return ["secret_type"]


def _new_text(actor: Principal, secret: Secret, value: str | None, before: Preceding | None) -> str | None:
    """Return the value if it differs from the current one.

    Raises MissingVersion as `current_version_of` does.
    """
    if value is None or before is None:
        return None
    if secret.guarded:
        # That nothing changes would confirm a guess: an equal value becomes a version as well.
        return value
    current = before.fingerprint
    if current is None:
        current = bytes(current_version_of(secret).fingerprint)
    if not fingerprints.matches(value.encode(), current):
        return value
    if secret.decoy:
        note_use(actor=actor, secret=secret, action=Action.SECRET_COMPARE)
    # That nothing changes confirms a guess, also where writing another value is not let through.
    commit_record(
        actor=actor,
        action=Action.SECRET_COMPARE,
        **stream_and_object(secret),
        details={"with": "a write", "number": secret.current_number},
    )
    return None


def _read_again(secret: Secret, *, anew: bool) -> Secret:
    fresh = Secret.objects.select_related("environment").filter(pk=secret.pk).first()
    if fresh is None or not (fresh.live or (anew and fresh.is_withdrawn)):
        raise StaleVersion("The secret was deleted meanwhile; nothing was written.")
    return fresh
