"""Random faults of wire and system: each of Keeper's secrets is delivered, or Keeper says that it is not.

Another client's secret never changes. Short in the suite, long by `make torture`; a failure prints its seed.
"""

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any, Final

import pytest
from celery import current_app
from pytest_django import Settings

from core.network.outbound import Reply
from environments_app.tests.cast import Cast
from sync_app.applying import batch
from sync_app.applying import service as applying
from sync_app.domain.delivery_state import DeliveryState
from sync_app.models import PlanItem, Run, SyncEntry
from sync_app.models.plan import PlanKind
from sync_app.runs import runner
from sync_app.tests.adversary.seam import one_at_a_time
from sync_app.tests.applying.stage import Stage
from sync_app.tests.faults.wire import Asked, Lost, Wire
from sync_app.tests.systems import WORLDS
from sync_app.tests.worlds import World

pytestmark = pytest.mark.django_db

NAMES: Final = ["one", "two", "app/three", "app/four"]
# So many times the names, and the faults of a pass, where thousands of faults are played.
BROAD: Final = 6
THEIRS: Final = "theirs"
FAULTS: Final = 60
LONG: Final = 2000
ENDED: Final = {"done", "failed", "cancelled"}
# Attempts at one run, and passes without faults until everything has to be delivered.
ATTEMPTS: Final = 40
QUIET: Final = 8
SYSTEMS: Final = [world.fixture for world in WORLDS if world.plays_faults]


@dataclass
class Faults:
    """Chooses what goes wrong with each request, so many times; `stale` allows looks at what was there before."""

    random: Random
    world: World
    left: int = 0
    stale: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    # What each look and list showed, and after how many writes; requests that arrive later than they were given up.
    shown: dict[str, list[tuple[int, Reply]]] = field(default_factory=dict)
    late: list[Callable[[], Reply]] = field(default_factory=list)
    arrived: bool = False
    limited: int = 0
    hidden: int = 0
    writes: int = 0

    def answer(self, asked: Asked) -> Reply:
        """Answer a request, or lose it; what was given up before may arrive just then."""
        while self.late and self.random.random() < 0.5:
            self.late.pop()()
            self.arrived = True
        fault = self._choose(asked)
        if fault:
            self.left -= 1
            self.counts[fault] += 1
        return self._played(fault, asked)

    def rest(self) -> None:
        """Let what was given up never arrive, and the next requests be answered."""
        self.left = self.limited = self.hidden = 0
        self.shown.clear()
        self.late.clear()

    def _choose(self, asked: Asked) -> str:
        if self.limited or (self.hidden and asked.kind in {"write", "delete"}):
            return ""
        if (
            not self.left
            or asked.kind == "other"
            or self.random.random() > (0.5 if asked.kind == "write" else 0.25)
        ):
            return ""
        kinds = ["lost before", "failed before", "limited"]
        if asked.kind in {"write", "delete"}:
            kinds += ["lost after", "failed after", "lost after", "hidden"]
        # Where no write shows, none that arrives after Keeper gave it up does (named in docs/sync.md).
        if asked.kind == "write" and self.world.shows_writes and (self.stale or self.world.shows_each_write):
            kinds += ["late"]
        if asked.kind in {"look", "list"} and self.stale and self._before(asked):
            kinds += ["stale"] * 4
        return self.random.choice(kinds)

    def _played(self, fault: str, asked: Asked) -> Reply:
        if fault == "limited":
            self.limited = self.random.randint(1, 6)
        if fault == "hidden":
            self.hidden = self.random.randint(1, 6)
        if self.limited:
            self.limited -= 1
            return self.world.limited(self.random)
        if self.hidden and asked.kind in {"write", "delete"}:
            self.hidden -= 1
            return self.world.refused(self.random)
        if fault == "stale":
            return self._before(asked)[-1]
        if fault == "lost before":
            raise Lost
        if fault == "failed before":
            return self.world.failed()
        if fault == "late":
            self.late.append(partial(self._carried_out, asked))
            raise Lost
        answer = self._carried_out(asked)
        if fault == "lost after":
            raise Lost
        return self.world.failed() if fault == "failed after" else answer

    def _carried_out(self, asked: Asked) -> Reply:
        if asked.kind in {"write", "delete"}:
            self.writes += 1
            return asked.carry_out()
        answer = asked.carry_out()
        if asked.kind in {"look", "list"}:
            self.shown.setdefault(asked.what, []).append((self.writes, answer))
        return answer

    def _before(self, asked: Asked) -> list[Reply]:
        """Return what the same request was answered with before the last writes."""
        return [answer for at, answer in self.shown.get(asked.what, []) if at < self.writes][-2:]


class Play:
    """Keeper and a system with faults between them; `values` are Keeper's, `foreign` what another client left."""

    def __init__(self, cast: Cast, world: World, wire: Wire, seed: int, *, breadth: int = 1) -> None:
        self.random, self.world, self.wire, self.breadth = Random(seed), world, wire, breadth
        self.names = NAMES + [f"{name}-{number}" for number in range(1, breadth) for name in NAMES]
        self.stage = Stage(cast, world)
        self.faults = Faults(self.random, world)
        wire.rule = self.faults.answer
        self.values: dict[str, str] = {}
        self.edited: set[str] = set()
        self.edits: dict[str, str] = {}
        # What the system holds, as it was found since the last pass.
        self.found: dict[str, str | None] = {}
        self.number = 0
        self.is_done = True
        self.foreign = self._fresh("their")
        world.write(self.stage.path(THEIRS), self.foreign)

    def play(self, faults: int) -> None:
        """Play until so many faults happened."""
        for name in self.names:
            self._keep(name)
        self.run()
        self.judge()
        rounds = 0
        while self.faults.counts.total() < faults:
            rounds += 1
            assert rounds <= 20 + 5 * faults, (
                "too few requests are counted: are the world's `item_folders` right?"
            )
            for _ in range(self.random.randint(1, 3 * self.breadth)):
                self._keep(self.random.choice(self.names))
            self.faults.stale = not self.world.shows_each_write
            if self.random.random() < 0.2:
                # Systems without compare-and-set cannot hold a stale look against another client's write.
                self.faults.stale = False
                self._edit(self.random.choice(self.names))
            self.faults.left = self.random.randint(1, 5 * self.breadth)
            self.run()
            self.judge()
            self.faults.late.clear()
            if self.random.random() < 0.5:
                self.settle()
        self.settle()

    def settle(self) -> None:
        """Let the faults rest: everything is delivered that no other client has written to."""
        self.faults.rest()
        for _ in range(QUIET):
            self.run()
            if all(self.delivered(name) for name in self.values):
                break
            self.judge()
        if self.faults.arrived and not self.world.keeps_marks:
            # A write that arrives after Keeper gave it up looks like another client's: a person is asked.
            self.edited |= {name for name in self.values if not self.delivered(name)}
        self.faults.arrived = False
        for name in self.values.keys() - self.edited:
            assert self.delivered(name), f"{name} is never delivered: {self.explained(name)}"
        self._adopt()
        self.judge()

    def _adopt(self) -> None:
        """Have a person settle what another client wrote to: Keeper's value is chosen by writing it there."""
        for name in sorted(self.edited):
            entry = SyncEntry.objects.get(target=self.stage.target, name=name)
            assert self.held(name) == self.values[name] or entry.state != DeliveryState.IN_SYNC
        for name in sorted(self.edited):
            if not self.delivered(name):
                self._choose_ours(name)
        self.edited, self.edits = set(), {}

    def _choose_ours(self, name: str) -> None:
        self.found.clear()
        if self.told(name) == DeliveryState.OWNERSHIP_LOST:
            options = {"names": [name], "mode": "replace"}
            self.stage.apply(self.stage.plan(kind=PlanKind.ADOPT, options=options))
            assert self.delivered(name), self.explained(name)
            return
        plan = self.stage.plan()
        item = PlanItem.objects.filter(
            plan=plan, name=name, act__in=["conflict", "drifted", "missing"]
        ).first()
        assert item, f"{name} is not delivered, and no plan offers a choice: {self.explained(name)}"
        run = applying.request_resolution(actor=self.stage.alice, item=item, choice="keep_ours")
        runner.execute(run.pk)
        assert self.delivered(name), self.explained(name)

    def run(self) -> None:
        """Carry out a pass, with the attempts that it takes."""
        self.found.clear()
        self.wire.log.append(f"--- a pass, {self.faults.left} faults")
        SyncEntry.objects.filter(target=self.stage.target).update(synced_at=None, pending_at=None)
        self.world.wait(60)
        run = runner.request_sync(actor=self.stage.alice, target=self.stage.fresh())
        for _ in range(ATTEMPTS):
            Run.objects.filter(pk=run.pk).update(not_before=None, lease_until=None)
            runner.execute(run.pk)
            run = Run.objects.get(pk=run.pk)
            if run.state in ENDED:
                break
        self.is_done = run.state == "done"
        self.wire.log.append(f"--- {run.state} {run.error}")
        self.wire.log += [f"    {each.name}: {self.explained(each.name)}" for each in SyncEntry.objects.all()]

    def judge(self) -> None:
        """Raise AssertionError for a secret that is not delivered and said to be, and for a foreign change."""
        for name, value in self.values.items():
            # A run that failed says so itself, with its alert: it may not have come to look at each secret.
            if self.is_done and self.held(name) != value:
                assert self.told(name) != DeliveryState.IN_SYNC, (
                    f"{name} is not delivered, and said to be in sync"
                )
        assert self.held(THEIRS) == self.foreign, "another client's secret changed"
        for name in self.edited & self.edits.keys():
            assert self.held(name) == self.edits[name], f"another client's value of {name} was overwritten"

    def delivered(self, name: str) -> bool:
        return self.held(name) == self.values[name] and self.told(name) == DeliveryState.IN_SYNC

    def told(self, name: str) -> str:
        entry = SyncEntry.objects.filter(target=self.stage.target, name=name).first()
        return entry.state if entry else "no entry"

    def explained(self, name: str) -> str:
        entry = SyncEntry.objects.get(target=self.stage.target, name=name)
        return f"{entry.state}, {entry.reason} (base {entry.base_target}, intended {entry.intended_target})"

    def held(self, name: str) -> str | None:
        if name not in self.found:
            self.found[name] = self._looked_up(name)
        return self.found[name]

    def _looked_up(self, name: str) -> str | None:
        if self.world.labels_or_none(self.stage.path(name)) is None:
            return None
        return self.world.value(self.stage.path(name))

    def _keep(self, name: str) -> None:
        self.values[name] = self._fresh("keeper's")
        self.wire.log.append(f"a user keeps {name}: {self.values[name]}")
        self.stage.keep(name, self.values[name])

    def _edit(self, name: str) -> None:
        self.edits[name] = self._fresh("their")
        self.edited.add(name)
        self.wire.log.append(f"another client writes {name}: {self.edits[name]}")
        self.world.overwrite(self.stage.path(name), self.edits[name])
        self.found.clear()
        # Passes are minutes apart: no look is as old as that.
        self.faults.shown.clear()

    def _fresh(self, whose: str) -> str:
        self.number += 1
        return f"{whose} value number {self.number}"


@pytest.fixture(autouse=True)
def _in_step(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.KEEPER_EMBEDDED_WORKER = False
    monkeypatch.setattr(current_app, "send_task", lambda *_, **__: None)
    one_at_a_time(monkeypatch)
    monkeypatch.setattr(batch, "LOOK_PAUSES", (0.0, 0.0), raising=False)


@pytest.mark.parametrize("world", SYSTEMS, indirect=True)
def test_nothing_is_undelivered_in_silence(cast: Cast, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    play(cast, world, monkeypatch, faults=FAULTS, seed=int(os.environ.get("FAULTS_SEED") or 1))


@pytest.mark.torture
@pytest.mark.parametrize("world", SYSTEMS, indirect=True)
def test_nothing_is_undelivered_in_silence_for_long(
    cast: Cast, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults, given = int(os.environ.get("FAULTS") or LONG), os.environ.get("FAULTS_SEED")
    seed = int(given) if given else Random().randrange(10**9)
    play(cast, world, monkeypatch, faults=faults, seed=seed, breadth=BROAD)


def play(cast: Cast, world: World, monkeypatch: pytest.MonkeyPatch, **how: Any) -> None:
    wire = Wire(world.item_folders)
    wire.install(monkeypatch)
    made = Play(cast, world, wire, how["seed"], breadth=how.get("breadth", 1))
    try:
        made.play(how["faults"])
    except AssertionError as error:
        error.add_note(
            "\n".join(
                [
                    f"FAULTS_SEED={how['seed']}, {made.faults.counts}",
                    *wire.log[-(int(os.environ.get("FAULTS_LOG") or 120)) :],
                ]
            )
        )
        raise
