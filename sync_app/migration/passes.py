"""The two passes over a source: one makes the plan, the other stores what the plan has.

Both read the source; in between only keyed fingerprints are stored.
"""

import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Final, Protocol

from django.db import transaction

from audit_app.events.actions import Action
from audit_app.events.actors import system
from audit_app.integrity.row_authentication import verified_rows
from core.db import bulk
from core.db.bulk import in_batches
from environments_app.approvals.gate import ApprovalGrant, system_approval, unneeded_approval
from environments_app.errors import AccessError, ApprovalVoid
from environments_app.models import Environment
from secrets_app.errors import SecretError
from secrets_app.services.decoys import note_use
from secrets_app.services.histories import MAX_HISTORIES, Carrier, History, carry
from sync_app.errors import BackendError, MigrationNotReady
from sync_app.jobs.worker_pool import run_each
from sync_app.migration import service
from sync_app.migration.credentials import migration_principal
from sync_app.migration.plan import Judge, Seen, is_as_planned, is_writing, line_digest
from sync_app.migration.sources.base import Found, FoundVersion, Source, Value
from sync_app.models.migration import LineState, Migration, MigrationLine, Word

MAX_SECRETS: Final = 200_000
# As many secrets are read, judged and stored at once, with as many versions in memory.
_BATCH: Final = 100
_VERSIONS_AT_ONCE: Final = 500
_BATCH_BYTES: Final = 4 * 1024 * 1024
_LINES_AT_ONCE: Final = 2_000
_CHANGED: Final = "changed since the plan: plan again"
_FORGED: Final = "the line was not written by Keeper"
_TOO_MANY: Final = f"The source has more than {MAX_SECRETS:,} secrets. Migrate fewer places at once."


class Hold(Protocol):
    """What the worker has of a migration: its lease."""

    def renew(self, **changes: Any) -> None:
        """Renew the lease, and change columns. Raises LeaseLost."""

    def release(self, **changes: Any) -> None:
        """Give the lease back, and change columns. Raises LeaseLost."""

    def heartbeat(self) -> None:
        """Renew the lease if it is time to. Raises LeaseLost, ShutdownRequested."""


def make_plan(migration: Migration, source: Source, lease: Hold) -> None:
    """Look at each secret of the source, and store the line of each; go on where an earlier worker ended."""
    judge = Judge(migration, migration_principal(migration), source.system())
    _drop_older_lines(migration, lease)
    done: set[tuple[str, str]] = set()
    for line in MigrationLine.objects.filter(migration=migration, plan=migration.plan).iterator(
        _LINES_AT_ONCE
    ):
        judge.note(line)
        done.add((line.place, line.path))
    listed = ((place, path) for place in service.places_of(migration) for path in source.paths(place))
    paths: list[tuple[str, str]] = []
    for each in islice(listed, MAX_SECRETS + 1):
        lease.heartbeat()
        paths.append(each)
    if len(paths) > MAX_SECRETS:
        raise MigrationNotReady(_TOO_MANY)
    judge.reserve(paths)
    for some in in_batches([path for path in paths if path not in done], _BATCH):
        lease.heartbeat()
        for seen in _read(source, judge, some, lease.heartbeat):
            lines = [judged.line for judged in judge.judge(seen)]
            kept = [line for line in lines if line.word != Word.SAME or not migration.follow_seconds]
            for line in kept:
                line.seal_row()
            with transaction.atomic():
                lease.renew(attempts=1)
                bulk.insert_rows(kept)
    service.store_plan(migration, plan_digest(migration), lease.renew)


def plan_digest(migration: Migration) -> str:
    """Return the SHA-256 over the lines of the plan, in hexadecimal."""
    digest = hashlib.sha256()
    for line in lines_of(migration).iterator(_LINES_AT_ONCE):
        digest.update(line_digest(line))
    return digest.hexdigest()


def lines_of(migration: Migration) -> Any:
    """Return the lines of the present plan, in their order."""
    return MigrationLine.objects.filter(migration=migration, plan=migration.plan).order_by("id")


def _drop_older_lines(migration: Migration, lease: Hold) -> None:
    older = MigrationLine.objects.filter(migration=migration, plan__lt=migration.plan)
    while pks := list(older.values_list("pk", flat=True)[:_LINES_AT_ONCE]):
        with transaction.atomic():
            lease.renew()
            MigrationLine.objects.filter(pk__in=pks).delete()


def apply_plan(migration: Migration, source: Source, lease: Hold) -> None:
    """Store what the plan has, batch by batch, of what is as the plan has it."""
    judge = Judge(migration, migration_principal(migration), source.system())
    for line in (
        lines_of(migration).only("environment_uuid", "name", "place", "path", "word").iterator(_LINES_AT_ONCE)
    ):
        judge.note(line)
    waiting = service.lines_to_carry(migration).filter(state=LineState.PLANNED).order_by("id")
    last = 0
    while lines := list(waiting.filter(pk__gt=last)[:_BATCH]):
        last = lines[-1].pk
        lease.heartbeat()
        judge.actor = migration_principal(migration)
        for uuid in dict.fromkeys(line.environment_uuid for line in lines):
            batch = _Batch(migration, judge, source, lease, judge.environment(uuid))
            batch.apply([line for line in lines if line.environment_uuid == uuid])
    service.finish_apply(migration, lease.release)


@dataclass
class _Batch:
    """Lines of one environment that are applied at once."""

    migration: Migration
    judge: Judge
    source: Source
    lease: Hold
    environment: Environment | None
    ready: list[tuple[MigrationLine, History]] = field(default_factory=list)

    def apply(self, lines: Sequence[MigrationLine]) -> None:
        genuine = {line.pk for line in verified_rows(self._placed(lines))}
        self._leave([line for line in lines if line.pk not in genuine], _FORGED)
        environment = self.environment
        if environment is None or (grant := self._grant(environment)) is None:
            # They wait for an approval.
            return
        by_path = {(line.place, line.path): line for line in lines if line.pk in genuine}
        for seen in _read(self.source, self.judge, list(by_path), self.lease.heartbeat):
            for judged in self.judge.judge(seen):
                line = by_path[judged.line.place, judged.line.path]
                if (
                    judged.history is None
                    or not is_writing(judged.line)
                    or not is_as_planned(line, judged.line)
                ):
                    self._leave([line], judged.line.reason or _CHANGED)
                else:
                    secret = judged.history.secret
                    if secret and secret.decoy and line.word == Word.CHANGED:
                        note_use(actor=self.judge.actor, secret=secret, action=Action.SECRET_MIGRATE)
                    self.ready.append((line, judged.history))
            for some in _parts(self.ready):
                self._carry(environment, grant, some)
            self.ready = []

    def _placed(self, lines: Sequence[MigrationLine]) -> Sequence[MigrationLine]:
        for line in lines:
            line.migration = self.migration
        return lines

    def _grant(self, environment: Environment) -> ApprovalGrant | None:
        """Return the approval of the batch: of the plan, or that none is needed; None if it is missing."""
        if str(environment.uuid) in self.migration.approvals:
            return system_approval(system(), environment)
        return unneeded_approval(self.judge.actor, environment)

    def _carry(
        self, environment: Environment, grant: ApprovalGrant, some: Sequence[tuple[MigrationLine, History]]
    ) -> None:
        approval = self.migration.approvals.get(str(environment.uuid))
        carrier = Carrier(
            actor=self.judge.actor,
            system=self.source.system(),
            migration=self.migration.uuid,
            details={"approval": approval} if approval else {},
        )
        pks = [line.pk for line, _ in some]

        def store_states() -> None:
            self.lease.renew(attempts=1)
            MigrationLine.objects.filter(pk__in=pks).update(state=LineState.CARRIED, reason="")

        try:
            carry(
                carrier=carrier,
                environment=environment,
                histories=[history for _, history in some],
                grant=grant,
                in_transaction=store_states,
            )
        except ApprovalVoid:
            # Protected since: the lines wait for an approval.
            return
        except (SecretError, AccessError) as error:
            if getattr(error, "permanent", None) is False:
                raise
            if len(some) == 1:
                self._leave([some[0][0]], str(error))
                return
            # What is refused is found one by one.
            for line, history in some:
                self._carry(environment, grant, [(line, _as_read(history))])

    def _leave(self, lines: Collection[MigrationLine], reason: str) -> None:
        if lines:
            with transaction.atomic():
                self.lease.renew()
                MigrationLine.objects.filter(pk__in=[line.pk for line in lines]).update(
                    state=LineState.LEFT, reason=reason[:500]
                )


def _as_read(history: History) -> History:
    """Return a history with its secret as it is stored now; its state has to be the one that was read."""
    if history.secret is None:
        return history
    secret = type(history.secret).objects.select_related("environment").filter(pk=history.secret.pk).first()
    return replace(history, secret=secret) if secret else history


def _parts(ready: Sequence[tuple[MigrationLine, History]]) -> Iterator[list[tuple[MigrationLine, History]]]:
    """Yield runs of histories that one transaction takes."""
    part: list[tuple[MigrationLine, History]] = []
    size = 0
    for line, history in ready:
        size_of_one = sum(len(version.value or "") for version in history.versions)
        if part and (size + size_of_one > _BATCH_BYTES or len(part) >= MAX_HISTORIES):
            yield part
            part, size = [], 0
        part.append((line, history))
        size += size_of_one
    if part:
        yield part


def _read(
    source: Source, judge: Judge, paths: Sequence[tuple[str, str]], heartbeat: Callable[[], None]
) -> Iterator[list[Seen]]:
    """Yield the secrets of these places and paths with the values that decide, so many versions at a time.

    Raises what may pass: the same pass goes on later.
    """
    found: dict[tuple[str, str], Seen] = {}
    for (place, path), answer in run_each(lambda each: source.find(*each), paths, heartbeat=heartbeat):
        if isinstance(answer, BackendError):
            _raise_if_passing(answer)
            found[place, path] = Seen(place, Found(path=path, fault=str(answer)[:500]))
        else:
            found[place, path] = Seen(place, answer)
    part: list[Seen] = []
    count = 0
    for each in paths:
        part.append(found[each])
        count += len(found[each].found.versions)
        if count > _VERSIONS_AT_ONCE:
            yield _opened(source, judge, part, heartbeat)
            part, count = [], 0
    if part:
        yield _opened(source, judge, part, heartbeat)


def _opened(source: Source, judge: Judge, batch: Sequence[Seen], heartbeat: Callable[[], None]) -> list[Seen]:
    def read(item: tuple[Seen, FoundVersion]) -> Value | None:
        seen, version = item
        return source.open(seen.place, seen.found.path, version)

    values: dict[tuple[str, str], dict[int, Value | None]] = {}
    faults: dict[tuple[str, str], str] = {}
    for (seen, version), answer in run_each(read, list(judge.to_open(batch)), heartbeat=heartbeat):
        key = (seen.place, seen.found.path)
        if isinstance(answer, BackendError):
            _raise_if_passing(answer)
            faults[key] = str(answer)[:500]
        else:
            values.setdefault(key, {})[version.number] = answer
    return [
        replace(
            seen,
            values=values.get((seen.place, seen.found.path), {}),
            found=replace(seen.found, fault=faults.get((seen.place, seen.found.path), seen.found.fault)),
        )
        for seen in batch
    ]


def _raise_if_passing(error: BackendError) -> None:
    if not error.permanent:
        raise error
