"""One episode: a target, its users, the adversary who acts before any request of Keeper, and the judge."""

from contextlib import suppress
from datetime import timedelta
from random import Random
from typing import Any, Final

import pytest

from environments_app.tests.cast import Cast
from secrets_app.errors import SecretError
from secrets_app.models import Secret
from secrets_app.services import lifecycle
from sync_app.applying import item_actions
from sync_app.applying import service as applying
from sync_app.jobs.leases import database_now
from sync_app.jobs.queue import enqueue
from sync_app.models import Plan, PlanItem, Run, SyncEntry, Target
from sync_app.models.plan import Act, PlanKind, PlanState
from sync_app.models.run import RunKind, RunState, Trigger
from sync_app.planning import service as planning
from sync_app.planning.draft_items import ConflictChoice, DisconnectMode
from sync_app.runs import runner, schedule
from sync_app.tests.adversary.combinations import Combination, rules
from sync_app.tests.adversary.judge import Book, Judge, Violation
from sync_app.tests.adversary.seam import Asked, Killed, one_at_a_time
from sync_app.tests.adversary.worlds import AdversaryWorld
from sync_app.tests.applying.stage import Stage

NAMES: Final = ["app/one", "app/two", "app/three", "app/four", "app/five", "alone"]
THEIRS: Final = ["app/theirs", "stranger"]
BUDGET: Final = 2
ENDED: Final = {RunState.DONE, RunState.FAILED, RunState.CANCELLED}
# Attempts at one run, which ends long before.
_ATTEMPTS: Final = 40
_QUIET: Final = 8
# So many targets are disconnected at the end.
_LEAVES: Final = 0.3
_DIVERTING: Final = (Act.CONFLICT, Act.DRIFTED, Act.MISSING)


class Episode:
    """Plays by a seed; the same one plays the same again."""

    def __init__(
        self,
        *,
        cast: Cast,
        world: AdversaryWorld,
        combination: Combination,
        random: Random,
        book: Book,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        self._world, self._combination, self._random, self._book = world, combination, random, book
        self._armed = False
        self._acts = self._faults = 0
        one_at_a_time(monkeypatch)
        monkeypatch.setattr(applying, "BATCH", random.choice([2, 3, 100]))
        # A look at many counts for ever, or is never trusted.
        monkeypatch.setattr(item_actions, "FRESH_SECONDS", random.choice([3600.0, 3600.0, 0.0]))
        world.install(monkeypatch, self._interpose)
        chosen = {name: value for name, value in combination.items() if name in rules()}
        self.stage = Stage(
            cast,
            world.world,
            **chosen,
            budget_number=BUDGET,
            budget_percent=100,
            automatic=combination["automatic"] == "yes",
        )
        self.judge = Judge(self.stage, world, book)

    def play(self, rounds: int) -> None:
        """Play so many rounds, and let all come to rest. Raises Violation."""
        self._begin()
        for _ in range(rounds):
            for _ in range(self._random.randint(1, 3)):
                self._user_acts()
            for _ in range(self._random.randint(0, 2)):
                self._stranger_acts(self._any_path())
            self._pass()
        self._rest()
        if self._random.random() < _LEAVES:
            self._leave()

    def _begin(self) -> None:
        for name in THEIRS:
            self._world.world.write(self._world.path(name), self._book.strangers())
        for name in NAMES[:4]:
            self._keep(name)
        self._run(self._requested())

    # --- Keeper -------------------------------------------------------------------------------

    def _pass(self) -> None:
        """Have Keeper do something while others act."""
        self._acts, self._faults = self._random.randint(1, 4), self._random.randint(0, 2)
        kinds = [self._sync, self._plan_and_apply, self._adopt, self._resolve, self._check]
        kind = self._random.choices(kinds, [10, 4, 3, 3, 2])[0]
        SyncEntry.objects.filter(target=self.stage.target).update(synced_at=None, pending_at=None)
        if self._random.random() < 0.1:
            self._switch()
        kind()
        if self._world.elsewhere:
            self._switch()

    def _sync(self) -> None:
        self._attacked(self._requested())

    def _requested(self) -> Run:
        """Ask for a pass, as the schedule does or as a person."""
        if self._combination["automatic"] == "no":
            return runner.request_sync(actor=self.stage.alice, target=self.stage.fresh())
        # No wait after a failure.
        Target.objects.filter(pk=self.stage.target.pk).update(
            due_at=database_now() - timedelta(seconds=1), failures=0
        )
        (run,) = Run.objects.filter(pk__in=schedule.queue_due(), target=self.stage.target)
        return run

    def _plan_and_apply(self) -> None:
        planned = self._attacked(planning.request_plan(actor=self.stage.alice, target=self.stage.fresh()))
        self._stranger_acts(self._any_path())
        self._apply(planned.plan)

    def _apply(self, plan: Plan | None) -> None:
        made = Plan.objects.get(pk=plan.pk) if plan else None
        if made is not None and made.state == PlanState.READY:
            self._attacked(applying.request_apply(actor=self.stage.alice, plan=made))

    def _adopt(self) -> None:
        names = self._random.sample([*NAMES, *THEIRS], 2)
        run = planning.request_plan(
            actor=self.stage.alice,
            target=self.stage.fresh(),
            kind=PlanKind.ADOPT,
            options={"names": [*names], "mode": self._combination["adoption"]},
        )
        self._book.note(f"a person adopts {names}")
        self._apply(self._attacked(run).plan)

    def _leave(self) -> None:
        """Disconnect the target while the adversary acts."""
        mode = self._random.choice(list(DisconnectMode))
        self._book.note(f"a person disconnects: {mode}")
        self._acts, self._faults = self._random.randint(1, 6), self._random.randint(0, 2)
        run = planning.request_plan(
            actor=self.stage.alice,
            target=self.stage.fresh(),
            kind=PlanKind.DISCONNECT,
            options={"mode": mode},
        )
        self._apply(self._attacked(run).plan)

    def _resolve(self) -> None:
        planned = self._run(planning.request_plan(actor=self.stage.alice, target=self.stage.fresh()))
        items = list(PlanItem.objects.filter(plan=planned.plan, act__in=_DIVERTING).order_by("name"))
        if not items:
            self._apply(planned.plan)
            return
        item, choice = self._random.choice(items), self._random.choice(list(ConflictChoice))
        self._book.note(f"a person chooses {choice} for {item.name}")
        self._attacked(applying.request_resolution(actor=self.stage.alice, item=item, choice=choice))

    def _check(self) -> None:
        run = enqueue(
            actor=self.stage.alice, target=self.stage.fresh(), kind=RunKind.CHECK, trigger=Trigger.PERSON
        )
        self._attacked(run)

    def _attacked(self, run: Run) -> Run:
        self._armed = True
        try:
            return self._run(run)
        finally:
            self._armed = False

    def _run(self, run: Run) -> Run:
        """Carry a run out and on until it ended, and have it judged."""
        self._book.counts["passes"] += 1
        self.judge.run = run
        self._book.note(f"{run.kind} begins")
        for _ in range(_ATTEMPTS):
            Run.objects.filter(pk=run.pk).update(not_before=None, lease_until=None)
            self.judge.began_elsewhere = self._world.elsewhere
            with suppress(Killed):
                runner.execute(run.pk)
            run = Run.objects.select_related("plan", "target").get(pk=run.pk)
            if run.state in ENDED:
                break
        else:
            raise Violation(f"a run never ends: {run.error}")
        self._note_run(run)
        self.judge.run_ended(run)
        return run

    def _note_run(self, run: Run) -> None:
        self._book.note(f"{run.kind} {run.state} {run.error} {run.plan.counts if run.plan else ''}")
        for item in PlanItem.objects.filter(plan=run.plan) if run.plan else []:
            self._book.note(f"    {item.act} {item.name}: {item.state} {item.error or item.reason}")

    # --- Users of Keeper ----------------------------------------------------------------------

    def _user_acts(self) -> None:
        act = self._random.choices([self._change, self._drop, self._restore, self._rename], [12, 3, 2, 1])[0]
        # Such as a name that is in use.
        with suppress(SecretError):
            act()

    def _change(self) -> None:
        self._keep(self._random.choice(NAMES))

    def _keep(self, name: str) -> None:
        value = self._book.own()
        self._book.note(f"a user keeps {name}: {value}")
        self.stage.keep(name, value)
        self.judge.users_values.add(value)
        self.judge.living.add(name)

    def _drop(self) -> None:
        if not self.judge.living:
            return
        name = self._random.choice(sorted(self.judge.living))
        self._book.note(f"a user deletes {name}")
        self.stage.drop(name)
        self.judge.living.remove(name)

    def _restore(self) -> None:
        deleted = Secret.objects.select_related("environment").filter(
            environment=self.stage.environment, live=None
        )
        secret = deleted.order_by("name", "pk").first()
        if secret is not None:
            self._book.note(f"a user restores {secret.name}")
            lifecycle.restore(actor=self.stage.alice, secret=secret)
            self.judge.living.add(secret.name)

    def _rename(self) -> None:
        if not self.judge.living:
            return
        before, after = self._random.choice(sorted(self.judge.living)), self._random.choice(NAMES)
        self._book.note(f"a user renames {before} to {after}")
        lifecycle.rename(actor=self.stage.alice, secret=self.stage.secret(before), name=after)
        self.judge.living.remove(before)
        self.judge.living.add(after)

    # --- The adversary ------------------------------------------------------------------------

    def _any_path(self) -> str:
        return self._world.path(self._random.choice([*NAMES, *NAMES, *THEIRS]))

    def _stranger_acts(self, path: str) -> None:
        acts = self._world.acts()
        act = self._random.choices(acts, [each.weight for each in acts])[0]
        before = self._world.state(path)
        act.do(path)
        after = self._world.state(path)
        self._book.counts["foreign acts"] += 1
        self._book.counts[f"act: {act.name}"] += 1
        self._book.note(f"a stranger: {act.name}, {path.removeprefix(self._world.prefix)}: {after}")
        if act.of_all:
            self.judge.stranger_restored_all()
        else:
            self.judge.stranger_acted(path, before, after)

    def _switch(self) -> None:
        self._world.switch()
        self.judge.began_elsewhere = False
        self._book.note(f"another system answers: {self._world.elsewhere}")
        self._book.counts["switches"] += 1

    def _interpose(self, asked: Asked) -> Any:
        if self._armed:
            self._act_before(asked)
        fault = self._fault(asked) if self._armed else ""
        self._book.note(f"{'  !' if fault else '  '} {asked.what} {fault}")
        if fault in {"404", "403", "500"}:
            return self._world.refused(asked, int(fault))
        if fault == "killed before":
            raise Killed
        answer = self._sent(asked)
        if fault == "lost":
            raise self._world.lost()
        if fault == "killed after":
            raise Killed
        if fault in {"empty", "half"}:
            return self._world.cut(answer, 0.5 if fault == "half" else 0.0)
        return answer

    def _sent(self, asked: Asked) -> Any:
        if not asked.changes:
            return asked.send()
        before = self._world.state(asked.path)
        try:
            return asked.send()
        finally:
            self.judge.keeper_changed(asked, before, self._world.state(asked.path))

    def _act_before(self, asked: Asked) -> None:
        """Perhaps act now, most often on what Keeper is about to change."""
        if not self._acts or self._random.random() > (0.4 if asked.changes else 0.2):
            return
        self._acts -= 1
        what = self._random.random()
        if what < 0.06:
            self._switch()
        elif what < 0.2:
            self._user_acts()
        else:
            near = asked.path and self._random.random() < 0.75
            self._stranger_acts(asked.path if near else self._any_path())

    def _fault(self, asked: Asked) -> str:
        """Return how a request fails, if it does."""
        if not self._faults or self._random.random() > (0.2 if asked.changes or asked.lists else 0.07):
            return ""
        self._faults -= 1
        self._book.counts["faults"] += 1
        kinds = ["404", "403", "500", "lost", "killed before", "killed after"]
        return self._random.choice([*kinds, *(["empty", "half"] * 3 if asked.lists else [])])

    # --- Rest ---------------------------------------------------------------------------------

    def _rest(self) -> None:
        """Let Keeper's passes come to an end while the adversary rests."""
        self._book.note("rest")
        for _ in range(_QUIET):
            SyncEntry.objects.filter(target=self.stage.target).update(synced_at=None, pending_at=None)
            run = self._run(self._requested())
            if run.state != RunState.DONE:
                raise Violation(f"a pass of which nobody hinders fails: {run.error}")
            if not PlanItem.objects.filter(plan=run.plan, act__in=planning.ACTING).exists():
                break
        else:
            raise Violation("the passes never come to an end")
        assert run.plan is not None
        self.judge.at_rest(run.plan)
