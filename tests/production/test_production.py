"""Production as a whole: it serves by TLS, restarts without a failed read, and survives what dies in it."""

import http.client
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from secrets_app.keys.providers.aws_kms.requests import LONGEST_PAUSE
from tests.production.load import Load
from tests.production.stack import Production, _ready
from tests.servers.fixtures import moto_url, openbao
from tests.servers.server import accepts

__all__ = ["moto_url", "openbao"]


def test_production_lives_through_a_day(moto_url: str, openbao: tuple[str, str], tmp_path: Path) -> None:
    """One story, as starting all of it is what takes long; each step leaves everything running."""
    with Production(tmp_path, moto_url, openbao) as production:
        production.until(lambda: _checks(production).get("worker", False), "the worker's heartbeat")
        production.note("all runs: MariaDB, Redis, KMS, Vault, two webs, worker, beat, nginx with TLS")
        for step in STEPS:
            step(production)
            production.note(f"held: {step.__name__.replace('_', ' ').strip()}")


def _checks(production: Production) -> dict[str, bool]:
    return {check["name"]: check["ok"] for check in production.ask("/readyz")[1].get("checks", [])}


def _head(production: Production, path: str, *, tls: bool = True) -> http.client.HTTPResponse:
    if tls:
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            "127.0.0.1", production.nginx.port, context=production.tls, timeout=30
        )
    else:
        connection = http.client.HTTPConnection("127.0.0.1", production.nginx.plain_port, timeout=30)
    # What a client claims of itself is not believed.
    connection.request("GET", path, headers={"X-Forwarded-For": "203.0.113.7"})
    response = connection.getresponse()
    response.read()
    connection.close()
    return response


def _all_well(production: Production) -> bool:
    """Say whether every part is well, asked once: on a busy machine one answer may come too late."""
    checks = _checks(production)
    return {"database", "keys", "broker", "worker"} <= checks.keys() and all(checks.values())


def _every_part_is_well(production: Production) -> None:
    production.until(lambda: _all_well(production), "every part is well")


def _plain_http_is_sent_on_and_tls_is_remembered(production: Production) -> None:
    plain = _head(production, "/sign-in", tls=False)
    assert plain.status == 301
    assert plain.headers["Location"].startswith("https://127.0.0.1/")
    page = _head(production, "/sign-in")
    assert page.status == 200
    assert "max-age=31536000" in page.headers["Strict-Transport-Security"]
    assert all("Secure" in cookie for cookie in page.headers.get_all("Set-Cookie") or [])


def _metrics_are_not_for_the_world_and_a_worker_has_its_own(production: Production) -> None:
    assert _head(production, "/metrics").status == 404
    for port in (production.ports[0], production.worker_metrics):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as reply:
            assert b"keeper_database_up 1.0" in reply.read()


def _the_trail_names_the_client_that_nginx_saw(production: Production) -> None:
    load = Load(production, "seen")
    load._write(0)
    found = production.database._client(
        "SELECT address FROM keeper.audit_app_auditevent WHERE action = 'secret.create' ORDER BY id DESC LIMIT 1"
    )
    assert found.stdout.split() == [b"address", b"127.0.0.1"], found.stderr


def _a_rolling_restart_fails_no_read(production: Production) -> None:
    with Load(production, "rolling") as load:
        for port, web in zip(production.ports, production.webs, strict=True):
            load.for_more(reads=5)
            assert web.stop() == 0, production.last_lines()
            if web is production.webs[0]:
                # A release: the schema is brought up to date while the other replica serves.
                production.keeper("init-db")
            web.start()
            production.until(lambda port=port: _ready(port), "the replica came back")  # type: ignore[misc]
        load.for_more(reads=5, writes=3)
    production.note(f"both webs stopped and started one by one, init-db run between: {load.said()}")
    assert not load.unanswered
    assert not load.wrong
    assert not load.lost()


def _what_was_answered_survives_the_database(production: Production) -> None:
    with Load(production, "database") as load:
        load.for_more(reads=5, writes=5)
        production.database.kill()
        production.until(lambda: bool(load.refused) and bool(load.unanswered), "the loss was noticed")
        production.note("MariaDB killed (SIGKILL)")
        production.database.start_again()
        load.for_more(reads=5, writes=5)
    production.note(f"MariaDB started again: {load.said()}")
    assert not load.wrong
    assert not load.lost()
    assert set(load.refused + load.unanswered) <= {0, 500, 502, 503, 504}
    verified = production.keeper("verify-audit")
    assert "damage" not in verified.lower() or "no damage" in verified.lower(), verified


def _values_are_served_without_redis_and_work_goes_on_after_it(production: Production) -> None:
    with Load(production, "redis") as load:
        load.for_more(reads=5)
        production.redis.kill()
        production.until(lambda: _checks(production).get("broker") is False, "the loss was noticed")
        load.for_more(reads=10, writes=3)
        production.note(f"Redis killed; /readyz says degraded: {load.said()}")
        production.redis.start_again()
        load.for_more(reads=5, writes=3)
    production.note(f"Redis started again: {load.said()}")
    assert not load.wrong
    assert not load.lost()
    production.until(lambda: _all_well(production), "the worker came back")
    assert not production.worker.ended
    assert not production.beat.ended


def _a_killed_worker_takes_its_work_up_again(production: Production) -> None:
    production.worker.kill()
    production.note("the worker killed (SIGKILL)")
    # Those that it forked have its socket too, and each ends for itself.
    production.until(lambda: not accepts(production.worker_metrics), "nobody listens any more")
    production.worker.start()
    production.until(lambda: accepts(production.worker_metrics), "the worker came back")
    production.until(lambda: _all_well(production), "its heartbeat came back")


def _without_kms_nothing_wrong_is_served_and_it_mends_by_itself(production: Production) -> None:
    with Load(production, "kms") as load:
        load.for_more(reads=5, writes=3)
        production.lose_kms()
        # Until the data keys in memory are too old, values go on opening.
        production.until(lambda: bool(load.unanswered) and bool(load.refused), "the loss was noticed")
        production.note(f"KMS is away: {load.said()}")
        production.reach_kms()
        load.for_more(reads=5, writes=5)
        # Each process leaves KMS alone for a while of its own, after which its next request tries.
        load.steady(LONGEST_PAUSE + 2)
    production.note(f"KMS is back: {load.said()}")
    assert not load.wrong
    assert not load.lost()
    assert set(load.unanswered + load.refused) == {503}
    production.until(lambda: _all_well(production), "every key opens again")


def _vault_gets_all_that_was_written_while_it_was_away(production: Production) -> None:
    target = _make_target(production)
    with Load(production, "vault") as load:
        load.for_more(reads=3, writes=3)
        production.until(lambda: sum(_is_delivered(production, load)) > 1, "the first were delivered")
        production.lose_vault()
        load.for_more(reads=5, writes=3)
        production.until(lambda: bool(_target(production, target).get("last_error")), "the loss was noticed")
        production.note(
            f"the way to Vault cut; its target says: {_target(production, target).get('last_error')}"
        )
        production.reach_vault()
        load.for_more(reads=5, writes=2)
    production.note(f"Vault can be reached again: {load.said()}")
    assert not load.wrong
    assert not load.unanswered
    production.until(lambda: all(_is_delivered(production, load)), "Vault caught up")
    production.note(f"Vault holds each of the {len(load.stored)} values that were answered")
    assert not load.lost()


def _make_target(production: Production) -> int:
    body = {
        "name": "vault",
        "backend": "vault_kv2",
        "destination": {"address": f"http://127.0.0.1:{production.vault.port}", "prefix": "story"},
        "credentials": {"token": production.openbao_token},
        "scope": "vault",
        "automatic": True,
        "interval_seconds": 60,
    }
    status, made = production.ask("/api/environments/development/targets", role="manager", body=body)
    assert status == 201, made
    return int(made["id"])


def _target(production: Production, target: int) -> dict[str, Any]:
    return production.ask(f"/api/environments/development/targets/{target}", role="manager")[1]


def _is_delivered(production: Production, load: Load) -> Iterator[bool]:
    """Yield of each name, the last one first, whether Vault holds the very value that was written."""
    for name, value in reversed(dict(load.stored).items()):
        yield f'"{value}"' in production.in_vault(f"story/{name}")


def _everything_ends_when_it_is_asked_to_and_no_log_holds_a_value(production: Production) -> None:
    for process in (production.beat, production.worker, *production.webs):
        assert process.stop() == 0, production.last_lines()
    logs = production.logs()
    assert "canary-91c7" not in logs
    for line in logs.splitlines():
        if line.startswith("{"):
            assert json.loads(line)["level"] in {"debug", "info", "warning", "error", "critical"}


STEPS: Final = (
    _every_part_is_well,
    _plain_http_is_sent_on_and_tls_is_remembered,
    _metrics_are_not_for_the_world_and_a_worker_has_its_own,
    _the_trail_names_the_client_that_nginx_saw,
    _a_rolling_restart_fails_no_read,
    _what_was_answered_survives_the_database,
    _values_are_served_without_redis_and_work_goes_on_after_it,
    _a_killed_worker_takes_its_work_up_again,
    _without_kms_nothing_wrong_is_served_and_it_mends_by_itself,
    _vault_gets_all_that_was_written_while_it_was_away,
    _everything_ends_when_it_is_asked_to_and_no_log_holds_a_value,
)
