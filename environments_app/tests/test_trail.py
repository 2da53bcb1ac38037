"""The integrity of the trail by page and API: what an administrator sees, and that looking is recorded."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from audit_app.checkpoints.schedule import anchor_log
from audit_app.interfaces import keyring
from audit_app.models import AuditEvent, Checkpoint
from audit_app.retention.schedule import prune_if_due
from environments_app.models import User
from environments_app.operator_jobs import Extent, verify_log
from environments_app.tests.cast import Cast

pytestmark = pytest.mark.django_db
SignedIn = Callable[[User], Client]


@pytest.fixture
def browser(cast: Cast, signed_in: SignedIn, settings: Settings, tmp_path: Path) -> Client:
    settings.KEEPER_AUDIT_SINKS = [f"file:{tmp_path}"]
    keyring().open_all()
    anchor_log(at_once=True)
    return signed_in(cast.root)


def test_the_page_shows_what_is_signed_where_and_by_which_key(browser: Client, tmp_path: Path) -> None:
    page = browser.get("/integrity/trail", follow=True).content.decode()
    (key,) = keyring().public_keys().values()
    assert key.hex() in page
    assert f"checkpoints:file:{tmp_path}" in browser.get("/admin/audit/?tab=sinks").text


@pytest.mark.parametrize("extent", ["full", "since-checkpoint"])
def test_a_sound_trail_is_said_to_be_sound_and_the_check_recorded(browser: Client, extent: str) -> None:
    found = browser.post("/api/trail/verify", {"extent": extent}, content_type="application/json").json()
    assert (found["sound"], found["problems"]) == (True, [])
    assert AuditEvent.objects.get(action="trail.verify").outcome == "allowed"
    assert browser.get("/integrity").context["verified"].outcome == "allowed"


def test_damage_is_named_by_the_api(browser: Client, sql: Callable[..., None]) -> None:
    sql("UPDATE audit_app_auditevent SET actor_name = 'mallory' WHERE stream = 'system' AND sequence = 1")
    answer = browser.post("/api/trail/verify", {"extent": "full"}, content_type="application/json").json()
    assert not answer["sound"]
    assert (answer["problems"][0]["kind"], answer["problems"][0]["sequence"]) == ("edited", 1)
    assert {event.outcome for event in AuditEvent.objects.filter(action="trail.verify")} == {"failed"}


def test_the_public_keys_are_published(browser: Client) -> None:
    ((key_id, key),) = keyring().public_keys().items()
    assert browser.get("/api/trail/keys").json() == [
        {"id": str(key_id), "algorithm": "ed25519", "public_key": key.hex()}
    ]


def test_who_reads_the_trail_is_recorded_and_not_what_they_typed(browser: Client, cast: Cast) -> None:
    for _ in range(3):
        browser.get("/activity?outcome=failed&q=typed-by-hand&environment=production&since=2026-01-02")
    browser.get("/api/events?object=typed-by-hand&environment=typed-by-hand")
    browser.get("/admin/audit_app/auditevent/?q=typed-by-hand")
    views = AuditEvent.objects.filter(action="trail.view").order_by("sequence")
    assert [json.loads(view.details)["face"] for view in views] == ["page", "api", "admin"]
    assert {view.actor_name for view in views} == {cast.root.username}
    assert json.loads(views[0].details)["filters"] == {
        "environment": "production",
        "outcome": "failed",
        "since": "2026-01-02T00:00:00.000000+00:00",
        "text": "typed",
    }
    assert not AuditEvent.objects.filter(details__contains="typed-by-hand").exists()


def test_who_reads_their_own_events_alone_is_recorded_too(cast: Cast, signed_in: SignedIn) -> None:
    assert signed_in(cast.charlie).get("/activity").status_code == 200
    assert [event.actor_name for event in AuditEvent.objects.filter(action="trail.view")] == ["charlie"]


def test_it_shows_what_retention_will_take_out_and_took(
    browser: Client, cast: Cast, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "off: all events are kept" in browser.get("/admin/audit/?tab=retention").text
    settings.KEEPER_AUDIT_RETENTION_DAYS = 100
    settings.KEEPER_AUDIT_ARCHIVE_DIR = str(tmp_path / "archive")
    settings.KEEPER_AUDIT_SINKS = [f"file:{tmp_path / 'retained'}"]
    real = timezone.now
    with monkeypatch.context() as then:
        then.setattr("django.utils.timezone.now", lambda: real() - timedelta(days=200))
        for _ in range(3):
            verify_log(actor=cast.principal(cast.root), extent=Extent.SINCE_CHECKPOINT)
        Checkpoint.objects.all()._raw_delete("default")
        anchor_log(at_once=True)
    page = browser.get("/admin/audit/?tab=retention").text
    assert "once they are archived: 3 events" in page
    done = prune_if_due()
    assert done
    assert "once they are archived: 0 events" in browser.get("/admin/audit/?tab=retention").text
    page = browser.get("/admin/audit/?tab=evidence").text
    assert done.bundle.name in page
    assert done.sha256 in page
    done.bundle.unlink()
    assert "elsewhere" in browser.get("/admin/audit/?tab=evidence").text


def test_the_list_of_activity_is_filtered_by_its_address(browser: Client, cast: Cast) -> None:
    browser.post("/api/trail/verify", {"extent": "full"}, content_type="application/json")
    for query, shown in (
        ("action=trail.verify", True),
        (f"actor={cast.root.username}", True),
        ("q=all+str", True),
        ("q=nothing", False),
        ("since=2999-01-01", False),
        ("until=2999-01-01&action=trail.verify", True),
        ("environment=production&action=trail.verify", False),
    ):
        # The filters offer every act by its words; what was found stands behind them.
        found = browser.get(f"/activity?{query}").content.decode().partition('id="results"')[2]
        assert ("verified the audit log of" in found) is shown, query
