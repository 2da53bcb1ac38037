"""What is measured, who may look at it, and that the alert rules ask for nothing else."""

import json
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import yaml
from django.db import OperationalError, transaction
from django.test import Client
from django.utils import timezone
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families
from pytest_django import Settings

from audit_app.checkpoints.schedule import anchor_log
from audit_app.events.actions import Action, Outcome
from audit_app.events.actors import NIL, system
from audit_app.models import AuditEvent, SinkState
from audit_app.queries import search_index
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import record
from audit_app.sinks.delivery import deliver_events
from environments_app.tests.cast import Cast
from keeper_project.observability.metrics import registry
from operations_app.health.processes import beat
from operations_app.models import ExternalSystem
from secrets_app.services.write import put
from secrets_app.types.registry import SecretType
from sync_app.domain.rotation_state import Slot, Step
from sync_app.metrics import count_run
from sync_app.models import Rotation, RotationPolicy, Run, Target
from sync_app.models.run import RunKind, RunState
from sync_app.rotation.policies import credentials as rotation_credentials
from sync_app.targets import credentials

ALERTS = Path(__file__).parents[3] / "deploy" / "helm" / "keeper" / "files" / "prometheus-alerts.yml"
DASHBOARD = ALERTS.with_name("dashboard.json")
# Prometheus makes this one itself.
OF_PROMETHEUS = {"up"}


def _scrape(client: Client) -> dict[str, list[tuple[dict[str, str], float]]]:
    response = client.get("/metrics")
    assert response.status_code == 200, response.content
    families = text_string_to_metric_families(response.content.decode())
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in families:
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def _events(action: Action, outcome: Outcome) -> float:
    labels = {"action": str(action), "outcome": str(outcome)}
    return REGISTRY.get_sample_value("keeper_events_total", labels) or 0.0


def _record() -> None:
    record(
        actor=system(),
        action=Action.SESSION_CONFIRM,
        stream="system",
        object=AuditObject("session", NIL, "session"),
    )


@pytest.mark.every_database
@pytest.mark.django_db(transaction=True)
def test_an_event_is_counted_once_it_is_committed_and_never_when_rolled_back() -> None:
    before = _events(Action.SESSION_CONFIRM, Outcome.ALLOWED)
    _record()
    with transaction.atomic():
        _record()
        assert _events(Action.SESSION_CONFIRM, Outcome.ALLOWED) == before + 1
    with transaction.atomic():
        _record()
        transaction.set_rollback(True)
    assert _events(Action.SESSION_CONFIRM, Outcome.ALLOWED) == before + 2


@pytest.mark.django_db(transaction=True)
def test_a_read_by_a_token_is_counted_as_event_and_request(bearer: Callable[..., Client], cast: Cast) -> None:
    secret, _ = put(
        actor=cast.principal(cast.alice),
        environment=cast.development,
        name="a",
        secret_type=SecretType.TEXT,
        value="v",
    )
    client = bearer("reader", cast.development)
    reveals = _events(Action.SECRET_REVEAL, Outcome.ALLOWED)
    assert client.get(f"/api/secrets/{secret.pk}").status_code == 200
    assert client.get(f"/api/secrets/{secret.pk}?stage=").status_code == 200
    assert _events(Action.SECRET_REVEAL, Outcome.ALLOWED) == reveals + 2
    found = _scrape(Client())["keeper_request_seconds_count"]
    views = {labels["view"] for labels, _ in found if labels["status"] == "2xx"}
    assert "api-secret" in views


@pytest.mark.django_db
def test_paths_and_methods_of_strangers_make_no_labels() -> None:
    client = Client()
    for number in range(20):
        client.get(f"/nothing/{number}")
        client.generic(f"BREW{number}", "/nothing")
    labels = [labels for labels, _ in _scrape(client)["keeper_request_seconds_count"]]
    assert {label["view"] for label in labels if label["status"] == "4xx"} >= {"none"}
    assert not [label for label in labels if "nothing" in str(label) or "BREW" in str(label)]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("address", "headers", "status"),
    [
        ("127.0.0.1", {}, 200),
        ("::1", {}, 200),
        ("203.0.113.9", {}, 403),
        # A proxy on this machine that Keeper was not told of.
        ("127.0.0.1", {"X-Forwarded-For": "203.0.113.9"}, 403),
        ("127.0.0.1", {"Via": "1.1 proxy"}, 403),
        # One that it was told of.
        ("192.0.2.1", {"X-Forwarded-For": "127.0.0.1"}, 200),
        ("192.0.2.1", {"X-Forwarded-For": "127.0.0.1, 203.0.113.9"}, 403),
        ("", {}, 403),
    ],
)
def test_only_allowed_addresses_may_look(
    address: str, headers: dict[str, str], status: int, settings: Settings
) -> None:
    settings.KEEPER_TRUSTED_PROXIES = ["192.0.2.1"]
    client = Client(headers=headers)
    assert client.get("/metrics", REMOTE_ADDR=address).status_code == status


@pytest.mark.django_db
def test_it_answers_under_any_host_name_and_keeps_nothing() -> None:
    response = Client(SERVER_NAME="10.1.2.3").get("/metrics")
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store, private"


@pytest.mark.django_db
def test_gauges_say_what_waits_and_whose_worker_is_gone(cast: Cast, settings: Settings) -> None:
    now = timezone.now()
    target = Target(environment=cast.development, name="vault", backend="vault_kv2", failures=1)
    credentials.seal_credentials(target, {"token": "t"})
    target.save()
    Run.objects.create(
        target=target, kind=RunKind.SYNC, trigger="person", actor_kind="system", actor_uuid=NIL,
        actor_name="system", created_at=now - timedelta(hours=1), lease_until=now - timedelta(minutes=5),
    )  # fmt: skip
    beat()
    found = _scrape(Client())
    assert found["keeper_database_up"] == [({}, 1.0)]
    assert ({"state": "queued"}, 1.0) in found["keeper_sync_active_runs"]
    assert found["keeper_sync_expired_leases"] == [({}, 1.0)]
    assert found["keeper_sync_targets_failing"] == [({}, 1.0)]
    assert found["keeper_sync_queue_age_seconds"][0][1] > 3590
    assert found["keeper_worker_heartbeat_age_seconds"][0][1] < 60


@pytest.mark.every_database
@pytest.mark.django_db
def test_gauges_say_how_systems_answer_and_name_no_address(settings: Settings) -> None:
    now = timezone.now()
    ExternalSystem.objects.create(kind="mail", state="unhealthy", failures=3, checked_at=now)
    ExternalSystem.objects.create(kind="identity_provider", state="degraded", failures=2, checked_at=now)
    ExternalSystem.objects.create(kind="redis", state="off", checked_at=now)
    ExternalSystem.objects.create(kind="broker")
    found = _scrape(Client())
    assert found["keeper_system_up"] == [({"system": "mail"}, 0.0), ({"system": "identity_provider"}, 1.0)]
    assert ({"system": "mail"}, 3.0) in found["keeper_system_failures"]
    assert all(age < 60 for _, age in found["keeper_system_check_age_seconds"])


@pytest.mark.every_database
@pytest.mark.django_db(transaction=True)
def test_gauges_say_how_far_the_trail_got_out_of_the_database(
    cast: Cast, settings: Settings, tmp_path: Path
) -> None:
    settings.KEEPER_AUDIT_SINKS = [f"file:{tmp_path}/one", f"file:{tmp_path}/two"]
    settings.KEEPER_EVENT_SINKS = ["syslog://127.0.0.1:9"]
    assert "keeper_checkpoint_age_seconds" not in _scrape(Client())
    # Events are owed from the first attempt on.
    deliver_events()
    _record()
    deliver_events(at_once=True)
    anchor_log()
    SinkState.objects.filter(name__endswith="/two").update(position=0, failures=4)
    found = _scrape(Client())
    assert found["keeper_checkpoint_age_seconds"][0][1] < 60
    assert found["keeper_trail_signing_age_seconds"][0][1] < 60
    checkpoints = {"takes": "checkpoints", "sink": "file"}
    events = {"takes": "events", "sink": "syslog"}
    # Of two sinks of a kind, the worse one.
    assert dict(_bare(found["keeper_sink_behind"])) == {_key(checkpoints): 1.0, _key(events): 1.0}
    assert dict(_bare(found["keeper_sink_failures"]))[_key(checkpoints)] == 4.0
    lacking = found["keeper_search_behind"][0][1]
    assert lacking == AuditEvent.objects.count()
    search_index.fill()
    assert _scrape(Client())["keeper_search_behind"] == [({}, 0.0)]
    assert str(tmp_path) not in str(found)


@pytest.mark.every_database
@pytest.mark.django_db
def test_gauges_say_which_rotations_stopped_are_late_or_lost_their_worker(cast: Cast) -> None:
    now = timezone.now()
    policies = [_policy(cast, name, due_at=now - timedelta(hours=2)) for name in ("a", "b", "c")]
    RotationPolicy.objects.filter(pk=policies[2].pk).update(due_at=now - timedelta(minutes=5))
    _rotation(policies[0], step=Step.SET, stopped_at=now)
    _rotation(policies[1], step=Step.TEST, lease_until=now - timedelta(minutes=5))
    found = _scrape(Client())
    assert found["keeper_rotations_stopped"] == [({}, 1.0)]
    assert found["keeper_rotation_expired_leases"] == [({}, 1.0)]
    assert found["keeper_rotations_overdue"] == [({}, 2.0)]
    assert {labels["step"]: count for labels, count in found["keeper_rotations_active"]} == {
        "prepare": 0, "set": 1, "test": 1, "promote": 0, "grace": 0, "retire": 0, "withdraw": 0,
    }  # fmt: skip


def _policy(cast: Cast, name: str, **fields: Any) -> RotationPolicy:
    secret, _ = put(
        actor=cast.principal(cast.alice), environment=cast.development, name=name,
        secret_type=SecretType.TEXT, value="v",
    )  # fmt: skip
    policy = RotationPolicy(environment=cast.development, secret=secret, rotator="generated", **fields)
    rotation_credentials.seal_credentials(policy, {})
    policy.save()
    return policy


def _rotation(policy: RotationPolicy, **fields: Any) -> Rotation:
    return Rotation.objects.create(
        policy=policy, slot=Slot.WORKING, trigger="person", actor_kind="system", actor_uuid=NIL,
        actor_name="system", **fields,
    )  # fmt: skip


def _key(labels: dict[str, str]) -> str:
    return "/".join(labels[name] for name in sorted(labels))


def _bare(samples: list[tuple[dict[str, str], float]]) -> list[tuple[str, float]]:
    return [(_key(labels), value) for labels, value in samples]


@pytest.mark.django_db
def test_without_a_database_the_process_still_tells_what_it_measured() -> None:
    client = Client()
    client.get("/nothing")
    with patch(
        "keeper_project.observability.database_metrics.failing_data_keys",
        side_effect=OperationalError("gone away"),
    ):
        found = _scrape(client)
    assert found["keeper_database_up"] == [({}, 0.0)]
    assert "keeper_sync_active_runs" not in found
    assert "keeper_request_seconds_count" in found


def test_a_run_is_counted_when_it_ends_and_not_while_it_waits() -> None:
    def ended() -> float:
        return REGISTRY.get_sample_value("keeper_sync_runs_total", {"kind": "check", "state": "done"}) or 0

    before, now = ended(), timezone.now()
    run = Run(kind=RunKind.CHECK, state=RunState.QUEUED, started_at=now)
    count_run(run)
    assert ended() == before
    run.active, run.state, run.finished_at = None, RunState.DONE, now
    count_run(run)
    assert ended() == before + 1


def _exported() -> dict[str, set[str]]:
    """Return the names of all samples, with the labels that each may have; a family may have none yet."""
    beat()
    found: dict[str, set[str]] = {}
    for family in registry().collect():
        collector: Any = REGISTRY._names_to_collectors.get(family.name, family)
        labels = set(getattr(collector, "_labelnames", ()))
        for suffix in ("", "_total", "_bucket", "_count", "_sum"):
            found[f"{family.name}{suffix}"] = labels | {"le"}
    return found


def _names(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:(?:keeper|process)_[a-z_]+|up)\b", re.sub(r'"[^"]*"', "", expression)))


@pytest.mark.django_db
def test_the_alert_rules_name_only_what_is_exported_and_each_says_what_to_do() -> None:
    exported = _exported().keys()
    rules = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
    for rule in rules:
        names = _names(rule["expr"])
        assert names, rule["alert"]
        assert names <= exported | OF_PROMETHEUS, rule["alert"]
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["remedy"]


@pytest.mark.django_db
def test_the_dashboard_asks_for_what_is_exported_and_each_panel_says_what_it_shows() -> None:
    exported = _exported()
    panels = [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]
    asked: set[str] = set()
    for panel in panels:
        for target in panel["targets"]:
            names = _names(target["expr"])
            assert names, panel["title"]
            assert names <= exported.keys() | OF_PROMETHEUS, panel["title"]
            asked |= names
            labels = set().union(*(exported.get(name, set()) for name in names)) | {"job", "instance"}
            used = re.findall(r"by \(([^)]*)\)", target["expr"]) + re.findall(
                r"{{(\w+)}}", target["legendFormat"]
            )
            used += re.findall(r'(\w+)(?:=~?|!=)"', target["expr"])
            assert {each.strip() for text in used for each in text.split(",")} <= labels, panel["title"]
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)
    # What is exported has a panel.
    own = {name for name in exported if name.startswith("keeper_")}
    families = {re.sub(r"_(total|bucket|count|sum)$", "", name) for name in own}
    assert families <= {re.sub(r"_(total|bucket|count|sum)$", "", name) for name in asked}


def test_the_rules_and_the_dashboard_name_only_actions_that_are_recorded() -> None:
    text = ALERTS.read_text() + DASHBOARD.read_text().replace('\\"', '"')
    named = set(re.findall(r'action="([^"]+)"', text))
    assert named
    assert named <= {str(action) for action in Action}
