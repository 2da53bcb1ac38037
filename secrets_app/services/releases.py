"""Releases a program for guarded secrets: it reads them from then on, since two people agreed to that.

The person who agrees is another one than the requester, and than whoever could act as the program: its
issuer, and who made or changed its trust.
"""

from datetime import datetime
from typing import Final
from uuid import UUID, uuid5

from django.db.models import Q

from audit_app.events.actions import Action
from audit_app.recording.drafts import AuditObject
from core.canonical_json import Json
from environments_app.approvals.gate import Line, Proposal, require_release
from environments_app.approvals.program_releases import (
    RENAMED,
    Program,
    find_program,
    reaches,
    record_release,
    standing,
    state_of,
)
from environments_app.authorization.credential_custody import CustodyGraph
from environments_app.authorization.permissions import ROLE_ACTIONS
from environments_app.authorization.policy import Grant, Principal, require
from environments_app.authorization.rows import isoformat, require_authentic, require_future
from environments_app.errors import ApprovalVoid, Conflict, InvalidField, Invisible
from environments_app.models import Environment, ProgramKind, ProgramRelease, Role, ServiceToken, Trust
from environments_app.names import validate_prefix
from environments_app.sessions.service import lock_actor
from environments_app.tokens.service import find_token
from environments_app.trusts.service import find_trust
from secrets_app.models import Secret
from secrets_app.queries.lookup import find_secret_by_names, require_not_deleted
from secrets_app.queries.lookup import require_authentic as require_authentic_secret
from secrets_app.services.guarded import MIN_REASON, checked_reason

_UNGUARDED: Final = "This secret is not guarded: the program reads it without a release."


def release(
    *,
    actor: Principal,
    environment: Environment,
    program: Program,
    secret: Secret | None = None,
    path: str = "",
    reason: str,
    expires_at: datetime | None = None,
) -> ProgramRelease:
    """Let a program read a guarded secret, or each one under a path, once a second person has approved that.

    Raises ApprovalNeeded in any environment; InvalidField, InvalidInput or BadName; Conflict if the secret is
    not guarded, or the program has ended, comes of another one or is released there already; Tampered,
    TamperedSecret, StaleVersion; ApprovalVoid if the secret or program changed meanwhile; Forbidden or
    Invisible.
    """
    name = secret.name if secret else validate_prefix(path)
    if not name:
        raise InvalidField("path", "Name the secret, or a path: a program is not released for everything.")
    require(actor=actor, action=Action.SECRET_RELEASE, environment=environment)
    _require_guarded(secret, environment)
    _require_releasable(program, environment, secret, name)
    reason = checked_reason(reason, MIN_REASON)
    row = ProgramRelease(
        environment=environment,
        program_kind=ProgramKind.TRUST if isinstance(program, Trust) else ProgramKind.TOKEN,
        program_uuid=program.uuid,
        program_name=program.name,
        program_state=state_of(program),
        secret_uuid=secret.uuid if secret else None,
        path=name,
        expires_at=require_future(expires_at),
        reason=reason,
        asked_by_uuid=actor.uuid,
        asked_by_name=actor.name,
    )
    clearance = require_release(actor=actor, proposal=_releasing(row, program, secret))
    with lock_actor(actor, Action.SECRET_RELEASE, environment):
        _require_unchanged(row, secret)
        approved = clearance.consume(environment, actor=actor, state=row.program_state)
        row.approval, row.agreed_by = UUID(str(approved["approval"])), str(approved["approved_by"])
        row.save(force_insert=True)
        record_release(actor, Action.SECRET_RELEASE, row, {"reason": reason, **approved})
    return row


def release_by_name(
    *,
    actor: Principal,
    environment: Environment,
    token: int | None = None,
    trust: int | None = None,
    secret: str | None = None,
    path: str = "",
    reason: str,
    expires_at: datetime | None = None,
) -> ProgramRelease:
    """Do what `release` does for the id of a token or trust, and the name of a secret or a path."""
    require(actor=actor, action=Action.TOKEN_VIEW, environment=environment)
    require(actor=actor, action=Action.SECRET_RELEASE, environment=environment)
    if (token is None) == (trust is None):
        raise InvalidField("token", "Choose one program: a service token or a trust.")
    if bool(secret) == bool(path):
        raise InvalidField("path", "Name one secret, or a path.")
    program: Program = (
        find_token(actor=actor, environment=environment, id=token)
        if token is not None
        else find_trust(actor=actor, environment=environment, id=int(trust or 0))
    )
    found = _secret_named(actor, environment, secret) if secret else None
    return release(
        actor=actor,
        environment=environment,
        program=program,
        secret=found,
        path=path,
        reason=reason,
        expires_at=expires_at,
    )


def _secret_named(actor: Principal, environment: Environment, name: str) -> Secret:
    try:
        return find_secret_by_names(actor=actor, environment=environment.name, name=name)
    except Invisible as error:
        raise InvalidField("secret", f"There is no secret {name} in {environment.name}.") from error


def _require_guarded(secret: Secret | None, environment: Environment) -> None:
    if secret is None:
        return
    if secret.environment_id != environment.pk:
        raise Invisible("Not found.")
    require_not_deleted(secret)
    require_authentic_secret(secret)
    if not secret.guarded:
        raise Conflict(_UNGUARDED)


def _require_releasable(program: Program, environment: Environment, secret: Secret | None, name: str) -> None:
    if program.environment_id != environment.pk:
        raise Invisible("Not found.")
    require_authentic(program)
    if isinstance(program, ServiceToken) and (program.trust_uuid or program.parent_uuid):
        raise Conflict("This token comes of a trust or of another token. Release that one.")
    if not program.is_live or getattr(program, "decoy", None):
        raise Conflict("This program opens nothing: it has ended, or is a decoy. Release another one.")
    reads = Action.SECRET_REVEAL in ROLE_ACTIONS[Role(program.role)]
    if not reads or not reaches(program, name, whole=secret is None):
        raise InvalidField("path", f"{program.name} may not read there, guarded or not.")
    about = (secret.uuid if secret else None, name)
    for row, hindrance, _program in standing(environment, programs=[program.uuid]):
        if not hindrance and (row.secret_uuid, row.path) == about:
            raise Conflict(f"{program.name} is released for this already.")


def _require_unchanged(row: ProgramRelease, secret: Secret | None) -> None:
    """Lock what is released, and for what; raise ApprovalVoid if either is another one by now."""
    if secret is not None:
        # The secret first, as those do who end what belongs to it.
        locked = Secret.objects.select_for_update().filter(pk=secret.pk).first()
        if locked is None or not locked.live or not locked.guarded or locked.name != row.path:
            raise ApprovalVoid("The secret was deleted or renamed, or its guard ended. Nothing was released.")
    program = find_program(row.environment, kind=row.program_kind, uuid=row.program_uuid, lock=True)
    if program is None or not program.is_live or state_of(program) != row.program_state:
        raise ApprovalVoid("The program was changed, or has ended. Nothing was released.")


def _releasing(row: ProgramRelease, program: Program, secret: Secret | None) -> Proposal:
    environment = row.environment
    behind = CustodyGraph().others_behind(program.uuid, environment=environment)
    arguments: dict[str, Json] = {
        "kind": str(row.program_kind),
        # Whoever could act as the program is no second person.
        "asked_by": str(program.uuid),
        "secret": secret.pk if secret else None,
        "path": row.path,
        "expires_at": isoformat(row.expires_at),
    }
    return Proposal(
        action=Action.SECRET_RELEASE,
        environment=environment,
        object=AuditObject(
            "release",
            uuid5(environment.uuid, f"release {program.uuid} {row.secret_uuid or ''} {row.path}"),
            row.audit_object.name,
        ),
        expected=row.program_state,
        arguments=arguments,
        summary=[
            Line("Program", "", f"{program.name} ({called(program)}, {program.role})"),
            *_limits(program),
            Line("Who could act as it", "", ", ".join(behind) or "Nobody whom Keeper knows"),
            Line("Reads, whenever it asks", "", _what(row, program)),
            Line("Until", "", _moment(row.expires_at) or "It is ended"),
        ],
        reason=row.reason,
    )


def renaming_lines(secret: Secret, name: str) -> list[Line]:
    """Return which released programs lose a guarded secret by another name, and which read it then."""
    before, after = _who_reads(secret, secret.name), _who_reads(secret, name)
    lines = [
        Line("Released programs that lose it", ", ".join(sorted(before - after)), ""),
        Line("Released programs that gain it", "", ", ".join(sorted(after - before))),
        Line("Released programs that go on reading it", "", ", ".join(sorted(before & after))),
    ]
    return [line for line in lines if line.before or line.after]


def _who_reads(secret: Secret, name: str) -> set[str]:
    """Return the programs that read a guarded secret under a name, by what counts now."""
    # What was released for it alone under an earlier name counts again once it has that name.
    void = RENAMED if name != secret.name else ""
    return {
        f"{program.name} ({called(program)})"
        for row, hindrance, program in standing(secret.environment, about=(secret.uuid, name))
        if program is not None
        and row.covers(secret.uuid, name)
        and hindrance in {"", void}
        and reaches(program, name, whole=False)
    }


def called(program: Program) -> str:
    """Return what a program is: a token by how it begins, since several may have one name."""
    return "trust" if isinstance(program, Trust) else f"service token kpr_{program.public_id[:8]}…"


def _limits(program: Program) -> list[Line]:
    """Return whom a trust lets in and by whose keys, and where and until when the program itself works."""
    lines = [
        Line("Path of the program", "", f"{program.prefix}/" if program.prefix else "All secrets"),
        Line("End of the program", "", _moment(program.expires_at) or "None"),
    ]
    if not isinstance(program, Trust):
        return lines
    claims = ", ".join(f"{name} = {value}" for name, value in program.demands)
    keys = "Pasted by who made or changed the trust" if program.jwks else program.jwks_url
    return [
        Line("Workloads", "", f"{program.issuer}: {claims}"),
        Line("Keys", "", keys or "From the issuer's discovery document"),
        *lines,
    ]


def _moment(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M UTC}" if at else ""


def _what(row: ProgramRelease, program: Program) -> str:
    if row.secret_uuid is not None:
        return str(row.path)
    path = program.prefix if Grant.reaches(row.path, program.prefix) else row.path
    # A range: LIKE disregards case on SQLite, where a release regards it.
    under = Q(name=path) | Q(name__gte=f"{path}/", name__lt=f"{path}0")
    count = Secret.objects.filter(under, environment=row.environment, live=True, guarded=True).count()
    own = f" (the program reaches {path}/ alone)" if path != row.path else ""
    return f"Each guarded secret at {row.path} or under {row.path}/{own}, later ones too: {count} now"
