"""A restored installation sends nothing outward until somebody activates it, whatever is due and released."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch
from uuid import uuid4

import pytest
from celery import current_app as app
from django.core import mail
from django.utils import timezone
from pytest_django import Settings

from audit_app.sinks.delivery import deliver_events
from environments_app.models import Environment
from environments_app.notifications.recipients import add_recipient
from environments_app.notifications.service import raise_alert
from environments_app.tests.cast import Cast
from operations_app.backup.create import back_up
from operations_app.backup.restore import activate_here, release, restore, waiting
from operations_app.tasks import send_digest
from operations_app.tests.backup.making import OPERATOR
from secrets_app.tests.kept import keep
from secrets_app.webhooks import add_webhook
from sync_app.tests.shown import make_target

# These read what is needed to be asked, or to let people in: the identity provider's own document.
READS_ALONE = {
    "environments_app.tasks.refresh_oidc_providers",
    "environments_app.tasks.refresh_saml_metadata",
}


class Outside(BaseHTTPRequestHandler):
    """Everything that is not Keeper: it notes who was asked for."""

    got: ClassVar[set[str]]

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.got.add(self.path.split("/")[1])
        self.send_response(403 if self.path.startswith("/v1") else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST = do_PUT = answer  # noqa: N815 - the names of http.server

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def outside(settings: Settings, tmp_path: Path) -> Iterator[tuple[str, set[str]]]:
    handler: type[Outside] = type("Here", (Outside,), {"got": set()})
    settings.KEEPER_OUTBOUND_ALLOWED = ["127.0.0.0/8"]
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        settings.KEEPER_AUDIT_SINKS = [f"{address}/checkpoints", f"file:{tmp_path / 'anchors'}"]
        settings.KEEPER_EVENT_SINKS = [f"{address}/events"]
        settings.KEEPER_DATA_DIR = tmp_path / "data"
        settings.EMAIL_HOST, settings.KEEPER_DIGEST_HOUR = "mail.example", 0
        settings.KEEPER_REPORT_EMAILS, settings.KEEPER_REPORT_SCHEDULE = ["audit@example.com"], "weekly"
        settings.KEEPER_ALERT_EMAILS = ["operators@example.com"]
        yield address, handler.got
        server.shutdown()


def do_all_that_is_scheduled(settings: Settings) -> None:
    """Run each task of the schedule as a worker does; what one hands to another is run as well."""
    # The loader itself would set up logging anew, and leave the open file of the old one.
    app.autodiscover_tasks(force=True)
    with patch(
        "celery.app.base.Celery.send_task", lambda app, name, args=(), *_, **__: app.tasks[name](*args)
    ):
        for entry in settings.CELERY_BEAT_SCHEDULE.values():
            if entry["task"] not in READS_ALONE:
                app.tasks[entry["task"]]()


def left(got: set[str]) -> set[str]:
    """Return all that was told or asked outside, and forget it."""
    subjects = {message.subject.partition(":")[0] for message in mail.outbox}
    found = {*got, *subjects}
    mail.outbox.clear()
    got.clear()
    return found


def be_told(cast: Cast, environment: Environment, address: str) -> None:
    """Have everybody and everything told of an environment, and something to tell."""
    alice = cast.principal(cast.alice)
    add_recipient(actor=alice, environment=environment, email="team@example.com")
    add_webhook(actor=alice, environment=environment, name="ops", url=f"{address}/webhook")
    make_target(
        environment,
        destination={"address": address, "mount": "secret", "prefix": "p"},
        endpoint=address,
        automatic=True,
        interval_seconds=60,
    )
    keep(cast, "pay/soon", expires_at=timezone.now() + timedelta(days=3))
    # A new sink begins with what comes: these have begun.
    deliver_events()


@pytest.mark.django_db(transaction=True)
@pytest.mark.every_database
def test_nothing_leaves_before_somebody_activates_it(
    cast: Cast, settings: Settings, outside: tuple[str, set[str]], tmp_path: Path
) -> None:
    address, got = outside
    be_told(cast, cast.development, address)
    left(got)
    restore(back_up(actor=OPERATOR, path=tmp_path / "made.kbk").path, replace=True)
    for each in list(waiting(actor=OPERATOR)):
        release(actor=OPERATOR, kind=each.kind, uuid=each.uuid)
    raise_alert(kind="drill", about=uuid4(), environment=cast.development, subject="development: a drill")

    do_all_that_is_scheduled(settings)
    send_digest(cast.alice.pk)
    assert left(got) == set()

    activate_here(actor=OPERATOR)
    do_all_that_is_scheduled(settings)
    assert left(got) >= {
        "[Keeper] development",
        "Keeper",
        "webhook",
        "checkpoints",
        "events",
        "v1",
    }
