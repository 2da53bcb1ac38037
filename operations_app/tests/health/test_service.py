"""`/healthz` answers as long as the process lives; `/readyz` says what does not work, safely."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from celery import current_app as app
from django.db import OperationalError
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from audit_app.errors import KeyringUnavailable
from audit_app.models import SinkState
from audit_app.queries import search_index, usage_index
from environments_app.models import User
from environments_app.tests.cast import Cast
from operations_app.health import processes
from operations_app.health import service as health
from operations_app.health.processes import beat
from operations_app.health.service import Check, HealthFailure, probes, results, warnings
from operations_app.models import ExternalSystem, System
from secrets_app.models import DataKey


def fine() -> None:
    pass


def failing() -> None:
    raise HealthFailure("the thing is off")


def without_database() -> None:
    raise OperationalError("could not connect as keeper with password hunter2")


def without_keys() -> None:
    raise KeyringUnavailable("arn:aws:kms:eu-central-1:123456789012:key/1 is disabled")


def defective() -> None:
    raise KeyError("defect")


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have Keeper make only these checks."""

    def only(checks: Sequence[Check] = (), warnings: Sequence[Check] = ()) -> None:
        monkeypatch.setattr(health, "CHECKS", tuple(checks))
        monkeypatch.setattr(health, "WARNINGS", tuple(warnings))
        monkeypatch.setattr(health, "PROBES", ())

    return only


@pytest.mark.parametrize("code", [1044, 1045, 1049])
def test_a_server_that_refuses_keeper_is_told_from_one_that_is_away(
    only: Callable[..., None], monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refused() -> None:
        raise OperationalError(code, "Access denied for user 'keeper'@'10.0.0.1'")

    only([health.database])
    monkeypatch.setattr(health, "connection", SimpleNamespace(cursor=refused))
    found = results()[0]
    assert (found.name, found.ok, found.detail) == ("database", False, "OperationalError")
    assert "refuses the user or password of DATABASE_URL" in found.for_operators
    monkeypatch.setattr(health, "connection", SimpleNamespace(cursor=without_database))
    assert results()[0].for_operators == "OperationalError"


@pytest.fixture(autouse=True)
def _no_supervisor() -> Iterator[None]:
    yield
    processes.share_states(["worker"])


@pytest.fixture
def data(tmp_path: Path, settings: Settings) -> Path:
    settings.KEEPER_DATA_DIR = tmp_path
    return tmp_path


def test_liveness_touches_no_database() -> None:
    # Without the `db` fixture a query would be an error.
    reply = Client().get("/healthz")
    assert (reply.status_code, reply.json()) == (200, {"status": "ok"})


def test_readiness_answers_200_when_all_is_well(only: Callable[..., None]) -> None:
    only([fine])
    reply = Client().get("/readyz")
    assert reply.status_code == 200
    assert reply.json() == {"status": "ok", "checks": [{"name": "fine", "ok": True, "detail": ""}]}


def test_a_warning_degrades_and_takes_nothing_out_of_service(only: Callable[..., None]) -> None:
    only([fine], [failing])
    reply = Client().get("/readyz")
    assert (reply.status_code, reply.json()["status"]) == (200, "degraded")
    assert reply.json()["checks"][1] == {"name": "failing", "ok": False, "detail": "the thing is off"}
    only([failing])
    assert Client().get("/readyz").status_code == 503


@pytest.mark.django_db
def test_it_names_the_data_keys_that_do_not_open_to_operators_and_not_why(
    only: Callable[..., None], cast: Cast, signed_in: Callable[[User], Client]
) -> None:
    health.data_keys()
    row = DataKey.objects.create(purpose="values", provider="kms", key_uri="arn:aws:kms:a", wrapped_key=b"w")
    row.check_problem = "arn:aws:kms:a is disabled"
    row.save()
    only(warnings=[health.data_keys])
    reply = Client().get("/readyz")
    detail = "data keys do not open; see the Health page and the log"
    assert reply.json() == {
        "status": "degraded",
        "checks": [{"name": "data keys", "ok": False, "detail": detail}],
    }
    page = signed_in(cast.root).get("/health")
    assert str(row.uuid) in page.text
    assert "arn:aws:kms:a is disabled" not in page.text
    assert str(row.uuid) not in signed_in(cast.bob).get("/").text


NAMES = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}|arn:|://|/|[0-9]{1,3}(\.[0-9]{1,3}){3}")


@pytest.mark.django_db
def test_readiness_tells_the_kind_of_each_fault_and_names_nothing(
    settings: Settings, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = DataKey.objects.create(purpose="values", provider="kms", key_uri="arn:aws:kms:a", wrapped_key=b"w")
    DataKey.objects.filter(pk=key.pk).update(check_problem="arn:aws:kms:a is disabled")
    SinkState.objects.create(name="signing", failures=1, error="s3://anchors does not answer")
    ExternalSystem.objects.create(kind=System.MAIL, failures=2, detail="10.1.2.3 does not answer")
    settings.KEEPER_EMBEDDED_WORKER = False
    monkeypatch.setattr(app.conf, "broker_write_url", "redis://127.0.0.1:9/0")
    processes.share_states(["worker"])
    monkeypatch.setattr(processes.state_of("worker"), "failures", 1)
    settings.KEEPER_DATA_DIR = "/nowhere"
    failed = {
        check["name"]: check["detail"]
        for check in Client().get("/readyz").json()["checks"]
        if not check["ok"]
    }
    faults = {"data directory", "data keys", "processes", "worker", "checkpoints", "systems", "broker"}
    assert failed.keys() == faults
    assert [detail for detail in failed.values() if NAMES.search(detail)] == []


def test_counts_of_use_that_are_far_behind_are_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage_index, "behind", lambda: health.MOST_EVENTS_UNSEARCHED)
    health.usage()
    monkeypatch.setattr(usage_index, "behind", lambda: 1_234_567)
    with pytest.raises(health.HealthFailure, match="1,234,567 events behind"):
        health.usage()


def test_a_search_that_is_far_behind_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_index, "behind", lambda: health.MOST_EVENTS_UNSEARCHED)
    health.search()
    monkeypatch.setattr(search_index, "behind", lambda: 1_234_567)
    with pytest.raises(HealthFailure, match="1,234,567 events behind"):
        health.search()


def test_readiness_answers_503_and_names_what_fails(only: Callable[..., None]) -> None:
    only([fine, failing])
    reply = Client().get("/readyz")
    assert reply.status_code == 503
    assert reply.json()["status"] == "unavailable"
    assert reply.json()["checks"][1] == {"name": "failing", "ok": False, "detail": "the thing is off"}


@pytest.mark.parametrize("check", [without_database, without_keys])
def test_readiness_shows_a_condition_and_no_message(only: Callable[..., None], check: Check) -> None:
    only([check])
    reply = Client().get("/readyz")
    assert reply.status_code == 503
    assert "hunter2" not in reply.text
    assert "arn:" not in reply.text
    assert reply.json()["checks"][0]["detail"] in {"OperationalError", "KeyringUnavailable"}


def test_a_defect_of_a_check_is_not_health(only: Callable[..., None]) -> None:
    only([defective])
    assert Client(raise_request_exception=False).get("/readyz").status_code == 500


@pytest.mark.django_db
def test_readiness_passes_here(settings: Settings, data: Path) -> None:
    assert [result for result in results() if not result.ok] == []
    assert {result.name for result in results()} >= {"database", "keys"}
    # The database may be on another disk.
    assert {"systems", "data directory"} <= {result.name for result in warnings()}
    assert [result.name for result in probes()] == ["broker"]


@pytest.mark.django_db
@pytest.mark.every_database
def test_a_database_that_answers_is_healthy() -> None:
    health.database()


def test_it_asks_no_broker_where_there_is_none(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.KEEPER_EMBEDDED_WORKER = True
    monkeypatch.setattr(app.conf, "broker_write_url", "redis://127.0.0.1:9/0")
    health.broker()


def test_it_tells_of_a_process_that_is_away_until_it_runs_steadily(data: Path) -> None:
    processes.share_states(["web server", "worker"])
    health.processes()
    state = processes.state_of("worker")
    state.failures, state.exit_code, state.starts_at = 1, -9, 3600.0
    with pytest.raises(
        HealthFailure, match=r"^the worker was killed by signal 9 and starts again at 01:00:00 UTC$"
    ):
        health.processes()
    state.failures, state.exit_code, state.starts_at, state.started_at = 3, 1, 0.0, 7200.0
    told = r"^the worker ended with exit code 1 \(3 times in a row\) and was started again at 02:00:00 UTC$"
    with pytest.raises(HealthFailure, match=told):
        health.processes()
    state.failures = 0
    health.processes()


def test_it_notices_a_broker_that_does_not_answer(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.KEEPER_EMBEDDED_WORKER = False
    monkeypatch.setattr(app.conf, "broker_url", "redis://127.0.0.1:9/0")
    monkeypatch.setattr(app.conf, "broker_write_url", "redis://127.0.0.1:9/0")
    with pytest.raises(HealthFailure, match="does not answer"):
        health.broker()


def test_it_reaches_redis(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    redis = os.environ.get("KEEPER_TEST_REDIS_URL")
    assert redis, "Redis is not there: run the tests with make test, or by python -m tests.servers -- pytest"
    # How long it takes says something of the machine.
    monkeypatch.setattr(health, "BROKER_SECONDS", 60)
    settings.KEEPER_EMBEDDED_WORKER = False
    monkeypatch.setattr(app.conf, "broker_url", redis)
    monkeypatch.setattr(app.conf, "broker_write_url", redis)
    health.broker()


def test_it_misses_the_data_directory(settings: Settings, tmp_path: Path) -> None:
    settings.KEEPER_DATA_DIR = tmp_path / "gone"
    with pytest.raises(HealthFailure, match="missing"):
        health.data_directory()


def test_it_notices_a_full_disk(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    health.data_directory()
    monkeypatch.setattr(health, "FREE_BYTES", 2**80)
    with pytest.raises(HealthFailure, match="full"):
        health.data_directory()


def test_it_misses_a_worker_that_never_worked(data: Path) -> None:
    with pytest.raises(HealthFailure, match="no worker"):
        health.worker()
    beat()
    health.worker()


def test_it_misses_a_worker_that_stopped(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    beat()
    later = timezone.now() + timedelta(minutes=4)
    monkeypatch.setattr(timezone, "now", lambda: later)
    with pytest.raises(HealthFailure, match="no worker"):
        health.worker()


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_a_probe_is_answered_under_the_address_of_a_pod(client: Client, db: None, path: str) -> None:
    reply = client.get(path, headers={"host": "10.1.2.3:8989"})
    assert reply.status_code in {200, 503}
    assert reply.headers["Cache-Control"] == "no-store, private"
    assert client.get("/sign-in", headers={"host": "10.1.2.3"}).status_code == 400
