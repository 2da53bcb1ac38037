"""Takes secrets to another environment or name, and whole environments out as a file."""

from audit_app.events.actions import Action
from audit_app.recording.drafts import AuditObject
from core.canonical_json import Json
from environments_app.approvals.gate import ApprovalGrant, Line, require_approval
from environments_app.authorization.policy import Principal, require
from environments_app.models import Environment
from secrets_app.errors import InvalidInput
from secrets_app.interfaces import run_write_guards
from secrets_app.models import Secret
from secrets_app.queries.lookup import require_not_deleted, require_on
from secrets_app.rows.store import check_etag
from secrets_app.services.lifecycle import delete
from secrets_app.services.proposals import acting
from secrets_app.services.read import current_version_of, open_version, require_readable
from secrets_app.services.write import create, update
from secrets_app.types.registry import SecretType
from secrets_app.values.names import validate_secret_name


def copy(
    *,
    actor: Principal,
    secret: Secret,
    environment: Environment,
    name: str | None = None,
    expected: str | None = None,
) -> Secret:
    """Create a secret elsewhere with the current value of this one, sealed again; history stays here.

    Needs the right to reveal here and to create there, and is recorded on both sides.

    Raises InvalidName, NameTaken, StaleVersion if this one is deleted or not as `expected`, TamperedSecret,
    EnvelopeError, KeyUnavailable, ApprovalNeeded (there), and Forbidden or Invisible.
    """
    name = _required(actor, secret, environment, name, Action.SECRET_COPY)
    check_etag(secret, expected)
    clearance = _cleared(actor, secret, environment, name, Action.SECRET_COPY, asked_in=environment)
    return _copied(actor, secret, environment, name, Action.SECRET_COPY, clearance)


def move(
    *,
    actor: Principal,
    secret: Secret,
    environment: Environment,
    name: str | None = None,
    expected: str | None = None,
) -> Secret:
    """Copy a secret to another environment and delete it here, softly; return the new one.

    Each protected one of the two needs an approval. Raises what `copy` raises, and
    ManagedValue. Should the deletion fail, both exist and nothing is lost.
    """
    require_on(actor=actor, action=Action.SECRET_DELETE, secret=secret)
    run_write_guards(actor=actor, secret=secret, value=None)
    name = _required(actor, secret, environment, name, Action.SECRET_MOVE)
    check_etag(secret, expected)
    there = _cleared(actor, secret, environment, name, Action.SECRET_MOVE, asked_in=environment)
    here = there
    if environment.pk != secret.environment_id:
        here = _cleared(actor, secret, environment, name, Action.SECRET_MOVE, asked_in=secret.environment)
    moved = _copied(actor, secret, environment, name, Action.SECRET_MOVE, there)
    delete(actor=actor, secret=secret, clearance=here)
    return moved


def overwrite(*, actor: Principal, secret: Secret, onto: Secret, expected: str) -> Secret:
    """Make the current value of a secret that of another one, as its next version; return that one.

    Needs the right to reveal here and to change there, where the secret must be at `expected`; what is
    known about it there stays. It is recorded on both sides.

    Raises StaleVersion, InvalidValue, TamperedSecret, EnvelopeError, KeyUnavailable, and Forbidden or
    Invisible.
    """
    require_readable(actor=actor, secret=secret)
    require_on(actor=actor, action=Action.SECRET_COPY, secret=secret)
    require_on(actor=actor, action=Action.SECRET_UPDATE, secret=onto)
    require_not_deleted(secret)
    if onto.uses_references:
        reason = "It resolves references, and what is promoted stays literal: change it by itself."
        raise InvalidInput("value", reason)
    details: dict[str, Json] = {"to": f"{onto.environment.name}/{onto.name}"}
    version = current_version_of(secret)
    value = open_version(actor=actor, version=version, action=Action.SECRET_COPY, details=details)
    return update(
        actor=actor,
        secret=onto,
        value=value,
        secret_type=SecretType(secret.secret_type),
        expected=expected,
        # Where from is in the record and shown to approvers: who reads there may not know this place.
        comment="promoted",
        origin=f"a secret of {secret.environment.name}",
    )


def _required(
    actor: Principal, secret: Secret, environment: Environment, name: str | None, action: Action
) -> str:
    """Ask for all the rights that it takes, and return the name that the copy is to have."""
    name = validate_secret_name(secret.name if name is None else name)
    require_readable(actor=actor, secret=secret)
    require_on(actor=actor, action=action, secret=secret)
    require_not_deleted(secret)
    require(actor=actor, action=Action.SECRET_CREATE, environment=environment, name=name)
    return name


def _cleared(
    actor: Principal,
    secret: Secret,
    environment: Environment,
    name: str,
    action: Action,
    *,
    asked_in: Environment,
) -> ApprovalGrant:
    # The approver of one side may not know the names of the other: they see which environment it is.
    if asked_in.pk == environment.pk:
        line = Line("Name", f"a secret of {secret.environment.name}", name)
    else:
        line = Line("Name", secret.name, f"moved to {environment.name}, then deleted here")
    proposal = acting(
        action,
        secret,
        environment=asked_in,
        object=None if asked_in.pk == secret.environment_id else AuditObject("secret", secret.uuid, name),
        summary=[line],
        arguments={"environment_uuid": str(environment.uuid), "name": name},
    )
    return require_approval(actor=actor, proposal=proposal)


def _copied(
    actor: Principal,
    secret: Secret,
    environment: Environment,
    name: str,
    action: Action,
    clearance: ApprovalGrant,
) -> Secret:
    details: dict[str, Json] = {"to": f"{environment.name}/{name}"}
    version = current_version_of(secret)
    value = open_version(actor=actor, version=version, action=action, details=details)
    made = create(
        actor=actor,
        environment=environment,
        name=name,
        secret_type=SecretType(secret.secret_type),
        value=value,
        # Where from is in the record: who reads here may not know that place.
        comment="copied",
        clearance=clearance,
        description=secret.description,
        tags=secret.tags,
        owner=secret.owner,
        expires_at=secret.expires_at,
        # A secret that comes back by it may have resolved references; a copy stays literal.
        uses_references=secret.uses_references and action == Action.SECRET_MOVE,
        # Who moves a decoy may not end it.
        decoy=bool(secret.decoy) and action == Action.SECRET_MOVE,
    )
    # It is no new value: it is as old as it was, and as due, unless it was changed there already.
    due = {"rotation_due_at": secret.rotation_due_at, "rotated_at": secret.rotated_at}
    Secret.objects.filter(pk=made.pk, rotated_at=made.rotated_at).update(**due)
    made.refresh_from_db(fields=list(due))
    return made
