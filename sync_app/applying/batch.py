"""Works on up to a hundred items of a plan: check, commit the intent, open, act, note the outcome."""

import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cached_property, partial
from typing import Final, TypeGuard
from uuid import UUID

from django.db.models import F, Q

from audit_app.events.actions import Action
from audit_app.events.actors import NIL
from audit_app.recording.drafts import stream_and_object
from audit_app.recording.recorder import commit_record
from core.canonical_json import Json
from core.db.bulk import update_rows
from secrets_app.models import Secret
from sync_app.applying import item_actions, put_back
from sync_app.applying.item_actions import ItemJob, ItemResult
from sync_app.applying.pass_context import ApplyContext
from sync_app.applying.preconditions import (
    ItemContext,
    adopt_mode,
    is_pull,
    is_push,
)
from sync_app.applying.preflight import Preflight, planned_metadata, secret_uuids
from sync_app.backends.base import Backend
from sync_app.backends.observations import Observation
from sync_app.domain.reconciliation import Reason
from sync_app.errors import BackendError, CreateConflict, OutcomeUnknown
from sync_app.jobs.leases import fenced
from sync_app.jobs.worker_pool import LOOK_PAUSES, STOPPING, RunningBatch, WorkerPool, run_each
from sync_app.models import PlanItem, SyncEntry, Target
from sync_app.models.plan import Act, ItemState, PlanKind
from sync_app.models.target import Intent
from sync_app.planning import sync_entries
from sync_app.state.open_values import open_versions
from sync_app.state.ownership import mark_for, write_token
from sync_app.state.references import Unresolvable, substitute_references

# For fewer items than this a look at each costs no more.
_WORTH_A_LIST: Final = 4
_ITEM_COLUMNS: Final = ["state", "reason", "attempts", "error", "permanent", "finished_at"]
_LISTED: Final = 100
logger = logging.getLogger(__name__)
Task = tuple[ItemContext, ItemJob]


class Batch:
    """Some items of one phase of a plan. Values are held for as long as it is worked on.

    The steps are `prepare`, `dispatch`, `collect` and `commit`, so that the database has work while the
    target has: one batch may be prepared while another is under way.
    """

    def __init__(self, tools: ApplyContext, items: list[PlanItem]) -> None:
        self._tools = tools
        self._plan, self._target = tools.plan, tools.plan.target
        self._preflight = Preflight(tools, items)
        self._works, self._outcomes = self._preflight.works, self._preflight.outcomes
        self._repeated = self._preflight.repeated
        self._kept: set[str] = set()
        self._tasks: list[Task] = []
        self._started: RunningBatch[Task, ItemResult] | None = None
        self._answers: list[tuple[Task, ItemResult | BackendError]] = []

    def prepare(self) -> None:
        """Check the items, commit the intents, and open the values.

        The target is only looked at, and what an earlier attempt came over is put back.
        """
        ready = self._preflight.find_ready()
        self._commit_intents(ready)
        self._open_values(ready)
        self._record_pulls(ready)
        going = [work for work in ready if work.item.state == ItemState.INTENDED]
        shown = self._observe([work for work in going if self._is_first_overwrite(work)])
        self._keep_copies(going, shown)
        self._tasks = [(work, self._build_job(work, shown.get(work.item.name))) for work in going]

    def dispatch(self) -> None:
        self._started = self._tools.workers.start(self._execute, self._tasks)

    def collect(self) -> BackendError | None:
        """Wait for the answers; return the error for which the target is asked no more for now.

        That is one which concerns the target as a whole, or one that may pass if nothing else came.
        """
        if self._started is not None:
            self._answers = list(self._started.results(heartbeat=self._tools.heartbeat))
        passing: BackendError | None = None
        settled = False
        for (work, _), answer in self._answers:
            if isinstance(answer, STOPPING):
                return answer
            if _asks_no_more(answer) and not self._outcomes.is_final(work, answer):
                passing = answer
            else:
                settled = True
        return None if settled else passing

    def commit(self) -> None:
        """See that what was written is there, and store what became of every item."""
        overtaken = []
        for (work, job), answer in self._confirm_writes():
            # An error of the whole target is no result for one item: it stays intended.
            if not isinstance(answer, STOPPING):
                self._outcomes.record_answer(work, answer)
            if isinstance(answer, CreateConflict) and not work.existed_before:
                overtaken.append(job)
        self._save()
        # After `_save`, which a worker that was overtaken itself does not survive: the mark may be that of
        # the worker in its place. One that stays proves nothing, since no entry claims it.
        for job, released in run_each(partial(item_actions.release_mark, self._tools.backend), overtaken):
            if isinstance(released, BackendError):
                logger.warning("our mark stays on %s, which is not ours: %s", job.name, released)

    # --- Before -------------------------------------------------------------------------------

    def _keep_copies(self, going: list[ItemContext], shown: Mapping[str, Observation]) -> None:
        """Keep what the target would lose where a write came over what is not ours."""
        versions = {}
        for work in going:
            item = work.item
            seen = shown[item.name].metadata if item.name in shown else planned_metadata(item)
            is_first = item.act == Act.UPDATE and item.pk not in self._repeated
            if is_first and item.target_version and self._tools.backend.may_destroy_version(seen):
                versions[item.name] = item.target_version
        if versions:
            self._kept |= versions.keys()
            put_back.keep_copies(self._tools, versions)

    def _commit_intents(self, ready: list[ItemContext]) -> None:
        """Commit the intents, so a later worker knows that the writes may have happened."""
        ready = [work for work in ready if not work.awaited]
        for work in ready:
            # Made again: a stored one proves nothing, and that of the same write is the same.
            item = work.item
            work.item.token = write_token(
                self._target,
                place=item.remote_id or item.name,
                keeper_version=item.keeper_version,
                target_version=item.target_version,
            )
            work.item.state = ItemState.INTENDED
        with fenced(self._tools.lease):
            update_rows([work.item for work in ready], ["state", "token"])
            known, new = [], []
            for work in ready:
                if work.item.act == Act.UPDATE and work.entry is not None:
                    known.append(self._record_intent(work, work.entry))
                elif work.item.act == Act.CREATE:
                    entry = work.entry = work.entry or SyncEntry(target=self._target, name=work.item.name)
                    work.claimed_from = entry.claim(work.local.secret_uuid if work.local else None)
                    new.append(self._record_intent(work, entry))
            self._store(new)
            sync_entries.save_intents(known)

    def _record_intent(self, work: ItemContext, entry: SyncEntry) -> SyncEntry:
        """Return the entry of a secret that is about to be written, with the base that this would make."""
        item = work.item
        made = work.unanswered or self._preflight.predict(item)
        # Of a system that names no version beforehand: what an earlier pass noted of the same write stays.
        noted = entry.intended_target if not made and entry.intended_keeper == item.keeper_version else ""
        intent = Intent(item.keeper_version, made or noted, item.keeper_number)
        is_repeated = item.act == Act.UPDATE and item.pk in self._preflight.repeated
        if entry.intent != intent or is_repeated:
            work.earlier_intent = entry.intent
        entry.record_intent(intent)
        return entry

    def _open_values(self, ready: list[ItemContext]) -> None:
        wanted = {
            work.local.version_uuid: (work, work.local.resolution)
            for work in ready
            if work.local and work.local.version_uuid and is_push(work, self._plan) and not work.awaited
        }
        if not wanted:
            return
        names = {uuid: work.item.name for uuid, (work, _) in wanted.items()}
        sources: dict[UUID, Secret] = {}
        for _, resolution in wanted.values():
            sources |= resolution.versions() if resolution else {}
        opened = open_versions(
            actor=self._tools.actor,
            plan=self._plan,
            names=names,
            sources=sources,
            read=[work.local for work, _ in wanted.values() if work.local],
        )
        for uuid, (work, resolution) in wanted.items():
            if uuid not in opened.values:
                work.item.reason = Reason.KEEPER_UNREADABLE
                problem = opened.problems.get(uuid, "its version is gone from Keeper")
                ending = partial(self._outcomes.fail, work, problem, permanent=True)
                self._preflight.end_unexecuted(work, ending)
                continue
            try:
                own = opened.values[uuid]
                work.value = substitute_references(resolution, own, opened.values) if resolution else own
            except Unresolvable as error:
                self._preflight.end_unexecuted(work, partial(self._outcomes.refuse, work, str(error)))

    def _record_pulls(self, ready: list[ItemContext]) -> None:
        names: list[Json] = [work.item.name for work in ready if is_pull(work, self._plan)]
        if names:
            commit_record(
                actor=self._tools.actor,
                action=Action.SECRET_PULL,
                **stream_and_object(self._target),
                details={"plan": str(self._plan.uuid), "count": len(names), "names": names[:_LISTED]},
            )

    def _observe(self, works: list[ItemContext]) -> Mapping[str, Observation]:
        """Return the state of the secrets to overwrite, from the pass's own look or a few requests."""
        names = {work.item.name for work in works}
        found = {name: self._tools.observations[name] for name in names & self._tools.observations.keys()}
        found = {name: shown for name, shown in found.items() if item_actions.is_recent(shown)}
        others = names - found.keys()
        return (
            found
            if len(others) < _WORTH_A_LIST
            else found | item_actions.read_observations(self._tools.backend, others)
        )

    def _build_job(self, work: ItemContext, shown: Observation | None) -> ItemJob:
        item = work.item
        return ItemJob(
            act=Act(item.act),
            expected=planned_metadata(item),
            mark=mark_for(self._target, next(iter(secret_uuids(work)), NIL)),
            marks=self._preflight.expected_marks(work),
            token=item.token,
            repeated=item.pk in self._repeated,
            awaited=work.awaited,
            unanswered=work.unanswered,
            kept_value=self._preflight.kept_value(work),
            observation=shown,
            value=work.value,
            adoption=adopt_mode(self._plan),
            other_targets=self._other_targets,
        )

    @cached_property
    def _other_targets(self) -> frozenset[UUID]:
        """The other living targets, whose marks are respected."""
        if self._plan.kind != PlanKind.ADOPT:
            return frozenset()
        others = Target.objects.filter(live=True).exclude(pk=self._target.pk)
        return frozenset(others.values_list("uuid", flat=True))

    def _is_first_overwrite(self, work: ItemContext) -> bool:
        """Return whether an item writes over the very version that was synced last, for the first time."""
        item, entry = work.item, work.entry
        return (
            item.act == Act.UPDATE
            and item.pk not in self._repeated
            and entry is not None
            and bool(item.target_version)
            and (entry.remote_id, entry.base_target) == (item.remote_id, item.target_version)
        )

    # --- The act and after it -----------------------------------------------------------------

    def _execute(self, task: Task) -> ItemResult:
        """Do one act; called by several threads, which never touch the database."""
        self._tools.rate_limiter.wait()
        self._tools.require_lease()
        return item_actions.execute(self._tools.backend, task[1])

    def _confirm_writes(self) -> Iterator[tuple[Task, ItemResult | BackendError]]:
        """Yield the answers; unconfirmed writes are looked for, many with few requests.

        What a look does not show yet is looked for again after a pause.
        """
        unseen = [(task, answer) for task, answer in self._answers if _is_unconfirmed(answer)]
        yield from (pair for pair in self._answers if not _is_unconfirmed(pair[1]))
        for pause in (0.0, *LOOK_PAUSES):
            if not unseen:
                return
            time.sleep(pause)
            left: list[tuple[Task, OutcomeUnknown]] = []
            for task, answer in self._look_after(unseen):
                if isinstance(answer, OutcomeUnknown):
                    left.append((task, answer))
                else:
                    yield task, answer
            if any(_asks_no_more(answer) for _, answer in left):
                break
            again = {id(task[0]) for task, _ in left}
            unseen = [pair for pair in unseen if id(pair[0][0]) in again]
        yield from left

    def _look_after(
        self, unseen: list[tuple[Task, ItemResult | BackendError]]
    ) -> Iterator[tuple[Task, ItemResult | BackendError]]:
        shown = item_actions.read_observations(self._tools.backend, [job.name for (_, job), _ in unseen])
        confirm = partial(_confirm, self._tools.backend, shown)
        # Threads of its own: the crew has the next batch.
        with WorkerPool() as crew:
            for (task, _), answer in crew.start(confirm, unseen).results(heartbeat=self._tools.heartbeat):
                yield task, answer

    def _save(self) -> None:
        """Store what became of every item, if this worker still holds the run."""
        items = [work.item for work in self._works]
        ended = [item for item in items if item.finished_at]
        states = Counter(item.state for item in ended)
        progress = {
            "finished": F("finished") + len(ended),
            "failed": F("failed") + states[ItemState.FAILED],
            "skipped": F("skipped") + states[ItemState.SKIPPED],
        }
        with fenced(self._tools.lease, **progress, **({"attempts": 0} if ended else {})):
            update_rows(items, _ITEM_COLUMNS)
            self._store([work.entry for work in self._works if work.entry is not None])
            if kept := self._kept.union(self._preflight.copies):
                settled = [
                    work.item.name for work in self._works if not (work.entry and work.entry.intent.target)
                ]
                put_back.forget_copies(self._target, kept.intersection(settled))
            if due := self._preflight.due:
                Target.objects.filter(pk=self._target.pk, automatic=True).filter(
                    Q(due_at__isnull=True) | Q(due_at__gt=due)
                ).update(due_at=due)

    def _store(self, changed: list[SyncEntry]) -> None:
        sync_entries.insert_entries(self._target, [entry for entry in changed if entry._state.adding])
        sync_entries.save_entries([entry for entry in changed if not entry._state.adding])


def _asks_no_more(answer: object) -> TypeGuard[BackendError]:
    """Return whether the next request may meet the same error.

    After an answered write that is so for a limit, and for what concerns the target as a whole.
    """
    return isinstance(answer, BackendError) and (
        not isinstance(answer, OutcomeUnknown)
        or bool(answer.retry_after)
        or isinstance(answer.__cause__, STOPPING)
    )


def _is_unconfirmed(answer: ItemResult | BackendError) -> bool:
    return isinstance(answer, ItemResult) and not answer.is_confirmed


def _confirm(
    backend: Backend, shown: Mapping[str, Observation], pair: tuple[Task, ItemResult | BackendError]
) -> ItemResult:
    (_, job), answer = pair
    if isinstance(answer, BackendError):
        raise answer
    return item_actions.confirm_write(backend, job, answer, shown.get(job.name))
