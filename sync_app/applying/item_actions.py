"""What is done to one secret of a target, each idempotent: proved, written, confirmed. Network only.

A repeated act (its intent was committed before, its outcome is not known) finds its own work done.
"""

import hmac
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Final
from uuid import UUID

from sync_app.backends.base import (
    VERSION_SEPARATOR,
    Backend,
    Mark,
    Observation,
    SecretMetadata,
    SecretValue,
    version_matches,
)
from sync_app.domain.reconciliation import Presence
from sync_app.errors import BackendError, ChangedSinceRead
from sync_app.models.plan import Act
from sync_app.planning.draft_items import AdoptMode

_CHANGED: Final = "the target's secret changed since the plan was made: plan again"
_NOT_OURS: Final = "the target's secret does not carry our mark any more: it is left alone"
# A system that takes longer to be written to is asked again about each secret.
FRESH_SECONDS: Final = 5.0
_GONE: Final = frozenset({Presence.ABSENT, Presence.DELETED})


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One act with all that it takes; `seen` is what the plan saw, `marks` those that prove it ours."""

    act: Act
    seen: SecretMetadata
    mark: Mark
    marks: frozenset[Mark]
    token: str
    repeated: bool = False
    value: str = field(default="", repr=False)
    # What the version to be written over held, where an earlier attempt kept it.
    kept: str | None = field(default=None, repr=False)
    adoption: AdoptMode | None = None
    # What a look at many together showed just before; only a first write over the base has one.
    shown: "Observation | None" = None
    # Other living targets, whose marks are respected.
    others: frozenset[UUID] = frozenset()

    @property
    def name(self) -> str:
        """The secret's name."""
        return self.seen.name


@dataclass(frozen=True, kw_only=True, slots=True)
class Done:
    """The secret after an act, and the value if it was fetched."""

    seen: SecretMetadata
    copy: SecretValue | None = None
    # Whether its existence was verified; else the system has only reported the write.
    seen_after: bool = True


def is_recent(shown: Observation) -> bool:
    """Return whether what was shown will still count when its turn comes, if that is soon."""
    return time.monotonic() - shown.observed_at < FRESH_SECONDS / 2


def shown(backend: Backend, names: Collection[str]) -> dict[str, Observation]:
    """Read many secrets with few requests; those missing from the result are read separately."""
    at = time.monotonic()
    try:
        found = backend.batch_get_metadata(names)
    except BackendError:
        return {}
    return {name: Observation(metadata=seen, observed_at=at) for name, seen in found.items()}


def confirm(backend: Backend, job: Job, done: Done, after: Observation | None) -> Done:
    """Verify that the reported write exists, and replaced the intended version.

    Raises ChangedSinceRead if it does not exist, and Overwritten if it replaced something else.
    """
    now = after.metadata if after is not None else None
    if now is None or not _is_seen(now, job, done):
        now = backend.get_metadata(job.name)
    if not _is_seen(now, job, done):
        backend.revert_write(replace(job.seen, mark=job.mark), done.seen.version)
        raise ChangedSinceRead("another version came in between: plan again")
    return replace(done, seen=replace(done.seen, remote_id=now.remote_id), seen_after=True)


def _is_seen(now: SecretMetadata, job: Job, done: Done) -> bool:
    """Return whether the existing secret is the written one, over the version that the plan saw."""
    return (
        now.version == done.seen.version
        and done.seen.remote_id in {"", now.remote_id}
        and (not now.previous_version or version_matches(now.previous_version, job.seen.version))
    )


def carry_out(backend: Backend, job: Job) -> Done:
    """Do one act. Raises a BackendError; ChangedSinceRead where the target's side moved."""
    return _ACTS[job.act](backend, job)


def _create(backend: Backend, job: Job) -> Done:
    try:
        confirms = backend.confirms_create
        made = backend.create(job.name, job.value, mark=job.mark, token=job.token, known=not confirms)
        return Done(seen=made, seen_after=confirms)
    except ChangedSinceRead:
        # An earlier attempt, whose answer was lost, may have made it.
        now = backend.get_metadata(job.name)
        if now.mark == job.mark and _holds(backend, now, job):
            return Done(seen=now)
        raise


def give_up(backend: Backend, job: Job) -> None:
    """Remove our mark from a name that another writer created first. Raises a BackendError."""
    now = backend.get_metadata(job.name)
    if now.mark == job.mark:
        backend.unmark(now)


def take_back(
    backend: Backend,
    seen: SecretMetadata,
    *,
    makes: str,
    marks: Collection[Mark],
    wrote: Callable[[str], bool],
    kept: str | None,
) -> None:
    """Restore what an earlier write over `seen` replaced, if not ours (Backend.revert_unconfirmed_write)."""
    if not backend.may_overwrite or not marks:
        return
    now = backend.get_metadata(seen.name)
    if now.version == seen.version:
        return
    mark = now.mark if now.mark in marks else next(iter(marks))
    backend.revert_unconfirmed_write(replace(seen, mark=mark), makes=makes, wrote=wrote, kept=kept)


def _take_back(backend: Backend, job: Job) -> None:
    def wrote(value: str) -> bool:
        return hmac.compare_digest(value.encode(), job.value.encode())

    makes = backend.predict_version(job.seen.version, token=job.token)
    take_back(backend, job.seen, makes=makes, marks=job.marks, wrote=wrote, kept=job.kept)


def _update(backend: Backend, job: Job) -> Done:
    if job.repeated:
        # Whatever is found out below, an earlier attempt may have come over what is not ours.
        _take_back(backend, job)
    known = _known(job)
    if known is not None:
        after = backend.update(known, job.value, token=job.token, known=True)
        return Done(seen=_remarked(backend, after, job), seen_after=backend.confirms_known_update)
    seen = _provable(backend, job)
    if seen.version == job.token:
        return Done(seen=_remarked(backend, seen, job))
    try:
        after = backend.update(seen, job.value, token=job.token, repeated=job.repeated)
    except ChangedSinceRead:
        if not job.repeated:
            raise
        # A worker that was believed dead may have written it just now; the second look finds it.
        _take_back(backend, job)
        after = backend.update(seen, job.value, token=job.token, repeated=True)
    return Done(seen=_remarked(backend, after, job))


def _known(job: Job) -> SecretMetadata | None:
    """Return the secret to overwrite if a recent bulk look shows it owned and unchanged since the plan."""
    if job.shown is None or time.monotonic() - job.shown.observed_at > FRESH_SECONDS:
        return None
    try:
        return _same(_ours(job.shown.metadata, job), job)
    except ChangedSinceRead:
        # Such a look may lag: the secret itself is asked.
        return None


def _provable(backend: Backend, job: Job) -> SecretMetadata:
    """Return the secret to overwrite: restored if necessary, owned, and unchanged since the plan."""
    if job.seen.presence is Presence.DELETED:
        return _restored(backend, job)
    if backend.update_checks_mark and len(job.marks) == 1:
        return replace(job.seen, mark=next(iter(job.marks)))
    now = _ours(backend.get_metadata(job.name), job)
    return _written_again(backend, now, job) or _as_planned(now, job)


def _restored(backend: Backend, job: Job) -> SecretMetadata:
    now = _ours(backend.get_metadata(job.name), job)
    if now.version != job.seen.version:
        return _written_again(backend, now, job) or _as_planned(now, job)
    if now.presence is Presence.DELETED:
        now = _ours(backend.restore(job.name), job)
    if now.presence is Presence.DELETED and now.version == job.seen.version:
        # Destroyed (Vault): it holds nothing to bring back, and nothing that could be lost.
        return now
    return _as_planned(now, job)


def _written_again(backend: Backend, now: SecretMetadata, job: Job) -> SecretMetadata | None:
    """Return what the plan saw, if an earlier attempt may have written over that: `update` finds out."""
    is_next = version_matches(now.version, backend.predict_version(job.seen.version, token=job.token))
    if not (job.repeated and is_next and now.presence is Presence.PRESENT):
        return None
    # A version that proves itself is found by `_as_planned`.
    ours = replace(job.seen, presence=Presence.PRESENT, mark=now.mark)
    return None if backend.predicted_version_is_unique else ours


def _remarked(backend: Backend, seen: SecretMetadata, job: Job) -> SecretMetadata:
    """Name Keeper's present secret in the mark, where another one had this name before."""
    if seen.mark != job.mark:
        backend.mark(seen, job.mark)
    return replace(seen, mark=job.mark)


def _delete(backend: Backend, job: Job) -> Done:
    now = backend.get_metadata(job.name)
    if now.presence in _GONE and job.repeated:
        _bring_back_changed(backend, now, job)
        return Done(seen=now)
    backend.delete(_same(_ours(now, job), job))
    return Done(seen=replace(now, presence=Presence.DELETED))


def _bring_back_changed(backend: Backend, now: SecretMetadata, job: Job) -> None:
    """Restore what an earlier attempt deleted without seeing that it had been changed just before.

    Raises ChangedSinceRead then. That somebody else deleted it cannot be told from that, and can be repeated.
    """
    if now.presence is not Presence.DELETED or now.version == job.seen.version:
        return
    # Another secret, with a version of the number that was deleted.
    is_another = _number_of(now.version) == _number_of(job.seen.version)
    if is_another or (not backend.deletes_one_version and _is_ours(now, job)):
        backend.restore(job.name)
        raise ChangedSinceRead("the secret was changed in the target while it was deleted: it was restored")


def _number_of(version: str) -> str:
    return version.partition(VERSION_SEPARATOR)[0]


def _release(backend: Backend, job: Job) -> Done:
    now = backend.get_metadata(job.name)
    if now.presence is Presence.PRESENT and now.mark is not None:
        backend.unmark(_ours(now, job))
    return Done(seen=replace(now, mark=None))


def _pull(backend: Backend, job: Job) -> Done:
    copy = _read(backend, job)
    return Done(seen=replace(copy.metadata, remote_id=job.seen.remote_id), copy=copy)


def _adopt(backend: Backend, job: Job) -> Done:
    now = backend.get_metadata(job.name)
    if job.adoption is AdoptMode.OVERWRITE and now.version == job.token:
        return Done(seen=now)
    if job.adoption is AdoptMode.OVERWRITE and job.repeated:
        _take_back(backend, job)
    if job.adoption is AdoptMode.OVERWRITE and job.repeated and now.mark == job.mark:
        # Marked by an earlier attempt, whose write may be there as well: `update` finds it.
        ours = replace(job.seen, mark=job.mark)
        return Done(seen=backend.update(ours, job.value, token=job.token, repeated=True))
    _same(now, job)
    taken = now.mark is not None and (
        now.mark.deployment != job.mark.deployment or now.mark.target in job.others
    )
    if taken:
        raise ChangedSinceRead("somebody else has marked the target's secret since: it is left alone")
    if job.adoption is not AdoptMode.OVERWRITE:
        # Marked once the value was compared or Keeper holds it: not here, where no key is.
        return Done(seen=now, copy=_read(backend, job))
    if now.mark == job.mark and _holds(backend, now, job):
        # Marked and written by an attempt that was given up.
        return Done(seen=now)
    backend.mark(now, job.mark)
    ours = replace(now, mark=job.mark)
    try:
        return Done(seen=backend.update(ours, job.value, token=job.token))
    except ChangedSinceRead:
        # It belongs to another writer: our mark must not block others.
        if now.mark is None:
            backend.unmark(ours)
        raise


def _read(backend: Backend, job: Job) -> SecretValue:
    copy = backend.read_value(job.name)
    if copy is None or copy.metadata.version != job.seen.version:
        raise ChangedSinceRead(_CHANGED)
    return copy


def _as_planned(now: SecretMetadata, job: Job) -> SecretMetadata:
    """Return the existing secret if it is owned and unchanged since the plan or an earlier attempt."""
    if _ours(now, job).presence is Presence.PRESENT and now.version == job.token:
        return now
    return _same(now, job)


def _same(now: SecretMetadata, job: Job) -> SecretMetadata:
    if now.presence is not Presence.PRESENT or now.version != job.seen.version:
        raise ChangedSinceRead(_CHANGED)
    if job.seen.remote_id and now.remote_id != job.seen.remote_id:
        raise ChangedSinceRead(_CHANGED)
    return now


def _ours(now: SecretMetadata, job: Job) -> SecretMetadata:
    if not _is_ours(now, job):
        raise ChangedSinceRead(_NOT_OURS if now.presence is Presence.PRESENT else _CHANGED)
    return now


def _is_ours(now: SecretMetadata, job: Job) -> bool:
    return now.mark in job.marks and job.seen.remote_id in {"", now.remote_id}


def _holds(backend: Backend, now: SecretMetadata, job: Job) -> bool:
    """Return whether the existing secret is what this job writes."""
    if now.version == job.token:
        return True
    copy = backend.read_value(job.name)
    if copy is None or copy.metadata.version != now.version:
        return False
    return hmac.compare_digest(copy.value.encode(), job.value.encode())


_ACTS: Final[Mapping[Act, Callable[[Backend, Job], Done]]] = {
    Act.CREATE: _create,
    Act.UPDATE: _update,
    Act.DELETE: _delete,
    Act.RELEASE: _release,
    Act.PULL: _pull,
    Act.ADOPT: _adopt,
}
