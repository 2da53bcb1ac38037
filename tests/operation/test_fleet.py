"""What faults of KMS and rotations are to several processes that serve, until all is well again."""

import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.db import connection

from audit_app.interfaces import Purpose
from tests.aws_strict.faults import Fault
from tests.operation.fleet import VALUE, WAIT_SECONDS, Fleet, Worker
from tests.servers.fixtures import moto_url

__all__ = ["moto_url"]

# How a worker bears KMS is the same on every database; that two rotations at once lock rows is not.
pytestmark = pytest.mark.every_database_weekly

Act = Callable[[Fleet], object]


@pytest.fixture(scope="module")
def shared_fleet(
    moto_url: str, tmp_path_factory: pytest.TempPathFactory, schema: Path | None
) -> Iterator[Fleet]:
    server = os.environ["KEEPER_TEST_MARIADB_URL"] if connection.vendor == "mysql" else ""
    with Fleet(tmp_path_factory.mktemp("fleet"), moto_url, server, schema=schema) as started:
        yield started


@pytest.fixture
def fleet(shared_fleet: Fleet) -> Iterator[Fleet]:
    shared_fleet.until_revealed()
    shared_fleet.plan.calls.clear()
    yield shared_fleet
    shared_fleet.plan.clear()


def failing(fault: Fault) -> Act:
    return lambda fleet: fleet.plan.keep_failing("Decrypt", fault)


def recover(fleet: Fleet) -> None:
    fleet.plan.recover()


def disable(fleet: Fleet) -> None:
    fleet.kms.disable_key(KeyId=fleet.key_id)


def enable(fleet: Fleet) -> None:
    fleet.kms.enable_key(KeyId=fleet.key_id)


def schedule_deletion(fleet: Fleet) -> None:
    fleet.kms.schedule_key_deletion(KeyId=fleet.key_id)


def cancel_deletion(fleet: Fleet) -> None:
    fleet.kms.cancel_key_deletion(KeyId=fleet.key_id)
    fleet.kms.enable_key(KeyId=fleet.key_id)


def rename(old: str, new: str) -> Act:
    where = "purpose = 'values'"
    return lambda fleet: fleet.sql(
        f"UPDATE secrets_app_datakey SET key_uri = REPLACE(key_uri, '{old}', '{new}') WHERE {where}"
    )


# What the log says of it is what docs/keys.md has; test_faults.py compares the whole sentence.
STOPPING: dict[str, tuple[Act, Act, str]] = {
    "hanging": (failing(Fault.HANG), recover, "KMS gave no answer to Decrypt"),
    "unreachable": (Fleet.lose_kms, Fleet.reach_kms, "KMS cannot be reached"),
    "reply lost": (failing(Fault.DROPPED_REPLY), recover, "KMS cannot be reached"),
    "failing": (failing(Fault.SERVER_ERROR), recover, "KMS failed Decrypt"),
    "access denied": (failing(Fault.ACCESS_DENIED), recover, "allow this installation's AWS identity"),
    "credentials expired": (failing(Fault.EXPIRED), recover, "renew the AWS credentials"),
    "key disabled": (disable, enable, "is disabled: enable it again"),
    "key pending deletion": (schedule_deletion, cancel_deletion, "is pending deletion: cancel that now"),
    "key deleted": (failing(Fault.DELETED), recover, "it was deleted, or the name is wrong"),
    "wrong region": (
        rename("eu-central-1", "us-east-1"),
        rename("us-east-1", "eu-central-1"),
        "is not allowed: KMS_ALLOWED_KEYS does not name it",
    ),
    "wrong account": (
        rename("123456789012", "210987654321"),
        rename("210987654321", "123456789012"),
        "is not allowed: KMS_ALLOWED_KEYS does not name it",
    ),
    "reply with another key": (failing(Fault.OTHER_KEY), recover, "KMS answered Decrypt with another key"),
}


def serves_the_rest(fleet: Fleet, worker: Worker) -> None:
    status, body = worker.get("/api/secrets", fleet.viewer)
    assert status == 200
    assert "payments/key" in [row["name"] for row in json.loads(body)["results"]]
    assert worker.get(f"/api/secrets/{fleet.secret}", fleet.viewer)[0] == 200
    assert worker.get("/sign-in")[0] == 200
    assert worker.get("/readyz")[0] == 200


@pytest.mark.parametrize("fault", STOPPING)
def test_values_stop_everywhere_and_come_back_without_a_restart(fleet: Fleet, fault: str) -> None:
    begin, end, told = STOPPING[fault]
    began = [worker.log.stat().st_size for worker in fleet.workers]
    begin(fleet)
    try:
        fleet.until_refused()
        for worker, start in zip(fleet.workers, began, strict=True):
            assert VALUE not in fleet.reveal(worker)[1]
            serves_the_rest(fleet, worker)
            assert told in worker.log.read_bytes()[start:].decode()
    finally:
        end(fleet)
    fleet.until_revealed()


def test_what_hangs_takes_no_thread_from_the_rest(fleet: Fleet) -> None:
    fleet.plan.keep_failing("Decrypt", Fault.HANG)
    fleet.until_refused()
    [first, _] = fleet.workers
    with ThreadPoolExecutor(16) as pool:
        asked = [pool.submit(fleet.reveal, first) for _ in range(16)]
        serves_the_rest(fleet, first)
        assert {reveal.result()[0] for reveal in asked} == {503}
    # Two readers at once, time and again, and hardly a request to KMS.
    assert fleet.plan.calls["Decrypt"] < 12
    fleet.plan.recover()


def test_throttling_is_bridged(fleet: Fleet) -> None:
    fleet.plan.keep_failing("Decrypt", Fault.THROTTLE)
    fleet.plan.calls.clear()
    for worker in fleet.workers:
        before = fleet.plan.calls["Decrypt"]

        def has_asked(worker: Worker, before: int = before) -> bool:
            assert VALUE in fleet.reveal(worker)[1]
            return fleet.plan.calls["Decrypt"] > before

        fleet.until_each(has_asked, "KMS was not asked")
        assert VALUE in fleet.reveal(worker)[1]


def test_a_slow_answer_is_waited_for(fleet: Fleet) -> None:
    fleet.plan.keep_failing("Decrypt", Fault.SLOW)
    fleet.plan.calls.clear()

    def has_waited(worker: Worker) -> bool:
        assert VALUE in fleet.reveal(worker)[1]
        return fleet.plan.calls["Decrypt"] >= 4

    fleet.until_each(has_waited, "KMS was not asked")


@pytest.mark.every_database
def test_two_rotations_at_once_move_each_data_key_and_stop_nobody(fleet: Fleet) -> None:
    new = fleet.kms.create_key()["KeyMetadata"]["Arn"]
    fleet.kms.update_alias(AliasName=fleet.alias, TargetKeyId=new)
    fleet.variables["ENABLE_KMS_KEY_ROTATION"] = "true"
    runs = [fleet.begin("kms", "rotate", "--format", "json") for _ in range(2)]
    while any(run.poll() is None for run in runs):
        for worker in fleet.workers:
            assert VALUE in fleet.reveal(worker)[1]
    for run in runs:
        printed, complaints = run.communicate()
        assert run.returncode == 0, printed + complaints
    assert fleet.kms.get_key_rotation_status(KeyId=new.rpartition("/")[2])["KeyRotationEnabled"]
    rows = fleet.sql("SELECT key_uri, active FROM secrets_app_datakey")
    assert {uri for uri, _ in rows} == {new}
    assert len(rows) == len(Purpose) + 1
    assert fleet.plan.calls["ReEncrypt"] <= 2 * len(rows)
    # Nobody goes by what the alias led to before: what is written now is sealed under the same data key.
    fleet.store("payments/after", VALUE)
    assert fleet.sql("SELECT COUNT(*) FROM secrets_app_datakey")[0][0] == len(rows)
    fleet.kms.disable_key(KeyId=fleet.key_id)
    fleet.key = new
    fleet.until_revealed()


def test_a_command_waits_for_kms_that_throttles(fleet: Fleet) -> None:
    fleet.plan.keep_failing("Decrypt", Fault.THROTTLE)
    running = fleet.begin("verify-audit")
    # Longer than a page would wait, and than Python takes to load Keeper.
    time.sleep(15)
    assert running.poll() is None
    fleet.plan.recover()
    out, error = running.communicate(timeout=WAIT_SECONDS)
    assert running.returncode == 0, error
    assert out.strip().endswith("0 problems")


def test_a_command_without_its_keys_ends_without_the_exit_code_of_damage(fleet: Fleet) -> None:
    fleet.plan.keep_failing("Decrypt", Fault.ACCESS_DENIED)
    running = fleet.begin("verify-audit")
    _, error = running.communicate(timeout=WAIT_SECONDS)
    assert running.returncode == os.EX_TEMPFAIL, error
    assert "Traceback" not in error
    assert "kms:Decrypt" in error
