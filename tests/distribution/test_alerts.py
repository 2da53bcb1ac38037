"""The alert rules, run by promtool: each fires on what it is for, and alone; what is well fires none."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.servers.server import MissingServer

FILES = Path(__file__).resolve().parents[2] / "deploy" / "helm" / "keeper" / "files"
ALERTS = FILES / "prometheus-alerts.yml"
DASHBOARD = FILES / "dashboard.json"

# Of each alert: series that make it fire, as promtool writes them (first value, growth and count of minutes).
FIRING: dict[str, dict[str, str]] = {
    "KeeperDown": {'up{job="keeper",instance="a"}': "0x90"},
    "KeeperDatabaseDown": {'keeper_database_up{instance="a"}': "0x90"},
    "KeeperWorkerSilent": {"keeper_worker_heartbeat_age_seconds": "301x90"},
    "KeeperDataKeysDoNotOpen": {"keeper_data_keys_failing": "1x90"},
    "KeeperKmsFailing": {'keeper_kms_requests_total{outcome="throttled",instance="a"}': "0+30x90"},
    "KeeperIntegrityViolation": {'keeper_events_total{action="integrity.violation"}': "0+1x90"},
    "KeeperBreakGlass": {'keeper_events_total{action="member.break_glass"}': "0+1x90"},
    "KeeperManyRefusals": {'keeper_events_total{action="session.sign_in",outcome="denied"}': "0+120x90"},
    "KeeperSyncFailing": {"keeper_sync_targets_failing": "1x90"},
    "KeeperSyncQueueOld": {"keeper_sync_queue_age_seconds": "901x90"},
    "KeeperNotificationsStuck": {"keeper_notification_queue_age_seconds": "1801x90"},
    "KeeperSlow": {
        'keeper_request_seconds_bucket{view="api-secret",le="2.5"}': "0+1x90",
        'keeper_request_seconds_bucket{view="api-secret",le="5"}': "0+60x90",
        'keeper_request_seconds_bucket{view="api-secret",le="+Inf"}': "0+60x90",
    },
    "KeeperServerErrors": {'keeper_request_seconds_count{status="5xx"}': "0+30x90"},
    "KeeperSystemDown": {
        'keeper_system_up{system="mail"}': "0x90",
        'keeper_system_failures{system="mail"}': "2x90",
    },
    "KeeperSystemNeedsAttention": {
        'keeper_system_up{system="mail"}': "1x90",
        'keeper_system_failures{system="mail"}': "2x90",
    },
    "KeeperSystemsUnasked": {"keeper_system_check_age_seconds": "901x90"},
    "KeeperTrailUnsigned": {"keeper_trail_signing_age_seconds": "601x90"},
    "KeeperSinkBehind": {'keeper_sink_behind{takes="events"}': "5001x90"},
    "KeeperSearchBehind": {"keeper_search_behind": "5001x90"},
    "KeeperRotationStopped": {"keeper_rotations_stopped": "1x90"},
    "KeeperRotationOverdue": {"keeper_rotations_overdue": "1x90"},
    "KeeperRotationWorkerGone": {"keeper_rotation_expired_leases": "1x90"},
}
WELL = {
    'up{job="keeper"}': "1x90",
    "keeper_database_up": "1x90",
    "keeper_worker_heartbeat_age_seconds": "60x90",
    "keeper_data_keys_failing": "0x90",
    'keeper_kms_requests_total{outcome="ok"}': "0+600x90",
    'keeper_events_total{action="secret.reveal",outcome="allowed"}': "0+6000x90",
    'keeper_events_total{action="session.sign_in",outcome="denied"}': "0+6x90",
    "keeper_sync_queue_age_seconds": "60x90",
    'keeper_request_seconds_bucket{view="api-secret",le="0.1"}': "0+60x90",
    'keeper_request_seconds_bucket{view="api-secret",le="+Inf"}': "0+60x90",
    'keeper_request_seconds_count{status="2xx"}': "0+60x90",
    'keeper_system_up{system="mail"}': "1x90",
    'keeper_system_failures{system="mail"}': "0x90",
    "keeper_trail_signing_age_seconds": "60x90",
    'keeper_sink_behind{takes="events"}': "10x90",
    "keeper_rotations_stopped": "0x90",
}


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    program = shutil.which("promtool")
    if program is None:
        raise MissingServer("promtool is not installed: apt-get install promtool")
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False, timeout=120)


def _case(series: dict[str, str], firing: str | None) -> dict[str, Any]:
    expected = [{"labels": f'{{alertname="{firing}"}}', "value": 1}] if firing else []
    return {
        "name": firing or "well",
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                "eval_time": "85m",
                "exp_samples": expected,
            }
        ],
    }


@pytest.mark.torture
def test_each_alert_fires_on_what_it_is_for_and_alone(tmp_path: Path) -> None:
    rules = [
        rule["alert"] for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]
    ]
    assert rules == list(FIRING)
    cases = [_case(WELL, None), *(_case(series, alert) for alert, series in FIRING.items())]
    test = tmp_path / "test.yml"
    test.write_text(
        yaml.safe_dump({"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": cases})
    )
    done = promtool("test", "rules", test)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.torture
def test_prometheus_reads_every_expression_of_the_rules_and_the_dashboard(tmp_path: Path) -> None:
    assert promtool("check", "rules", ALERTS).returncode == 0
    variables = {"$__rate_interval": "5m", "$__range": "6h", "$instance": ".+"}
    rules = []
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", []):
            expression = target["expr"]
            for name, value in variables.items():
                expression = expression.replace(name, value)
            rules.append({"record": f"panel:{panel['id']}:{target['refId']}", "expr": expression})
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    done = promtool("check", "rules", file)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(rules) > 40
