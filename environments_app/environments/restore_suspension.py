"""What a restore suspends because it would act, and how each is released, one by one.

A restored database may be older than what happened since: a membership that was revoked, a token that
was ended, a target that was moved. So each of these waits for a review.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet

from audit_app.events import streams
from audit_app.events.actions import Action
from audit_app.events.actors import Actor
from audit_app.integrity.row_authentication import AuthenticatedRow
from audit_app.integrity.row_state import (
    LatestDigest,
    acts_on_rows,
    latest_digests,
    mismatches,
    row_digest_entry,
)
from audit_app.recording.drafts import AuditObject, EventDraft
from audit_app.recording.recorder import record_many
from environments_app.authorization.policy import Principal, require
from environments_app.errors import Conflict, Invisible
from environments_app.models import (
    Environment,
    Membership,
    PersonalToken,
    ProgramRelease,
    SamlGroupMapping,
    ServiceToken,
    Trust,
)
from environments_app.sessions.service import lock_row

_BATCH = 200
# A row in an older state is suspended as of another time than that of the restore, which releases it never.
_APART = timedelta(seconds=1)


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """One thing that a restore suspended; `environment` is empty for one of the installation."""

    kind: str
    uuid: UUID
    name: str
    environment: str
    detail: str


class RestoreSuspension:
    """Rows of one kind, each of which does nothing while its `field` holds a time."""

    def __init__(
        self,
        model: type[AuthenticatedRow],
        *,
        kind: str,
        field: str = "suspended_at",
        related: tuple[str, ...] = ("environment",),
        name: Callable[[Any], str] = lambda row: str(row.name),
        detail: Callable[[Any], str],
        living: Q | None = None,
    ) -> None:
        self.kind = kind
        self._model, self._field, self._related = model, field, related
        self._name, self._detail, self._living = name, detail, living or Q()

    def suspend(self, *, actor: Actor, at: datetime, states: Mapping[str, LatestDigest]) -> int:
        """Suspend every row that is not so already, in the caller's transaction; return how many wait for it.

        One that Keeper did not write does nothing anyway, and saving it would make it genuine. One of which
        `states` (the newest of all rows, by the audit log) has a later state was put back, such as that of a
        token that was revoked: it is suspended and never offered for its release. No event has its state, so
        that verification still reports it.
        """
        count = 0
        for batch in self._batches(self._rows().filter(**{f"{self._field}__isnull": True})):
            drafts: dict[str, list[EventDraft]] = {}
            for row in batch:
                replayed = any(mismatches([row], states))
                setattr(row, self._field, at - _APART if replayed else at)
                row.save(update_fields=[self._field])
                draft = self._draft(actor, Action.RESTORE_SUSPEND, row, replayed=replayed)
                drafts.setdefault(_stream(row), []).append(draft)
                count += not replayed
            for of_a_stream in drafts.values():
                record_many(of_a_stream)
        return count

    def waiting(self, since: datetime) -> Iterator[Waiting]:
        """Yield what the restore of that time suspended and is not released."""
        for row in self._rows().filter(**{self._field: since}).order_by("pk").iterator(chunk_size=_BATCH):
            place = row.environment.name if row.environment else ""
            yield Waiting(
                kind=self.kind,
                uuid=row.uuid,
                name=self._name(row),
                environment=place,
                detail=self._detail(row),
            )

    def count(self, since: datetime) -> int:
        return self._rows().filter(**{self._field: since}).count()

    def suspended(self) -> int:
        return self._rows().filter(**{f"{self._field}__isnull": False}).count()

    def acting(self) -> int:
        """Return how much is not suspended, and was written by Keeper: the rest does nothing anyway."""
        return sum(map(len, self._batches(self._rows().filter(**{f"{self._field}__isnull": True}))))

    def release(self, *, actor: Principal, uuid: UUID, since: datetime) -> None:
        """Let one act again.

        Raises Forbidden; Invisible if there is none; Conflict if it is not suspended by that restore, or was
        ended since and put back; Tampered if its row was changed outside Keeper.
        """
        require(actor=actor, action=Action.RESTORE_RELEASE, environment=None)
        row = self._rows().filter(uuid=uuid).first()
        if row is None:
            raise Invisible("Not found.")
        with lock_row(actor, row, Action.RESTORE_RELEASE) as stored:
            if getattr(stored, self._field) != since:
                raise Conflict("This does not wait for its release any more.")
            if _is_replayed(stored):
                raise Conflict("An older state of this was put back in the database. End it instead.")
            setattr(stored, self._field, None)
            stored.save(update_fields=[self._field])
            record_many([self._draft(actor, Action.RESTORE_RELEASE, stored)])

    def _rows(self) -> QuerySet[Any]:
        rows: QuerySet[Any] = QuerySet(self._model)
        return rows.filter(self._living).select_related(*self._related)

    def _batches(self, rows: QuerySet[Any]) -> Iterator[list[Any]]:
        last = 0
        while batch := list(rows.filter(pk__gt=last).order_by("pk")[:_BATCH]):
            last = batch[-1].pk
            yield [row for row in batch if row.is_authentic()]

    def _draft(self, actor: Actor, action: Action, row: Any, *, replayed: bool = False) -> EventDraft:
        return EventDraft(
            actor=actor,
            action=action,
            stream=_stream(row),
            object=AuditObject(self.kind, row.uuid, self._name(row)),
            details={
                "environment": row.environment.name if row.environment else None,
                **({"replayed": True} if replayed else row_digest_entry(row)),
            },
        )


def _is_replayed(row: Any) -> bool:
    """Return whether the audit log has a later state of a row than the stored one.

    Its own events are found by an index. Those of other objects, which tell of a row as well, are read only
    if its own ones differ.
    """
    own = latest_digests(Action, rows=[row])
    return any(mismatches([row], own)) and any(mismatches([row], latest_digests(acts_on_rows())))


def _stream(row: Any) -> str:
    environment: Environment | None = row.environment
    return streams.environment_stream(environment.uuid) if environment else streams.SYSTEM


def _under(row: Membership | ServiceToken | SamlGroupMapping | Trust) -> str:
    return f"{row.role} of {row.prefix}/" if row.prefix else str(row.role)


MEMBERSHIPS = RestoreSuspension(
    Membership,
    kind="membership",
    related=("environment", "user", "group"),
    name=lambda membership: str(membership.holder),
    detail=_under,
)
TOKENS = RestoreSuspension(
    ServiceToken, kind="service-token", detail=_under, living=Q(revoked_at__isnull=True)
)
TRUSTS = RestoreSuspension(Trust, kind="trust", detail=_under, living=Q(disabled_at__isnull=True))
MAPPINGS = RestoreSuspension(
    SamlGroupMapping, kind="saml-group-mapping", name=lambda mapping: str(mapping.group), detail=_under
)
PERSONAL_TOKENS = RestoreSuspension(
    PersonalToken,
    kind="personal-token",
    related=("environment", "user"),
    name=str,
    detail=lambda token: f"{token.prefix}/" if token.prefix else "all names",
    living=Q(revoked_at__isnull=True),
)
PROGRAM_RELEASES = RestoreSuspension(
    ProgramRelease,
    kind="program-release",
    name=str,
    detail=lambda release: f"agreed by {release.agreed_by}",
    living=Q(ended_at__isnull=True),
)
