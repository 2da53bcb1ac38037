"""What is done to one secret of a target, each idempotent: proved, written, confirmed. Network only.

A repeated act (its intent was committed before, its outcome is not known) finds its own work done.
"""

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Final
from uuid import UUID

from sync_app.backends.base import Backend, Overwrites
from sync_app.backends.observations import (
    VERSION_SEPARATOR,
    Mark,
    Observation,
    SecretMetadata,
    SecretValue,
    version_matches,
)
from sync_app.domain.reconciliation import Presence
from sync_app.errors import BackendError, ChangedSinceRead, OutcomeUnknown
from sync_app.models.plan import Act
from sync_app.planning.draft_items import AdoptMode

_CHANGED: Final = "the target's secret changed since the plan was made: plan again"
_NOT_OURS: Final = "the target's secret does not carry our mark any more: it is left alone"
# A system that takes longer to be written to is asked again about each secret.
FRESH_SECONDS: Final = 5.0
_GONE: Final = frozenset({Presence.ABSENT, Presence.DELETED})
_UNSEEN: Final = "it was written, and the target does not show it yet: Keeper looks again"
_CONTRADICTION: Final = "the target refused the write and shows nothing new: Keeper looks again"


@dataclass(frozen=True, kw_only=True, slots=True)
class ItemJob:
    """One act with all that it takes; `expected` is what the plan saw, `marks` those that prove it ours."""

    act: Act
    expected: SecretMetadata
    mark: Mark
    marks: frozenset[Mark]
    token: str
    repeated: bool = False
    # What an answered write made, of which only the look is missing: nothing is written again.
    awaited: str = ""
    # What a write made that was not answered, if it took place: else it is made again.
    unanswered: str = ""
    value: str = field(default="", repr=False)
    # What the version to be written over held, where an earlier attempt kept it.
    kept_value: str | None = field(default=None, repr=False)
    adoption: AdoptMode | None = None
    # What a look at many together showed just before; only a first write over the base has one.
    observation: "Observation | None" = None
    # Other living targets, whose marks are respected.
    other_targets: frozenset[UUID] = frozenset()

    @property
    def name(self) -> str:
        return self.expected.name


@dataclass(frozen=True, kw_only=True, slots=True)
class ItemResult:
    """The secret after an act, and the value if it was fetched."""

    metadata: SecretMetadata
    remote_value: SecretValue | None = None
    # Whether its existence was verified; else the system has only reported the write.
    is_confirmed: bool = True


def is_recent(shown: Observation) -> bool:
    """Return whether what was shown will still count when its turn comes, if that is soon."""
    return time.monotonic() - shown.observed_at < FRESH_SECONDS / 2


def read_observations(backend: Backend, names: Collection[str]) -> dict[str, Observation]:
    """Read many secrets with few requests; those missing from the result are read separately."""
    at = time.monotonic()
    try:
        metadata_by_name = backend.batch_get_metadata(names)
    except BackendError:
        return {}
    return {name: Observation(metadata=seen, observed_at=at) for name, seen in metadata_by_name.items()}


def confirm_write(backend: Backend, job: ItemJob, done: ItemResult, after: Observation | None) -> ItemResult:
    """Verify that the reported write exists, and replaced the intended version.

    Raises OutcomeUnknown if the look fails or is older than the write, ChangedSinceRead if another version
    came in between, and Overwritten if it replaced something else.
    """
    now = after.metadata if after is not None else None
    # Our own marking after the write may have made another version of it.
    made = backend.settled(done.metadata).version
    try:
        if now is None or not _is_confirmed_by(backend, now, job, done):
            now = backend.get_metadata(job.name)
    except BackendError as error:
        raise OutcomeUnknown(
            f"it was written, and the look after it failed: {error}",
            made=made,
            retry_after=getattr(error, "retry_after", 0.0),
        ) from error
    if _is_confirmed_by(backend, now, job, done):
        seen = replace(done.metadata, version=now.version, remote_id=now.remote_id)
        return replace(done, metadata=seen, is_confirmed=True)
    if _is_before(backend, now, job, made):
        raise OutcomeUnknown(_UNSEEN, made=made)
    if now.previous_version and backend.is_write_of(replace(now, version=now.previous_version), made):
        # It was there, and another client has changed it since: the next pass decides about that.
        return replace(done, metadata=replace(done.metadata, remote_id=now.remote_id), is_confirmed=True)
    if isinstance(backend, Overwrites):
        backend.revert_write(replace(job.expected, mark=job.mark), made)
    changed = ChangedSinceRead("another version came after it: plan again")
    # It came over the right one: where its value is what the target holds, it is ours.
    changed.made = made
    raise changed


def _is_confirmed_by(backend: Backend, now: SecretMetadata, job: ItemJob, done: ItemResult) -> bool:
    """Return whether the existing secret is the written one, over the version that the plan saw."""
    return (
        backend.is_write_of(now, backend.settled(done.metadata).version)
        # By time alone it may be the version that was written over.
        and not (job.awaited and now.version == job.expected.version)
        and done.metadata.remote_id in {"", now.remote_id}
        and (not now.previous_version or version_matches(now.previous_version, job.expected.version))
    )


def _is_before(backend: Backend, now: SecretMetadata, job: ItemJob, made: str) -> bool:
    """Return whether a look is from before the write of a version: it shows what that came over, or older."""
    return (now.version == job.expected.version != "") or backend.is_older(now, made)


def execute(backend: Backend, job: ItemJob) -> ItemResult:
    """Do one act. Raises a BackendError; ChangedSinceRead where the target's side moved."""
    if job.awaited:
        made = replace(job.expected, presence=Presence.PRESENT, version=job.awaited, mark=job.mark)
        return ItemResult(metadata=made, is_confirmed=False)
    return _find_unanswered(backend, job) or _ACTIONS[job.act](backend, job)


def _find_unanswered(backend: Backend, job: ItemJob) -> ItemResult | None:
    """Return what an earlier attempt without an answer made, if it is there."""
    if not job.unanswered:
        return None
    now = backend.get_metadata(job.name)
    if now.version == job.expected.version or not backend.is_write_of(now, job.unanswered):
        return None
    proved = not backend.capabilities.reads_values or _has_written_value(backend, now, job)
    if not proved:
        return None
    if job.act is Act.UPDATE:
        # It may have come over what is not ours.
        _revert_earlier_attempt(backend, job)
    return ItemResult(metadata=replace(now, mark=job.mark))


def _create(backend: Backend, job: ItemJob) -> ItemResult:
    try:
        confirms = backend.capabilities.confirms_create
        made = backend.create(job.name, job.value, mark=job.mark, token=job.token, known=not confirms)
        return ItemResult(metadata=made, is_confirmed=confirms)
    except ChangedSinceRead:
        # An earlier attempt, whose answer was lost, may have made it.
        now = backend.get_metadata(job.name)
        if now.mark == job.mark and _has_written_value(backend, now, job):
            return ItemResult(metadata=now)
        if now.presence is Presence.ABSENT:
            # What was refused because something is there, and is not there, was looked at too early.
            raise OutcomeUnknown(_CONTRADICTION) from None
        raise


def release_mark(backend: Backend, job: ItemJob) -> None:
    """Remove our mark from a name that another writer created first. Raises a BackendError."""
    now = backend.get_metadata(job.name)
    if now.mark == job.mark:
        backend.unmark(now)


def revert_unconfirmed_write(
    backend: Backend,
    seen: SecretMetadata,
    *,
    makes: str,
    marks: Collection[Mark],
    wrote: Callable[[str], bool],
    kept: str | None,
) -> None:
    """Restore what an earlier write over `seen` replaced, if it was not ours (see `Overwrites`)."""
    if not isinstance(backend, Overwrites) or not marks:
        return
    now = backend.get_metadata(seen.name)
    if now.version == seen.version:
        return
    mark = now.mark if now.mark in marks else next(iter(marks))
    backend.revert_unconfirmed_write(replace(seen, mark=mark), makes=makes, wrote=wrote, kept=kept)


def _revert_earlier_attempt(backend: Backend, job: ItemJob) -> None:
    def wrote(value: str) -> bool:
        return backend.values_equal(job.value, value)

    makes = backend.predict_version(job.expected.version, token=job.token)
    revert_unconfirmed_write(
        backend, job.expected, makes=makes, marks=job.marks, wrote=wrote, kept=job.kept_value
    )


def _update(backend: Backend, job: ItemJob) -> ItemResult:
    if job.repeated:
        # Whatever is found out below, an earlier attempt may have come over what is not ours.
        _revert_earlier_attempt(backend, job)
    observed = _use_observation(backend, job)
    if observed is not None:
        after = _update_seen(backend, observed, job, known=True)
        return ItemResult(metadata=_update_mark(backend, after, job), is_confirmed=False)
    seen = _require_writable(backend, job)
    if seen.version == job.token:
        return ItemResult(metadata=_update_mark(backend, seen, job))
    if not job.repeated:
        return ItemResult(metadata=_update_mark(backend, _update_seen(backend, seen, job), job))
    try:
        after = backend.update(seen, job.value, token=job.token, repeated=True)
    except ChangedSinceRead:
        # A worker that was believed dead may have written it just now; the second look finds it.
        _revert_earlier_attempt(backend, job)
        after = _update_seen(backend, seen, job, repeated=True)
    return ItemResult(metadata=_update_mark(backend, after, job))


def _update_seen(backend: Backend, seen: SecretMetadata, job: ItemJob, **how: bool) -> SecretMetadata:
    """Write over what was seen.

    Raises OutcomeUnknown if that is refused, and still shows as it was: either the refusal, or the look, is
    of a node that lags.
    """
    try:
        return backend.update(seen, job.value, token=job.token, **how)
    except ChangedSinceRead:
        now = backend.get_metadata(job.name)
        expected = job.expected
        if (now.presence, now.version, now.mark) == (expected.presence, expected.version, seen.mark):
            raise OutcomeUnknown(_CONTRADICTION) from None
        raise


def _use_observation(backend: Backend, job: ItemJob) -> SecretMetadata | None:
    """Return the secret to overwrite if a recent bulk look shows it owned and unchanged since the plan."""
    if job.observation is None or time.monotonic() - job.observation.observed_at > FRESH_SECONDS:
        return None
    try:
        return _require_unchanged(_require_owned(backend, job.observation.metadata, job), job)
    except ChangedSinceRead:
        # Such a look may lag: the secret itself is asked.
        return None


def _require_writable(backend: Backend, job: ItemJob) -> SecretMetadata:
    """Return the secret to overwrite: restored if necessary, owned, and unchanged since the plan."""
    if job.expected.presence is Presence.DELETED:
        return _restore_deleted(backend, job)
    if backend.capabilities.update_checks_mark and len(job.marks) == 1:
        return replace(job.expected, mark=next(iter(job.marks)))
    now = _require_owned(backend, backend.get_metadata(job.name), job)
    return _find_earlier_attempt(backend, now, job) or _require_as_planned(backend, now, job)


def _restore_deleted(backend: Backend, job: ItemJob) -> SecretMetadata:
    now = _require_owned(backend, backend.get_metadata(job.name), job)
    if now.version != job.expected.version:
        return _find_earlier_attempt(backend, now, job) or _require_as_planned(backend, now, job)
    if now.presence is Presence.DELETED:
        now = _require_owned(backend, backend.restore(job.name), job)
    if now.presence is Presence.DELETED and now.version == job.expected.version:
        # Destroyed (Vault): it holds nothing to bring back, and nothing that could be lost.
        return now
    return _require_as_planned(backend, now, job)


def _find_earlier_attempt(backend: Backend, now: SecretMetadata, job: ItemJob) -> SecretMetadata | None:
    """Return what the plan saw, if an earlier attempt may have written over that: `update` finds out."""
    is_next = version_matches(now.version, backend.predict_version(job.expected.version, token=job.token))
    if not (job.repeated and is_next and now.presence is Presence.PRESENT):
        return None
    # A version that proves itself is found by `_require_as_planned`.
    ours = replace(job.expected, presence=Presence.PRESENT, mark=now.mark)
    return None if backend.capabilities.predicted_version_is_unique else ours


def _update_mark(backend: Backend, seen: SecretMetadata, job: ItemJob) -> SecretMetadata:
    """Name Keeper's present secret in the mark, where another one had this name before."""
    if seen.mark != job.mark:
        backend.mark(seen, job.mark)
    return replace(seen, mark=job.mark)


def _delete(backend: Backend, job: ItemJob) -> ItemResult:
    now = backend.get_metadata(job.name)
    if now.presence in _GONE and job.repeated:
        _restore_if_changed(backend, now, job)
        return ItemResult(metadata=now)
    backend.delete(_require_unchanged(_require_owned(backend, now, job), job))
    return ItemResult(metadata=replace(now, presence=Presence.DELETED))


def _restore_if_changed(backend: Backend, now: SecretMetadata, job: ItemJob) -> None:
    """Restore what an earlier attempt deleted without seeing that it had been changed just before.

    Raises ChangedSinceRead then. A deletion by another client looks the same, and can be repeated.
    """
    if now.presence is not Presence.DELETED or now.version == job.expected.version:
        return
    # Another secret, with a version of the number that was deleted.
    is_another = _version_number(now.version) == _version_number(job.expected.version)
    if is_another or (not backend.capabilities.deletes_one_version and _is_owned(backend, now, job)):
        backend.restore(job.name)
        raise ChangedSinceRead("the secret was changed in the target while it was deleted: it was restored")


def _version_number(version: str) -> str:
    return version.partition(VERSION_SEPARATOR)[0]


def _release(backend: Backend, job: ItemJob) -> ItemResult:
    now = backend.get_metadata(job.name)
    if now.presence is Presence.PRESENT and now.mark is not None:
        backend.unmark(_require_owned(backend, now, job))
    return ItemResult(metadata=replace(now, mark=None))


def _pull(backend: Backend, job: ItemJob) -> ItemResult:
    copy = _read_planned(backend, job)
    return ItemResult(metadata=replace(copy.metadata, remote_id=job.expected.remote_id), remote_value=copy)


def _adopt(backend: Backend, job: ItemJob) -> ItemResult:
    now = backend.get_metadata(job.name)
    if job.adoption is AdoptMode.OVERWRITE and now.version == job.token and _is_taken_over(now, job):
        return ItemResult(metadata=now)
    if job.adoption is AdoptMode.OVERWRITE and job.repeated:
        _revert_earlier_attempt(backend, job)
    if job.adoption is AdoptMode.OVERWRITE and job.repeated and now.mark == job.mark:
        # Marked by an earlier attempt, whose write may be there as well: `update` finds it.
        ours = replace(job.expected, mark=job.mark)
        return ItemResult(metadata=backend.update(ours, job.value, token=job.token, repeated=True))
    _require_unchanged(now, job)
    has_other_owner = now.mark is not None and (
        now.mark.deployment != job.mark.deployment or now.mark.target in job.other_targets
    )
    if has_other_owner:
        raise ChangedSinceRead("another client has marked the target's secret since: it is left alone")
    if job.adoption is not AdoptMode.OVERWRITE:
        # Marked once the value was compared or Keeper holds it: not here, where no key is.
        return ItemResult(metadata=now, remote_value=_read_planned(backend, job))
    if now.mark == job.mark and _has_written_value(backend, now, job):
        # Marked and written by an attempt that was given up.
        return ItemResult(metadata=now)
    backend.mark(now, job.mark)
    ours = replace(now, mark=job.mark)
    try:
        return ItemResult(metadata=backend.update(ours, job.value, token=job.token))
    except ChangedSinceRead:
        # It belongs to another writer: our mark must not block others.
        if now.mark is None:
            backend.unmark(ours)
        raise


def _is_taken_over(now: SecretMetadata, job: ItemJob) -> bool:
    """Return whether it is the planned secret with our mark: one of another identity may have any version."""
    is_same = job.expected.remote_id in {"", now.remote_id} and now.presence is Presence.PRESENT
    return is_same and now.mark == job.mark


def _read_planned(backend: Backend, job: ItemJob) -> SecretValue:
    copy = backend.read_value(job.name)
    if copy is None or copy.metadata.version != job.expected.version:
        raise ChangedSinceRead(_CHANGED)
    return copy


def _require_as_planned(backend: Backend, now: SecretMetadata, job: ItemJob) -> SecretMetadata:
    """Return the existing secret if it is owned and unchanged since the plan or an earlier attempt."""
    if _require_owned(backend, now, job).presence is Presence.PRESENT and now.version == job.token:
        return now
    return _require_unchanged(now, job)


def _require_unchanged(now: SecretMetadata, job: ItemJob) -> SecretMetadata:
    if now.presence is not Presence.PRESENT or now.version != job.expected.version:
        raise ChangedSinceRead(_CHANGED)
    if job.expected.remote_id and now.remote_id != job.expected.remote_id:
        raise ChangedSinceRead(_CHANGED)
    return now


def _require_owned(backend: Backend, now: SecretMetadata, job: ItemJob) -> SecretMetadata:
    if not _is_owned(backend, now, job):
        raise ChangedSinceRead(_NOT_OURS if now.presence is Presence.PRESENT else _CHANGED)
    return now


def _is_owned(backend: Backend, now: SecretMetadata, job: ItemJob) -> bool:
    if not backend.capabilities.keeps_marks:
        # Our entry proves it, as checked before: the secret has to be the very one that it notes.
        return bool(job.marks) and job.expected.remote_id == now.remote_id != ""
    return now.mark in job.marks and job.expected.remote_id in {"", now.remote_id}


def _has_written_value(backend: Backend, now: SecretMetadata, job: ItemJob) -> bool:
    if now.version == job.token:
        return True
    copy = backend.read_value(job.name)
    if copy is None or copy.metadata.version != now.version:
        return False
    return backend.values_equal(job.value, copy.value)


_ACTIONS: Final[Mapping[Act, Callable[[Backend, ItemJob], ItemResult]]] = {
    Act.CREATE: _create,
    Act.UPDATE: _update,
    Act.DELETE: _delete,
    Act.RELEASE: _release,
    Act.PULL: _pull,
    Act.ADOPT: _adopt,
}
