"""A source in memory, and how tests start and apply a migration from it."""

from collections.abc import Callable, Iterator
from typing import Any

from environments_app.models import Environment
from environments_app.tests.cast import Cast
from sync_app.migration import service
from sync_app.migration.placing import How, Rule
from sync_app.migration.sources import registry
from sync_app.migration.sources.base import Found, FoundVersion, Source, Value
from sync_app.models import Migration, MigrationLine
from sync_app.tests.migration.driving import work

CANARY = "canary-5f2c9d"


class Memory(Source):
    """A source in memory, whose requests may be made to fail."""

    kind = "memory"
    label = "Memory"
    setting_fields = ()
    credential_fields = registry.SOURCES["vault"].credential_fields
    secrets: dict[str, list[str]] = {}
    before: Callable[[str], None] = staticmethod(lambda _path: None)

    @classmethod
    def endpoint(cls, settings: Any) -> str:
        return "https://memory.example"

    @classmethod
    def has_mounts(cls, settings: Any) -> bool:
        return True

    def places(self) -> list[str]:
        return ["mem"]

    def paths(self, place: str) -> Iterator[str]:
        yield from sorted(self.secrets)

    def find(self, place: str, path: str) -> Found:
        versions = [FoundVersion(number=number + 1) for number in range(len(self.secrets[path]))]
        return Found(path=path, versions=versions, current=len(versions))

    def open(self, place: str, path: str, version: FoundVersion) -> Value:
        type(self).before(path)
        return Value(self.secrets[path][version.number - 1])


def start(cast: Cast, *, who: Any = None, place: Environment | None = None) -> Migration:
    rule = Rule(place="mem", how=How.ALL, environments={"": str((place or cast.development).uuid)})
    return start_by(cast, rule, who=who)


def start_by(cast: Cast, *rules: Rule, who: Any = None) -> Migration:
    return service.start(
        actor=cast.principal(who or cast.erin),
        source="memory",
        settings={},
        credentials={"token": CANARY},
        rules=rules,
    )


def apply(cast: Cast, migration: Migration, *, who: Any = None, **given: Any) -> list[int]:
    return service.request_apply(
        actor=cast.principal(who or cast.erin), migration=migration, digest=migration.plan_digest, **given
    )


def states(migration: Migration) -> list[str]:
    return [
        *MigrationLine.objects.filter(migration=migration).order_by("path").values_list("state", flat=True)
    ]


def forget_lease(migration: Migration) -> None:
    Migration.objects.filter(pk=migration.pk).update(lease_until=None, due_at=None)


def protect(place: Environment) -> None:
    stored = Environment.objects.get(pk=place.pk)
    stored.protected = True
    stored.save()


def again(cast: Cast) -> Migration:
    migration = work(start(cast))
    apply(cast, migration)
    return work(migration)
