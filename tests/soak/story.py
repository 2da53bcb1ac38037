"""One soak from its start to its judgement."""

import random
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.measuring.processes import memory_mb
from tests.servers.openbao import OpenBao
from tests.soak.keeper import VICTIMS, Keeper, NotAnswered
from tests.soak.uses import NAMES, Uses

# Reads may pause for as long as the web server takes to start again: the supervisor's pause before it
# (1 s after the first death), the fork, and the first connection, on a machine that does other work.
GAP_SECONDS: Final = 60.0
# Until a worker that was killed is replaced, and what it had begun is claimed by the next one.
SETTLE_SECONDS: Final = 300.0
# Caches of bounded size are full, templates and statements compiled.
WARM_SHARE: Final = 1 / 3
# From that many samples on, the growth of a minute is judged: over two hours it would be 36 MB.
SAMPLES: Final = 30
GROWTH_MB: Final = 0.3
LARGEST: Final = 1.5


@dataclass
class Soak:
    """How long, how often something is killed, and what was seen. `say` gets a line of progress at a time."""

    seconds: float
    kill_every: float
    seed: int
    say: Callable[[str], None]
    pace: float = 1.0
    report_every: float = 60.0
    # What is run as `keeper`.
    module: str = "keeper_project.runtime.cli"
    kills: Counter[str] = field(default_factory=Counter)
    sizes: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def run(self, directory: Path, schema: Path | None = None) -> list[str]:
        """Soak a new Keeper, and return what should not have been, if anything."""
        openbao, keeper = OpenBao(directory), Keeper(directory, self.module, schema)
        try:
            for server in (openbao, keeper):
                server.start()
            for server in (openbao, keeper):
                server.wait()
            self._soak(keeper, openbao)
        finally:
            keeper.stop()
            openbao.stop()
        return self.problems

    def _soak(self, keeper: Keeper, openbao: OpenBao) -> None:
        uses = Uses(keeper, f"http://127.0.0.1:{openbao.port}", openbao.token, self.seed)
        uses.prepare()
        processes = {kind: len(found) for kind, found in keeper.processes().items()}
        self.say(f"seed {self.seed}, {self.seconds:.0f} s, a kill every {self.kill_every:.0f} s, {processes}")
        uses.start(self.pace)
        self._kill_and_watch(keeper, uses)
        settled = self._settle(keeper, processes)
        self._let_each_use_succeed(uses)
        uses.stop()
        self._judge_reads(uses)
        if settled:
            self._judge_what_is_kept(keeper, uses)
        self._judge_size()
        self._judge_end(keeper)

    def _kill_and_watch(self, keeper: Keeper, uses: Uses) -> None:
        draw, began = random.Random(self.seed), time.monotonic()
        next_kill, next_report = self.kill_every, self.report_every
        while (passed := time.monotonic() - began) < self.seconds:
            if passed >= next_kill:
                next_kill += self.kill_every
                self._kill(keeper, draw.choice(VICTIMS), passed)
            if passed >= next_report:
                next_report += self.report_every
                self.sizes.append(memory_mb(keeper.pid or 0))
                self.say(self._progress(passed, uses))
            time.sleep(0.2)

    def _kill(self, keeper: Keeper, victim: str, passed: float) -> None:
        if keeper.kill_one(victim):
            self.kills[victim] += 1
            self.say(f"{passed / 60:6.1f} min: killed the {victim}")
        else:
            self.problems.append(f"after {passed:.0f} s there was no {victim} to kill")

    def _progress(self, passed: float, uses: Uses) -> str:
        done = " ".join(f"{kind}={count}" for kind, count in sorted(uses.done.items()))
        return (
            f"{passed / 60:6.1f} min: {done} unanswered={uses.unanswered.total()} "
            f"longest gap of reads={uses.longest_gap:.1f} s memory={self.sizes[-1]:.0f} MB "
            f"wrong={len(uses.faults)}"
        )

    def _settle(self, keeper: Keeper, processes: dict[str, int]) -> bool:
        """Wait until it is as it was at the start, and say whether it is."""
        deadline, now = time.monotonic() + SETTLE_SECONDS, {}
        while keeper.runs and time.monotonic() < deadline:
            now = {kind: len(found) for kind, found in keeper.processes().items()}
            if keeper.is_ready() and now == processes:
                return True
            time.sleep(1)
        self.problems.append(f"after the last kill it did not become what it was: {now}")
        return False

    def _let_each_use_succeed(self, uses: Uses) -> None:
        """Wait for uses that a kill held up, as a rotation waits for a lease, and for the target."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while not all(uses.done[use] for use in _USES) and time.monotonic() < deadline:
            time.sleep(0.5)

    def _judge_reads(self, uses: Uses) -> None:
        uses.note_gap()
        self.say(f"longest gap of reads: {uses.longest_gap:.1f} s; unanswered: {dict(uses.unanswered)}")
        if uses.longest_gap > GAP_SECONDS:
            self.problems.append(f"no read was answered for {uses.longest_gap:.1f} s")
        self.problems += [f"{use} never succeeded" for use in _USES if not uses.done[use]]
        self.problems += uses.faults

    def _judge_what_is_kept(self, keeper: Keeper, uses: Uses) -> None:
        """Compare what was acknowledged with what is there, in Keeper, in its trail and in the target."""
        try:
            # A pass of its own: the last one may have planned before the last write.
            uses.apply_all(SETTLE_SECONDS)
            for name in NAMES:
                number, written = uses.number_of(name), uses.written[name]
                if not written.acknowledged <= number <= written.begun:
                    self.problems.append(f"{name} holds {number}; {written.acknowledged} was acknowledged")
                if uses.at_target(name) != uses.value_of(name):
                    self.problems.append(f"{name} was not delivered")
            if uses.version_of_rotated() < uses.rotated_to:
                self.problems.append(f"a rotation to version {uses.rotated_to} is gone")
        except (NotAnswered, AssertionError) as error:
            self.problems.append(f"while it was read back: {error!r}")
        self.say(f"trail: {keeper.run('verify-audit').strip().splitlines()[-1]}")

    def _judge_size(self) -> None:
        kept = self.sizes[int(len(self.sizes) * WARM_SHARE) :]
        if not kept:
            return
        usual, slope = statistics.median(kept), growth(kept) * 60 / self.report_every
        self.say(f"memory: {usual:.0f} MB usually, {max(kept):.0f} at most, {slope:+.2f} MB a minute")
        if len(kept) >= SAMPLES and slope > GROWTH_MB:
            self.problems.append(f"memory grows by {slope:.2f} MB a minute")
        if max(kept) > LARGEST * usual:
            self.problems.append(f"memory was {max(kept):.0f} MB, and usually {usual:.0f}")

    def _judge_end(self, keeper: Keeper) -> None:
        if keeper.pid and (code := keeper.end()):
            self.problems.append(f"it ended with exit code {code}")
        for log in keeper.logs():
            text = log.read_text(errors="replace")
            if count := text.count("Traceback (most recent call last)"):
                first = text[text.index("Traceback (most recent call last)") :][:1500]
                self.problems.append(f"{count} tracebacks in {log.name}, the first: {first}")
        self.say(f"killed: {dict(self.kills)}")


_USES: Final = ("read", "write", "list_some", "plan", "apply", "rotate", "sign_in")


def growth(sizes: Sequence[float]) -> float:
    """Return by how much the sizes grow from one to the next: the median of all pairs (Theil-Sen)."""
    pairs = [
        (later - earlier) / (to - since)
        for since, earlier in enumerate(sizes)
        for to, later in enumerate(sizes)
        if to > since
    ]
    return statistics.median(pairs) if pairs else 0.0
