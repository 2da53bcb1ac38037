"""Migration, rotation, rollback and their end, killed at random points while others write: all opens."""

import os
import random
from pathlib import Path
from typing import Any

import pytest

from secrets_app.tests.keys.conftest import REGION
from tests.processes import Process

MODULE = "secrets_app.tests.key_operations.migration.fleet"
SEED = 20_260
# A command that goes through to its end passes about this many statements and calls, or some more.
POINTS = 120


class Fleet:
    """Two writers and one that runs commands and gets them killed."""

    def __init__(self, environment: dict[str, str], seed: int) -> None:
        self._random = random.Random(seed)
        self.operator = Process(MODULE, environment)
        self.operator.ask("prepare")
        self.writers = [Process(MODULE, environment), Process(MODULE, environment)]
        self.written: dict[str, str] = {}
        self.kills = 0

    def take(self, *backends: str, **changes: Any) -> None:
        """Give the operator and the writers other settings, as a rolling restart does."""
        for process, backend in zip([self.operator, *self.writers], backends, strict=True):
            process.ask("take", changes={"KEY_MANAGEMENT_BACKEND": backend, **changes})

    def run(self, *arguments: str, kills: int) -> str:
        """Run a command until it ends, after killing it up to so many times; writers go on meanwhile."""
        for _ in range(kills):
            if not self._ran(arguments, self._random.randint(1, POINTS))["killed"]:
                break
            self.kills += 1
        done = self._ran(arguments, 0)
        assert done["code"] == 0, done
        return str(done["text"])

    def _ran(self, arguments: tuple[str, ...], dies_at: int) -> dict[str, Any]:
        # A data key that a writer makes is newer than that of a rotation, which so is superseded.
        makes_keys = "--reencrypt" not in arguments
        for writer in self.writers:
            assert not writer.ask("run", makes_keys=makes_keys)["wrong"]
        done = self.operator.ask("command", arguments=list(arguments), dies_at=dies_at)
        for writer in self.writers:
            told = writer.ask("pause")
            assert not told["wrong"]
            self.written |= told["written"]
        assert not self.operator.ask("check", expected=self.written)["wrong"]
        return done

    def end(self) -> None:
        for process in (self.operator, *self.writers):
            process.end()


@pytest.fixture
def two_keys(kms_client: Any) -> list[str]:
    return [kms_client.create_key()["KeyMetadata"]["Arn"] for _ in range(2)]


@pytest.fixture
def environment(tmp_path: Path, database: str, moto_url: str, two_keys: list[str]) -> dict[str, str]:
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "keeper_project.settings",
        "DATABASE_URL": database,
        "KEEPER_DATA_DIR": str(tmp_path),
        "KEEPER_TLS": "false",
        "KEY_MANAGEMENT_BACKEND": "local",
        "KEY_MIGRATION": "true",
        "KMS_KEY_ID": two_keys[0],
        "AWS_REGION": REGION,
        "AWS_ENDPOINT_URL_KMS": moto_url,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
    }


def survive(environment: dict[str, str], two_keys: list[str], *, kills: int, seed: int, enough: int) -> int:
    """Go there and back, again until enough was killed, then there for good; return how often it was."""
    fleet = Fleet(environment, seed)
    rounds = 0
    try:
        # A command may come to its end before the point that was drawn for it.
        while not rounds or fleet.kills < enough:
            rounds += 1
            fleet.take("local", "local", "kms", KMS_KEY_ID=two_keys[0])
            fleet.run("migrate_to_kms", "--no-dry-run", kills=kills)
            fleet.take("kms", "kms", "kms", KMS_KEY_ID=two_keys[1])
            # The writer that was still under the key file may have made a data key behind the first run.
            fleet.run("migrate_to_kms", "--no-dry-run", kills=0)
            fleet.run("kms", "rotate", kills=kills)
            fleet.take("kms", "local", "kms", KMS_KEY_ID=two_keys[1])
            fleet.run("migrate_to_kms", "--no-dry-run", "--reencrypt", "--batch-size", "7", kills=kills)
            fleet.take("local", "local", "local", KMS_KEY_ID=two_keys[1])
            fleet.run("rollback_kms", fleet.operator.ask("backup")["path"], kills=kills)
            assert fleet.operator.ask("keys")["wraps"] == ["local+"]
        fleet.take("kms", "kms", "kms", KMS_KEY_ID=two_keys[0])
        fleet.run("migrate_to_kms", "--no-dry-run", kills=kills)
        fleet.run("migrate_to_kms", "--no-dry-run", "--finalize", kills=kills)
        assert fleet.operator.ask("keys")["wraps"] == ["kms+"]
        fleet.take("kms", "kms", "kms", KEY_MIGRATION=False, KEEPER_LOCAL_KEY_FILE="/nowhere/local.key")
        assert not fleet.operator.ask("check", expected=fleet.written)["wrong"]
        assert fleet.written
        return fleet.kills
    finally:
        fleet.end()


@pytest.mark.every_database
def test_every_value_opens_whatever_is_killed(environment: dict[str, str], two_keys: list[str]) -> None:
    assert survive(environment, two_keys, kills=1, seed=SEED, enough=0) >= 3


@pytest.mark.every_database
@pytest.mark.torture
@pytest.mark.parametrize("seed", [1, 2])
def test_some_fifty_kills(environment: dict[str, str], two_keys: list[str], seed: int) -> None:
    assert survive(environment, two_keys, kills=4, seed=seed, enough=25) >= 25
