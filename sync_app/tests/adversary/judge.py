"""The judge: keeps a book of all values, and raises Violation for what must not happen.

1. No other client's last value is lost, unless Keeper holds it, or a rule of the target or a person allows it.
2. Nothing is silent: what differs at the end is shown by a state, an alert or a line of a plan.
3. Nothing is deleted that Keeper did not create as this target, nor more of it than the budget lets.
4. No value is stored in plain text, or logged.
5. Once the adversary rests, the passes come to an end, and what is called ours is ours.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from django.apps import apps

from environments_app.models import Alert
from secrets_app.keys import fingerprints
from secrets_app.models import Secret, SecretVersion
from sync_app.domain.delivery_state import DeliveryState as Standing
from sync_app.domain.reconciliation import Conflict, Deletion, Direction, Ownership
from sync_app.errors import OVERWROTE
from sync_app.models import Plan, PlanItem, Run, SyncEntry
from sync_app.models.plan import Act, ItemState, PlanKind
from sync_app.models.run import RunState
from sync_app.targets import alerts
from sync_app.tests.adversary.seam import Asked
from sync_app.tests.adversary.worlds import AdversaryWorld, State
from sync_app.tests.applying.stage import Stage

CANARY: Final = "canary-of-the-adversary"
_PATIENCE: Final = 3
NOT_RESTORED: Final = "could not be restored"
Place = tuple[bool, str]


class Violation(AssertionError):
    """Something that must not happen did."""


@dataclass
class Book:
    """Every value, who wrote it, and what was done so far."""

    log: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    _strangers: int = 0
    _own: int = 0

    def note(self, line: str) -> None:
        self.log.append(f"{len(self.log):4} {line}")

    def strangers(self) -> str:
        """Return a new value for the adversary to write."""
        self._strangers += 1
        return f"{CANARY} stranger's {self._strangers}"

    def own(self) -> str:
        """Return a new value for a user of Keeper."""
        self._own += 1
        return f"{CANARY} user's {self._own}"


@dataclass(frozen=True, kw_only=True)
class Debt:
    """What Keeper displaced and no rule lets it: it has to be back by the end of the run."""

    place: Place
    before: State
    by: str
    deletes: bool = False


class Judge:
    """Looks at each change that Keeper makes in a target, and at what is left after each run."""

    def __init__(self, stage: Stage, world: AdversaryWorld, book: Book) -> None:
        self._stage, self._world, self._book = stage, world, book
        # Secrets by place and incarnation, and versions that Keeper made.
        self._created: set[tuple[Place, str]] = set()
        self._adopted: set[tuple[Place, str]] = set()
        self._made: set[tuple[Place, str, str]] = set()
        # Secrets that a run found on neither side: Keeper has no claim to what comes there afterwards.
        self._let_go: set[tuple[Place, str]] = set()
        self._debts: dict[Place, Debt] = {}
        self._put_back: list[Debt] = []
        self._deletions: set[Place] = set()
        self._deleted = 0
        # The values of users, and the names that they left in Keeper.
        self.users_values: set[str] = set()
        self.living: set[str] = set()
        self.run: Run | None = None
        # Whether another system answered when this attempt at the run began, and has ever since.
        self.began_elsewhere = False
        self._seen: list[str] = []
        # What Keeper wrote in the other system, where the switch came in the middle of a pass: which system
        # answers is proved once a pass, and our entry names that secret until it is adopted again.
        self._strayed: set[str] = set()

    @property
    def plan(self) -> Plan | None:
        """The plan of the run under way, or of the last one."""
        return Plan.objects.filter(runs=self.run).first() if self.run is not None else None

    # --- During a run ----------------------------------------------------------------------------

    def stranger_acted(self, path: str, before: State, after: State) -> None:
        """Note that the adversary changed a path: what Keeper displaced there before counts no more."""
        place = (self._world.elsewhere, path)
        if (before.presence, before.incarnation, before.version) != (
            after.presence,
            after.incarnation,
            after.version,
        ):
            self._debts.pop(place, None)
            self._deletions.discard(place)

    def stranger_restored_all(self) -> None:
        """Note that the whole system is as it was some time ago."""
        self._debts.clear()
        self._deletions.clear()

    def keeper_changed(self, asked: Asked, before: State, after: State) -> None:
        """Note what a request of Keeper's made of a path."""
        place = (self._world.elsewhere, asked.path)
        if self._world.elsewhere:
            self._strayed.add(asked.path)
        if self.began_elsewhere and self._world.elsewhere:
            # Raised once the run has ended: an exception here would be a failure of the request.
            self._seen.append(
                f"written in another system, which never proved to be the target's: {asked.what}"
            )
        if after.version and after.version != before.version:
            self._made.add((place, after.incarnation, after.version))
            if before.presence == "absent":
                self._created.add((place, after.incarnation))
        owed = self._debts.get(place)
        if owed is not None and after.presence == "present" and after.value == owed.before.value:
            del self._debts[place]
            self._put_back.append(owed)
        if before.presence != "absent" and (after.presence, after.value) != (before.presence, before.value):
            self._displaced(place, asked, before, after)

    def _displaced(self, place: Place, asked: Asked, before: State, after: State) -> None:
        if before.presence == "deleted":
            if after.presence == "deleted" or before.version in after.versions:
                return
        elif after.presence != "present":
            self._withdrawn(place, asked, before)
            return
        is_own = (place, before.incarnation, before.version) in self._made
        if is_own and (not self._is_known(place, before) or self._is_marked(before)):
            # Its own write, which it takes back, or which the next one follows.
            return
        if self._may_write_over(place, before):
            return
        self._debts.setdefault(place, Debt(place=place, before=before, by=asked.what))

    def _withdrawn(self, place: Place, asked: Asked, before: State) -> None:
        is_own = (place, before.incarnation, before.version) in self._made
        if is_own and not self._is_known(place, before):
            # What Keeper wrote over another client's secret, where nothing could be put back.
            return
        item = self._item(place, before)
        if (
            # Or pulled, by a person's choice.
            (is_own or self._is_held(before.value))
            and self._is_marked(before)
            and (place, before.incarnation) in self._created
            and item is not None
            and item.act == Act.DELETE
        ):
            plan, target = self.plan, self._stage.target
            if plan is not None and plan.kind == PlanKind.DISCONNECT and plan.options["mode"] == "withdraw":
                return
            if target.deletion == Deletion.RECOVERABLE and target.direction != Direction.PULL:
                self._deletions.add(place)
                return
        self._debts.setdefault(place, Debt(place=place, before=before, by=asked.what, deletes=True))

    def _is_known(self, place: Place, state: State) -> bool:
        known = (place, state.incarnation)
        return known in self._created or known in self._adopted

    def _is_marked(self, state: State) -> bool:
        return state.marked_for == str(self._stage.target.uuid)

    def _item(self, place: Place, before: State) -> PlanItem | None:
        """Return the line of the plan that saw exactly this."""
        name = place[1].removeprefix(f"{self._world.prefix}/")
        item = PlanItem.objects.filter(plan=self.plan, name=name).first()
        if item is None or item.target_version != before.version:
            return None
        return item if item.remote_id in {"", before.incarnation} else None

    def _may_write_over(self, place: Place, before: State) -> bool:
        """Return whether a rule, or a person, lets Keeper write over what another client wrote there."""
        item, plan, target = self._item(place, before), self.plan, self._stage.target
        if item is None or plan is None or not self._is_marked(before):
            return False
        if plan.kind == "adopt":
            return item.act == Act.ADOPT and plan.options["mode"] == "replace"
        if not self._is_known(place, before) or item.act != Act.UPDATE:
            return False
        if "choice" in plan.options:
            return bool(plan.options["choice"] == "keep_ours")
        return target.conflict == Conflict.KEEPER_WINS and target.direction != Direction.PULL

    # --- After a run --------------------------------------------------------------------------

    def run_ended(self, run: Run) -> None:
        """Raise Violation for what a run left that it must not."""
        self._require(not self._seen, "; ".join(self._seen))
        for item in PlanItem.objects.filter(plan=run.plan, act=Act.ADOPT, state=ItemState.DONE):
            self._adopted.add(((self._world.elsewhere, self._world.path(item.name)), item.remote_id))
        self._deleted += len(self._deletions)
        self._deletions.clear()
        debts, self._debts = list(self._debts.values()), {}
        for debt in debts:
            self._settle(debt)
        put_back, self._put_back = self._put_back, []
        for debt in put_back:
            told = self._is_undone(debt) if debt.deletes else self._is_told(debt)
            self._require(told, f"put back, and nobody was told: {_shown(debt)}")
        self._require(
            self._deleted <= self._stage.target.budget_number,
            f"{self._deleted} deletions are more than the budget",
        )
        if run.state == RunState.FAILED:
            self._require(self._is_open(alerts.RUN_FAILED), "a run failed, and nobody was told")
        if run.state == RunState.DONE:
            self._judge_alerts()
            self._note_let_go()
        self._judge_keeper()

    def _note_let_go(self) -> None:
        here = set(
            Secret.objects.filter(environment=self._stage.environment, live=True).values_list(
                "name", flat=True
            )
        )
        for path in self._world.paths():
            there = self._world.state(path)
            if path.removeprefix(f"{self._world.prefix}/") not in here and there.presence != "present":
                self._let_go.add(((self._world.elsewhere, path), there.incarnation))

    def _settle(self, debt: Debt) -> None:
        elsewhere, path = debt.place
        if elsewhere != self._world.elsewhere:
            self._world.switch()
            try:
                self._settle(debt)
            finally:
                self._world.switch()
            return
        now = self._world.state(path)
        if now.presence == "present" and now.value == debt.before.value:
            return
        if debt.before.presence == "deleted" and debt.before.version in now.versions:
            return
        is_ours = self._is_known(debt.place, debt.before) and self._is_marked(debt.before)
        # Pulled, and changed since; or our mark went in the moment of the write.
        may_be = is_ours and now.presence == "present"
        if self._is_held(debt.before.value) and (may_be or self._is_told(debt)):
            return
        if self._is_held(debt.before.value) and self._world.marks_may_lag and now.presence == "present":
            self._book.counts["allowed: Keeper's value written over Keeper's, as the mark went"] += 1
            return
        if self._is_told(debt) and self._is_not_restored(debt):
            self._book.counts["allowed: lost in the milliseconds where one version is kept"] += 1
            return
        raise self._violation(f"somebody's last value is gone: {_shown(debt)}; now {now}")

    def _name(self, debt: Debt) -> str:
        return debt.place[1].removeprefix(f"{self._world.prefix}/")

    def _is_told(self, debt: Debt) -> bool:
        """Return whether the secret is failed for having been written over."""
        name = self._name(debt)
        entry = SyncEntry.objects.filter(target=self._stage.target, name=name).first()
        items = PlanItem.objects.filter(plan=self.plan, name=name, state=ItemState.FAILED)
        return (entry is not None and entry.reason.startswith(OVERWROTE)) or items.filter(
            error__startswith=OVERWROTE
        ).exists()

    def _is_undone(self, debt: Debt) -> bool:
        """Return whether the line of the plan does not claim to have deleted it."""
        items = PlanItem.objects.filter(plan=self.plan, name=self._name(debt))
        return not items.filter(state=ItemState.DONE).exists()

    def _is_not_restored(self, debt: Debt) -> bool:
        name = self._name(debt)
        reasons = SyncEntry.objects.filter(
            target=self._stage.target, name=name, reason__contains=NOT_RESTORED
        )
        return self._world.loses_in_the_milliseconds(debt.before) and reasons.exists()

    def _judge_alerts(self) -> None:
        rows = SyncEntry.objects.filter(target=self._stage.target).values_list("state", "undelivered")
        # What only waits is told once three passes in a row have not delivered it.
        stand = {
            state for state, passes in rows if state not in {"pending", "unknown"} or passes >= _PATIENCE
        }
        for state, kind in alerts.KINDS.items():
            self._require(
                self._is_open(kind) == (str(state) in stand),
                f"{state} is {stand}, and its alert says otherwise",
            )

    def _is_open(self, kind: str) -> bool:
        return Alert.objects.filter(about=self._stage.target.uuid, kind=kind, open=True).exists()

    def _judge_keeper(self) -> None:
        """Demand that no user's value went, and no secret that a user left in Keeper."""
        for value in self.users_values:
            self._require(self._is_held(value), f"Keeper lost {value}")
        here = Secret.objects.filter(environment=self._stage.environment, live=True)
        gone = self.living - set(here.values_list("name", flat=True))
        self._require(not gone, f"Keeper's secrets went by a sync: {gone}")

    def _is_held(self, value: str) -> bool:
        return SecretVersion.objects.filter(fingerprint=fingerprints.fingerprint(value.encode())).exists()

    # --- At the end ---------------------------------------------------------------------------

    def at_rest(self, plan: Plan) -> None:
        """Raise Violation where the states of secrets are wrong while the adversary rests."""
        names = {path.removeprefix(f"{self._world.prefix}/") for path in self._world.paths()}
        entries = {entry.name: entry for entry in SyncEntry.objects.filter(target=self._stage.target)}
        here = {
            secret.name: secret
            for secret in Secret.objects.filter(environment=self._stage.environment, live=True)
        }
        items = {item.name: item for item in PlanItem.objects.filter(plan=plan)}
        for name in sorted(names | entries.keys() | here.keys()):
            self._judge_name(name, here.get(name), entries.get(name), items.get(name))

    def _judge_name(
        self, name: str, secret: Secret | None, entry: SyncEntry | None, item: PlanItem | None
    ) -> None:
        there = self._world.state(self._world.path(name))
        place = (self._world.elsewhere, self._world.path(name))
        told = (
            f"{name}: entry {entry and (entry.state, entry.reason, entry.ownership)}, "
            f"line {item and (item.act, item.reason)}, Keeper {'has it' if secret else 'has it not'}, there {there}"
        )
        differs = self._differs(secret, there)
        said = entry.state if entry is not None else None
        if differs:
            self._require(said != Standing.IN_SYNC, f"said to be in sync over different values: {told}")
            self._require(item is not None or said is not None, f"different, and nothing says so: {told}")
            was_ours = (self._is_known(place, there) and (place, there.incarnation) not in self._let_go) or (
                entry is not None and entry.ownership != Ownership.NONE
            )
            if was_ours and secret is not None and self._stage.target.direction == Direction.PUSH:
                self._require(said != Standing.UNMANAGED, f"it was ours, and is silently unmanaged: {told}")
        if entry is None or self._stage.target.direction != Direction.PUSH or there.presence != "present":
            return
        proven = self._is_marked(there) and self._is_known(place, there)
        if entry.ownership != Ownership.NONE and said == Standing.IN_SYNC:
            self._require(proven, f"called ours, and is not: {told}")
        if said == Standing.OWNERSHIP_LOST and proven and place[1] not in self._strayed:
            mine = {str(entry.secret_uuid), str(secret.uuid) if secret else ""}
            self._require(there.mark.get("keeper-secret") not in mine, f"called lost, and is ours: {told}")

    def _differs(self, secret: Secret | None, there: State) -> bool:
        if secret is None or there.presence != "present":
            return (secret is None) == (there.presence == "present")
        version = secret.versions.get(number=secret.current_number)
        return not fingerprints.matches(there.value.encode(), bytes(version.fingerprint))

    def judge_secrecy(self, logged: Iterable[str]) -> None:
        """Demand that no value is in a row of the database or in a line of the log."""
        for model in apps.get_models():
            for row in model._base_manager.values():
                self._require(not _holds_value(row), f"a value stands in a row of {model.__name__}")
        for line in logged:
            self._require(CANARY not in line, "a value stands in the log")

    # --- How ----------------------------------------------------------------------------------

    def _require(self, holds: bool, message: str) -> None:
        if not holds:
            raise self._violation(message)

    def _violation(self, message: str) -> Violation:
        return Violation(message)


def _holds_value(row: dict[str, Any]) -> bool:
    def known(value: Any) -> bool:
        return (
            CANARY.encode() in bytes(value) if isinstance(value, bytes | memoryview) else CANARY in str(value)
        )

    return any(known(value) for value in row.values())


def _shown(debt: Debt) -> str:
    return f"{debt.place[1]}, {debt.before.value!r} ({debt.before}), by {debt.by}"
