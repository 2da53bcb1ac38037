"""Released programs: which service tokens and workloads read guarded values without a request each time.

A release is made by an approval (`secrets_app.services.releases`), and ended here. It counts for the token or
trust that it names, and for the tokens that come of that: those of a workload, and children. It ends with
them: a rotated token has another text, which who rotated it has seen, and a trust that was changed lets
others in. Either is released again.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.db.models import QuerySet
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.events.actors import Actor, ActorKind
from audit_app.integrity.row_authentication import record_integrity_violation, verified_rows
from audit_app.integrity.row_state import latest_digests, mismatches, row_digest_entry
from audit_app.recording.drafts import stream_and_object
from audit_app.recording.recorder import record
from core.canonical_json import Json
from core.db.bulk import in_batches
from environments_app.authorization.break_glass import reads_values
from environments_app.authorization.effective_access import (
    EXPIRED,
    FORGED,
    NOT_COVERED,
    RESTORED,
    TOKEN,
    TRUST,
    AccessPath,
    explain_access,
)
from environments_app.authorization.policy import Grant, Principal, require
from environments_app.authorization.rows import isoformat
from environments_app.errors import Invisible
from environments_app.interfaces import owner_of
from environments_app.models import Environment, ProgramKind, ProgramRelease, Role, ServiceToken, Trust
from environments_app.sessions.service import lock_actor

_CHANGES: Final = (
    Action.SECRET_RELEASE,
    Action.SECRET_RELEASE_END,
    Action.RESTORE_SUSPEND,
    Action.RESTORE_RELEASE,
)
GONE: Final = "the program was revoked or deleted"
REPLAYED: Final = "an older state of the release was put back"
DELETED: Final = "the secret was deleted"
RENAMED: Final = "the secret was renamed"
# What counts for nothing, whatever time or another act may bring.
VOID: Final = frozenset({FORGED, REPLAYED, DELETED, RENAMED})
VIA: Final = "release for guarded secrets"
Program = ServiceToken | Trust


def state_of(program: Program) -> str:
    """Return what of a program a release is bound to besides its identity; nothing of a token."""
    return program.definition if isinstance(program, Trust) else ""


def find_program(environment: Environment, *, kind: str, uuid: UUID, lock: bool = False) -> Program | None:
    """Return a token or trust of an environment, locked if the caller says so; asks no right."""
    rows: QuerySet[Any] = QuerySet(Trust if kind == ProgramKind.TRUST else ServiceToken)
    if lock:
        rows = rows.select_for_update()
    program: Program | None = rows.filter(uuid=uuid, environment=environment).first()
    if program is not None:
        program.environment = environment
    return program


def find_release(
    actor: Principal, *, environment: Environment, secret: UUID, name: str
) -> ProgramRelease | None:
    """Return the release by which a program reads the guarded values of a secret; None for people.

    A row that Keeper did not write, or that is not in its newest state, releases nothing.
    """
    programs = _programs_of(actor) if actor.kind is ActorKind.TOKEN else {}
    rows = ProgramRelease.objects.select_related("environment").filter(
        environment=environment, program_uuid__in=programs, ended_at=None
    )
    for row in verified_rows(rows):
        stands = row.is_live and row.program_state == programs[row.program_uuid]
        if stands and row.covers(secret, name) and _is_newest(row):
            return row
    return None


def _programs_of(actor: Principal) -> Mapping[UUID, str]:
    """Return the token of a program, those that it was made of and its trust, each with its state."""
    found: dict[UUID, str] = {}
    uuid: UUID | None = actor.uuid
    while uuid is not None and uuid not in found:
        token = ServiceToken.objects.select_related("environment").filter(uuid=uuid).first()
        if token is None or not verified_rows([token]):
            return {}
        found[token.uuid] = ""
        if token.trust_uuid is not None:
            trusts = Trust.objects.select_related("environment").filter(uuid=token.trust_uuid)
            found |= {trust.uuid: trust.definition for trust in verified_rows(trusts)}
        uuid = token.parent_uuid
    return found


def _is_newest(row: ProgramRelease) -> bool:
    """Refuse an older state of a release that was put back, such as that of one that was ended."""
    if not _replayed([row]):
        return True
    record_integrity_violation(kind=row.MAC_LABEL, uuid=row.uuid, name=str(row), reason=REPLAYED)
    return False


def _replayed(rows: Sequence[ProgramRelease]) -> set[UUID]:
    """Return the releases of which the audit log has a later state than the stored one."""
    found: set[UUID] = set()
    for batch in in_batches(rows):
        states = latest_digests(_CHANGES, rows=batch)
        found |= {row.uuid for row in batch if any(mismatches([row], states))}
    return found


class Standing(NamedTuple):
    """A release, why it counts for nothing, if that is so, and its program while that is there."""

    release: ProgramRelease
    hindrance: str
    program: Program | None = None


def described(releases: Sequence[ProgramRelease]) -> list[Standing]:
    """Return releases with why each counts for nothing, or an empty text."""
    programs, lapsed = _programs_named(releases), _lapsed([row for row in releases if row.ended_at is None])
    found = []
    for row in releases:
        program = programs.get(row.program_uuid)
        found.append(Standing(row, _hindrance(row, program, lapsed.get(row.uuid, "")), program))
    return found


def standing(
    environment: Environment,
    *,
    programs: Collection[UUID] | None = None,
    about: tuple[UUID, str] | None = None,
) -> list[Standing]:
    """Return the releases of an environment that are not over, of some programs or about one secret.

    `about` is the secret's uuid and name; one for that secret under another name is among them. It asks no
    right. Those of tokens that were revoked and of trusts that were deleted are over, and so are those that
    a person ended.
    """
    rows = ProgramRelease.objects.select_related("environment").filter(environment=environment, ended_at=None)
    if programs is not None:
        rows = rows.filter(program_uuid__in=programs)
    chosen = list(rows.order_by("pk"))
    if about is not None:
        chosen = [row for row in chosen if row.secret_uuid == about[0] or row.covers(*about)]
    found = described(chosen)
    return [each for each in found if each.hindrance != GONE]


def _programs_named(releases: Iterable[ProgramRelease]) -> dict[UUID, Program]:
    found: dict[UUID, Program] = {}
    for batch in in_batches(sorted({row.program_uuid for row in releases})):
        for model in (ServiceToken, Trust):
            rows: QuerySet[Any] = QuerySet(model).filter(uuid__in=batch)
            found |= {row.uuid: row for row in rows}
    return found


def _hindrance(row: ProgramRelease, program: Program | None, lapsed: str) -> str:
    if not row.is_authentic():
        return FORGED
    if row.ended_at is not None:
        return "ended"
    if program is None or getattr(program, "revoked_at", None) is not None:
        return GONE
    if lapsed:
        return lapsed
    facts = {
        RESTORED: row.suspended_at is not None,
        "the trust was changed since": row.program_state != state_of(program),
        "the program has ended or waits": not program.is_live,
        "the program may not read there": not (
            reads_values(program.role) and reaches(program, row.path, whole=row.secret_uuid is None)
        ),
        EXPIRED: not row.is_live,
    }
    return next((why for why, holds in facts.items() if holds), "")


def _lapsed(releases: Sequence[ProgramRelease]) -> dict[UUID, str]:
    """Return which releases count for nothing since their secret or row is another one, and why."""
    found = dict.fromkeys(_replayed(releases), REPLAYED)
    secrets: dict[Environment, set[UUID]] = {}
    for row in releases:
        if row.secret_uuid is not None:
            secrets.setdefault(row.environment, set()).add(row.secret_uuid)
    names: dict[UUID | None, str] = {}
    for place, some in secrets.items():
        names.update(owner_of(Action.SECRET_RELEASE).names_of(place, some).items())
    for row in releases:
        if row.secret_uuid is not None and names.get(row.secret_uuid) != row.path:
            found[row.uuid] = RENAMED if row.secret_uuid in names else DELETED
    return found


def explain_all_access(
    *, actor: Principal, environment: Environment, name: str = "", person: str = "", token: str = ""
) -> list[AccessPath]:
    """Return what `explain_access` does, and how programs come to guarded values beside that.

    Raises Invisible or Forbidden.
    """
    ways = explain_access(actor=actor, environment=environment, name=name, person=person, token=token)
    if not person:
        ways += [
            replace(way, hindrances=(*way.hindrances, NOT_COVERED)) if name and not row.reaches(name) else way
            for way, row in _released_ways(environment)
            if not token or way.who == token
        ]
    return sorted(ways, key=lambda way: (not way.reads, way.kind, way.who, way.prefix))


def ways_of_releases(
    environment: Environment, holders: Collection[UUID] | None = None
) -> Iterator[AccessPath]:
    """Yield each release of an environment as access to its guarded values; asks no right."""
    for way, _row in _released_ways(environment, holders):
        yield way


def _released_ways(
    environment: Environment, holders: Collection[UUID] | None = None
) -> Iterator[tuple[AccessPath, ProgramRelease]]:
    for row, hindrance, _program in standing(environment, programs=holders):
        way = AccessPath(
            kind=TRUST if row.program_kind == ProgramKind.TRUST else TOKEN,
            who=row.program_name,
            via=f"{VIA}, agreed by {row.agreed_by}",
            role=Role.READER,
            prefix=row.path,
            expires_at=row.expires_at,
            granted_by=row.asked_by_name,
            granted_at=row.created_at,
            hindrances=(hindrance,) if hindrance else (),
            uuid=row.program_uuid,
            row=row,
        )
        yield way, row


def find_program_release(*, actor: Principal, environment: Environment, id: int) -> ProgramRelease:
    """Return a release of an environment, ended or not. Raises Invisible or Forbidden."""
    require(actor=actor, action=Action.TOKEN_VIEW, environment=environment)
    rows = ProgramRelease.objects.select_related("environment")
    row = rows.filter(pk=id, environment=environment).first()
    if row is None:
        raise Invisible("There is no such release.")
    return row


def end_release(*, actor: Principal, release: ProgramRelease) -> None:
    """End a release at once, a forged one too; one that is ended stays so. Raises Invisible or Forbidden."""
    place = release.environment
    require(actor=actor, action=Action.SECRET_RELEASE_END, environment=place, object=release.audit_object)
    with lock_actor(actor, Action.SECRET_RELEASE_END, place):
        _end(actor, release, {})


def end_of_secret(*, actor: Actor, environment: Environment, secret: UUID) -> None:
    """End the releases for one secret, in the transaction in which it is deleted or its guard ends."""
    for row in ProgramRelease.objects.filter(environment=environment, secret_uuid=secret, ended_at=None):
        row.environment = environment
        _end(actor, row, {"along": "the secret was deleted, or its guard ended"})


def _end(actor: Actor, release: ProgramRelease, details: Mapping[str, Json]) -> None:
    stored = ProgramRelease.objects.select_for_update().filter(pk=release.pk).first()
    if stored is None or stored.ended_at is not None:
        return
    stored.environment = release.environment
    genuine = stored.is_authentic()
    stored.ended_at, stored.ended_by = timezone.now(), actor.name
    if genuine:
        stored.save(update_fields=["ended_at", "ended_by"])
    else:
        ProgramRelease.objects.filter(pk=stored.pk).update(ended_at=stored.ended_at, ended_by=stored.ended_by)
    record_release(actor, Action.SECRET_RELEASE_END, stored, details)


def record_release(
    actor: Actor, action: Action, release: ProgramRelease, details: Mapping[str, Json]
) -> None:
    """Record that a program was released, or the end of that, in the caller's transaction."""
    told: dict[str, Json] = {
        "program": release.program_name,
        "program_kind": str(release.program_kind),
        "program_uuid": str(release.program_uuid),
        "path": release.path,
        "secret": str(release.secret_uuid) if release.secret_uuid else None,
        "expires_at": isoformat(release.expires_at),
    }
    record(
        actor=actor,
        action=action,
        **stream_and_object(release),
        details={**told, **details, **row_digest_entry(release)},
    )


def reaches(program: Program, path: str, *, whole: bool) -> bool:
    """Return whether a program's path covers a name, or (`whole`) meets another path."""
    return Grant.reaches(program.prefix, path) or (whole and Grant.reaches(path, program.prefix))
