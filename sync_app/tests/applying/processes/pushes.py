"""A push of secrets to a system that holds somebody else's too, by processes beside the test's own."""

import os
import random
from pathlib import Path
from typing import Any

from sync_app.backends.aws.tests.world import AwsWorld
from sync_app.tests.worlds import World
from tests.processes import Process

FOREIGN = ("app/theirs", "foreign/secret")
# Before this many statements and requests no worker gets through a push of 60 secrets.
POINTS = 150
LEASE_SECONDS = 60


def installation(directory: Path, database: str) -> dict[str, str]:
    """Return the variables of the processes: all is in one directory, and nothing outside is asked."""
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "keeper_project.settings",
        "DATABASE_URL": database,
        "KEEPER_DATA_DIR": str(directory),
        "KEEPER_TLS": "false",
        "KEEPER_OUTBOUND_ALLOWED": "127.0.0.0/8",
        "REDIS_URL": "",
        "CELERY_BROKER_URL": "",
    }


class Fleet:
    """A process that starts workers, and one target with secrets of somebody else beside ours."""

    module = "sync_app.tests.applying.processes.fleet"

    def __init__(self, environment: dict[str, str], world: World, *, secrets: int, seed: int) -> None:
        self._process = Process(self.module, environment)
        self._random = random.Random(seed)
        self.world = world
        names = [f"app/{number:03}" for number in range(secrets)]
        self.old, self.new = names[: secrets // 2], names[secrets // 2 :]
        self.kills = 0

    def start(self) -> None:
        """Write what is somebody else's, and push the first half."""
        for name in FOREIGN:
            self.world.write(self.path(name), f"theirs: {name}")
        self._process.ask("prepare")
        self.target = self._process.ask(
            "target",
            # No check for drift falls due by the clock, in the middle of what is tested.
            interval_seconds=0,
            name="killed",
            backend=self.world.kind,
            destination=self.world.destination,
            credentials=self.world.credentials,
        )["target"]
        self._process.ask("keep", values={name: f"first {name}" for name in self.old})
        self.serve()
        assert self.push()["plan"] == {"create": len(self.old), "unmanaged": len(FOREIGN)}

    def serve(self) -> None:
        """Start whoever works without being asked: nobody here."""

    def change(self) -> dict[str, str]:
        """Change the first half in Keeper, and add the second."""
        values = {name: f"second {name}" for name in self.old + self.new}
        self._process.ask("keep", values=values)
        return values

    def push(self, *, kills: int = 0, lease_seconds: float = LEASE_SECONDS) -> dict[str, Any]:
        """Push with two or three workers at a time until it is done; up to so many rounds are killed."""
        run = self._process.ask("request", target=self.target)["run"]
        for number in range(kills + 20):
            death = self._random.randint(1, POINTS) if number < kills else 0
            workers = self._random.choice([2, 3])
            done = self._process.ask("work", run=run, deaths=[death] * workers, lease_seconds=lease_seconds)
            assert not done["failed"]
            self.kills += done["killed"]
            if done["state"] in {"done", "failed"}:
                break
        return self._process.ask("look", run=run)

    def path(self, name: str) -> str:
        return f"{self.world.prefix}/{name}"

    def versions(self, name: str) -> int:
        """Return how many versions the target ever got of a name."""
        if isinstance(self.world, AwsWorld):
            reply = self.world.client.list_secret_version_ids(
                SecretId=self.path(name), IncludeDeprecated=True
            )
            return len(reply["Versions"])
        reply = self.world.kv.read_secret_metadata(self.path(name), mount_point="secret")  # type: ignore[attr-defined]
        return int(reply["data"]["current_version"])

    def theirs(self) -> dict[str, tuple[str, int, dict[str, str]]]:
        """Return all that is somebody else's."""
        paths = {name: self.path(name) for name in FOREIGN}
        return {
            name: (self.world.value(path), self.versions(name), self.world.labels(path))
            for name, path in paths.items()
        }

    def account_for(
        self, done: dict[str, Any], values: dict[str, str], theirs: dict[str, tuple[str, int, dict[str, str]]]
    ) -> None:
        """Demand that every item is done, once, and that what is somebody else's is as it was."""
        created, updated = len(self.new), len(self.old)
        assert done["run"][0] == "done", done
        assert done["items"] == {
            "create done": created,
            "update done": updated,
            "unmanaged skipped": len(FOREIGN),
        }
        assert done["run"][2:] == [created + updated, 0]
        assert done["entries"] == {"in_sync": created + updated}
        assert done["trail"] == []
        assert {name: self.world.value(self.path(name)) for name in values} == values
        versions = {name: self.versions(name) for name in values}
        assert versions == dict.fromkeys(self.old, 2) | dict.fromkeys(self.new, 1)
        assert self.theirs() == theirs

    def end(self) -> None:
        self._process.end()
