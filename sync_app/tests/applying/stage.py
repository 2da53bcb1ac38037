"""A target in a system, and what tests do with it in a few words."""

from typing import Any, Final
from uuid import uuid4

from django.db.models import BigIntegerField

from core.db.prepared import Argument, PreparedQuery
from environments_app.authorization.policy import Principal
from environments_app.models import Environment
from environments_app.tests.cast import Cast
from secrets_app.models import Secret
from secrets_app.services import lifecycle, write
from secrets_app.services.read import reveal
from secrets_app.types.registry import SecretType
from sync_app.applying import service as applying
from sync_app.models import Plan, PlanItem, Run, SyncEntry, Target
from sync_app.planning import service as planning
from sync_app.runs import runner as runs_runner
from sync_app.targets import service as targets
from sync_app.tests.worlds import World

_TARGET: Final = PreparedQuery(
    lambda: Target.objects.select_related("environment").filter(pk=Argument(0, BigIntegerField())).order_by()
)


def target_in(world: World, environment: Environment, *, actor: Principal, **fields: Any) -> Target:
    """Create a target in a world's system."""
    return targets.create(
        actor=actor,
        environment=environment,
        name=fields.pop("name", f"target-{uuid4().hex[:8]}"),
        backend=world.kind,
        destination=world.destination,
        credentials=world.credentials,
        **fields,
    )


class Stage:
    """The cast, a system, and one target in it."""

    def __init__(self, cast: Cast, world: World, **rules: Any) -> None:
        self.cast, self.world = cast, world
        self.environment = cast.development
        self.target = target_in(world, self.environment, actor=self.alice, **rules)

    @property
    def alice(self) -> Principal:
        """The manager of the environment."""
        return self.cast.principal(self.cast.alice)

    def rules(self, **rules: Any) -> None:
        """Change the target's rules."""
        for name, value in rules.items():
            setattr(self.target, name, value)
        self.target.save()

    def keep(self, name: str, value: str) -> Secret:
        """Create or change a secret in Keeper."""
        secret, _ = write.put(
            actor=self.alice,
            environment=self.environment,
            name=name,
            value=value,
            secret_type=SecretType.TEXT,
        )
        return secret

    def drop(self, name: str) -> None:
        """Delete a secret in Keeper."""
        lifecycle.delete(actor=self.alice, secret=self.secret(name))

    def secret(self, name: str) -> Secret:
        """Return a living secret."""
        return Secret.objects.select_related("environment").get(
            environment=self.environment, name=name, live=True
        )

    def value(self, name: str) -> str:
        """Reveal a secret in Keeper."""
        return reveal(actor=self.alice, secret=self.secret(name)).value

    def path(self, name: str) -> str:
        """Return where the target keeps a name."""
        return f"{self.world.prefix}/{name}"

    def theirs(self, name: str) -> str:
        """Read a value in the target as an application does."""
        return self.world.value(self.path(name))

    def edit(self, name: str, value: str) -> None:
        """Write in the target as another client does."""
        self.world.write(self.path(name), value)

    def plan(self, **options: Any) -> Plan:
        """Make a plan now."""
        run = planning.request_plan(actor=self.alice, target=self.fresh(), **options)
        return self._executed(run)

    def apply(self, plan: Plan) -> Plan:
        """Carry out a plan now."""
        return self._executed(applying.request_apply(actor=self.alice, plan=plan))

    def sync(self, *, rest: bool = False) -> Plan:
        """Plan and carry out now; `rest` lets the time between two versions pass first."""
        if rest:
            self.world_rest()
        return self._executed(runs_runner.request_sync(actor=self.alice, target=self.fresh()))

    def world_rest(self) -> None:
        """Let the time pass that a system asks for between two versions of a secret."""
        SyncEntry.objects.filter(target=self.target).update(synced_at=None)

    def fresh(self) -> Target:
        """Return the target as it is stored."""
        stored = _TARGET.first(self.target.pk)
        assert stored
        return stored

    def _executed(self, run: Run) -> Plan:
        done = runs_runner.execute(run.pk)
        assert done is not None
        # What a test leaves alone on purpose is told by the run as nothing delivered.
        assert done.state == "done" or done.error.startswith(applying.NOTHING_DELIVERED), (
            done.state,
            done.error,
        )
        assert done.plan is not None
        return done.plan

    def items(self, plan: Plan) -> dict[str, tuple[str, str]]:
        """Return act and state of each item."""
        rows = PlanItem.objects.filter(plan=plan).values_list("name", "act", "state")
        return {name: (act, state) for name, act, state in rows}

    def entry(self, name: str) -> SyncEntry:
        """Return the entry of a name."""
        return SyncEntry.objects.get(target=self.target, name=name)
