"""The canary where nobody means to put it: the broker, crash reports, the admin, single sign-on, many at once.

The flows of test_canary_value.py and test_canary_on_its_way.py replace the broker. Here messages are read
as they lie in a real one, and a fault is let through to the last handler.
"""

import base64
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from celery import current_app
from django.contrib import admin
from django.contrib.admin.models import LogEntry as AdminLog
from django.test import Client
from django.urls import NoReverseMatch, reverse
from pytest_django import Settings
from redis import Redis
from structlog.stdlib import ProcessorFormatter

from core.http.json import JsonRenderer
from environments_app.environments import memberships
from environments_app.models import User
from environments_app.tests.cast import Cast
from keeper_project.observability.logging import FILE_BYTES, SharedRotatingFileHandler, _formatter, _json
from operations_app import tasks as project_tasks
from secrets_app import tasks as secret_tasks
from secrets_app.models import DataKey, Secret
from secrets_app.services import lifecycle
from secrets_app.services.share import share_once
from secrets_app.tests.kept import keep, send
from secrets_app.webhooks import add_webhook
from sync_app.rotation.execution.requests import request_rotation
from sync_app.rotation.policies import service as policies
from sync_app.runs import runner as runs_runner
from sync_app.tests.shown import make_target
from tests.canary import CANARY, found_in, traces
from tests.saml_idp.provider import Answer, Provider, encoded, read_request

_DATABASE = 9


# --- The broker ------------------------------------------------------------------------------------


def in_redis(address: str) -> list[bytes]:
    with Redis.from_url(address) as client:
        readers: dict[bytes, Callable[[bytes], Any]] = {
            b"list": lambda key: client.lrange(key, 0, -1),
            b"hash": client.hgetall,
            b"set": client.smembers,
            b"zset": lambda key: client.zrange(key, 0, -1),
            b"string": client.get,
        }
        held = [readers[client.type(key)](key) for key in client.keys("*")]
    return [part for each in held for part in _flat(each)]


def _flat(held: Any) -> Iterator[bytes]:
    if isinstance(held, dict):
        held = [*held.keys(), *held.values()]
    yield from held if isinstance(held, list | set) else [held]


def opened(message: bytes) -> list[bytes]:
    """Return a message as it lies there, and its body as a worker would read it."""
    try:
        said = json.loads(message)
    except ValueError:
        return [message]
    body = said.get("body", "") if isinstance(said, dict) else ""
    return [message, base64.b64decode(body)] if body else [message]


@pytest.fixture
def broker(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[bytes]]]:
    """Let messages go to a real broker that no worker empties; the result reads them as they lie there."""
    app: Any = current_app
    monkeypatch.delenv("CELERY_BROKER_URL", raising=False)
    settings.KEEPER_EMBEDDED_WORKER = False
    given = os.environ.get("KEEPER_TEST_REDIS_URL")
    assert given, "Redis is not there: run the tests with make test, or by python -m tests.servers -- pytest"
    address = f"{given.rpartition('/')[0]}/{_DATABASE}"
    with _connected(app, address, {}):
        yield lambda: in_redis(address)
    with Redis.from_url(address) as client:
        client.flushdb()


@contextmanager
def _connected(app: Any, address: str, options: dict[str, str]) -> Iterator[None]:
    was = app.conf.broker_url, app.conf.broker_write_url, app.conf.broker_transport_options
    app.conf.broker_url = app.conf.broker_write_url = address
    app.conf.broker_transport_options = options
    _forget_connections(app)
    try:
        yield
    finally:
        app.conf.broker_url, app.conf.broker_write_url, app.conf.broker_transport_options = was
        _forget_connections(app)


def _forget_connections(app: Any) -> None:
    if app._pool is not None:
        app._pool.force_close_all()
    app._pool = None
    app.amqp._producer_pool = None


@pytest.mark.django_db(transaction=True)
def test_no_message_and_no_result_holds_it(
    broker: Callable[[], list[bytes]],
    cast: Cast,
    signed_in: Callable[[User], Client],
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    caplog.set_level("INFO")
    alice = cast.principal(cast.alice)
    target = make_target(cast.development, direction="push")
    secret = keep(cast, "turned", CANARY)
    runs_runner.request_sync(actor=alice, target=target)
    policy = policies.create(
        actor=alice, secret=secret, rotator="generated", settings={}, credentials={}, grace_seconds=0
    )
    request_rotation(actor=alice, policy=policy)
    root = signed_in(cast.root)
    where = reverse("admin:secrets_app_datakey_changelist")
    chosen = {"action": "check_now", "_selected_action": [str(DataKey.objects.latest("pk").pk)]}
    assert root.post(where, chosen).status_code == 302
    secret_tasks.check_keys.delay()
    project_tasks.send_digest.delay(cast.alice.pk)
    lying = [part for message in broker() for part in opened(message)]
    names = b" ".join(lying)
    for task in ("execute_run", "check_requested_keys", "send_digest"):
        assert task.encode() in names, task
    assert [found_in(part) for part in lying if found_in(part)] == []
    results = done_by_a_worker(lying)
    assert len(results) >= 3
    assert traces(caplog=caplog, folders=[tmp_path], answers=[*lying, *results]) == []


def done_by_a_worker(lying: list[bytes]) -> list[bytes]:
    """Carry out what the messages ask for, and return what each would leave as its result."""
    conf: Any = current_app.conf
    assert (conf.task_ignore_result, conf.result_backend) == (True, None)
    results = []
    # A process of tests has loaded no tasks that it did not import. (What a worker calls sets up Django anew, with
    # its logging, which drops the log file that is open.)
    current_app.autodiscover_tasks(force=True)
    for message in lying:
        said = json.loads(message) if message.startswith(b"{") else {}
        if "body" in said:
            arguments, named, _ = json.loads(base64.b64decode(said["body"]))
            done = current_app.tasks[said["headers"]["task"]].apply(arguments, named)
            results.append(repr((done.state, done.result, done.traceback)).encode())
    return results


# --- Faults ------------------------------------------------------------------------------------------


@pytest.fixture
def log_file(tmp_path: Path) -> Iterator[Path]:
    """Log to a file too, in the form of production."""
    path = tmp_path / "keeper.log"
    form = _formatter(_json())
    handler = SharedRotatingFileHandler(str(path), max_bytes=FILE_BYTES, backups=1)
    handler.setFormatter(
        ProcessorFormatter(foreign_pre_chain=form["foreign_pre_chain"], processors=form["processors"])
    )
    logging.root.addHandler(handler)
    yield path
    logging.root.removeHandler(handler)
    handler.close()


def test_a_crash_with_it_in_hand_leaves_it_nowhere(
    cast: Cast,
    signed_in: Callable[[User], Client],
    bearer: Callable[..., Client],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    log_file: Path,
) -> None:
    """Every frame between the request and the fault has the value in a local variable."""

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("a defect")

    place = cast.development
    secret = keep(cast, "there", CANARY)
    page, api = signed_in(cast.alice), bearer("manager", place)
    page.raise_request_exception = api.raise_request_exception = False
    form = {"environment": place.name, "name": "page/key", "secret_type": "TEXT", "value": CANARY}
    body = {"environment_id": place.pk, "name": "api/key", "secret_type": "TEXT", "value": CANARY}
    with monkeypatch.context() as faulty:
        faulty.setattr("secrets_app.rows.store.record_many", broken)
        answers = [
            page.post("/secrets/new", form),
            send(api, "POST", "/api/secrets", body),
            send(api, "PUT", f"/api/secrets/{secret.pk}", {"value": f"{CANARY} again"}),
        ]
    # And on the way out, with the opened value in hand.
    with monkeypatch.context() as faulty:
        faulty.setattr("secrets_app.views.secrets.render_page", broken)
        # The answer to the fault is written.
        faulty.setattr("core.http.json.ProblemRenderer.render", JsonRenderer.render)
        faulty.setattr("core.http.json.JsonRenderer.render", broken)
        answers.append(page.post(f"/secrets/{secret.pk}/reveal"))
        answers.append(page.get(f"/api/secrets/{secret.pk}"))
    assert [answer.status_code for answer in answers] == [500] * len(answers)
    logged = log_file.read_text()
    assert logged.count("RuntimeError: a defect") >= len(answers)
    left = traces(caplog=caplog, folders=[log_file.parent], answers=[each.content for each in answers])
    assert left == []


# --- Files that are there for a moment -----------------------------------------------------------------


@contextmanager
def opened_for_writing() -> Iterator[list[str]]:
    """Give the files that this process opens to write, however short they live."""
    written: list[str] = []
    watching = True

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if watching and event == "open" and (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            written.append(str(arguments[0]))

    # A hook stays for the life of the process, and does nothing from then on.
    sys.addaudithook(hook)
    try:
        yield written
    finally:
        watching = False


def test_the_watch_sees_a_file_that_is_gone(tmp_path: Path) -> None:
    with opened_for_writing() as written:
        (tmp_path / "gone").write_text("x")
        (tmp_path / "gone").unlink()
    assert written == [str(tmp_path / "gone")]


@pytest.mark.django_db
@pytest.mark.parametrize("form", ["dotenv", "json", "yaml", "csv", "shell"])
def test_no_file_holds_an_export_on_its_way(
    cast: Cast, signed_in: Callable[[User], Client], form: str
) -> None:
    keep(cast, "GOES", CANARY)
    page = signed_in(cast.alice)
    # What is loaded on first use is loaded.
    page.post("/secrets/export", {"environment": "development", "format": form})
    with opened_for_writing() as written:
        answer = page.post("/secrets/export", {"environment": "development", "format": form})
        body = b"".join(answer) if answer.streaming else answer.content
    assert answer.status_code in {200, 422}
    assert (answer.status_code == 422) or found_in(body)
    assert written == []


# --- Many at once ---------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_many_copied_and_moved_leave_it_nowhere(
    cast: Cast, signed_in: Callable[[User], Client], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level("INFO")
    page = signed_in(cast.alice)
    kept = [keep(cast, f"many/{number}", f"{CANARY} {number}") for number in range(3)]
    keep(cast, "many/1", CANARY, environment=cast.production)
    answers = []
    for act in ("copy", "move"):
        seen = [f"{each.pk}:{Secret.objects.get(pk=each.pk).etag}" for each in kept]
        form = {"act": act, "pick": seen, "environment": "production"}
        answers += [page.post("/secrets/bulk", form | {"step": step}).content for step in ("look", "apply")]
        rows = Secret.objects.select_related("environment").filter(environment=cast.production)
        for there in rows.exclude(name="many/1").filter(live=True):
            lifecycle.rename(actor=cast.principal(cast.alice), secret=there, name=f"was/{there.pk}")
    # One name was taken there: a result of each tells so.
    assert Secret.objects.filter(environment=cast.development, live=None).exists()
    assert traces(caplog=caplog, folders=[tmp_path], answers=answers) == []


# --- The admin ------------------------------------------------------------------------------------------


def furnish_with_it(cast: Cast) -> None:
    """Keep it wherever a row may hold it sealed: values, credentials, an address."""
    alice = cast.principal(cast.alice)
    secret = keep(cast, "admin/key", CANARY)
    share_once(actor=alice, secret=secret)
    add_webhook(
        actor=alice,
        environment=cast.development,
        name="chat",
        url=f"https://hooks.example/{CANARY.encode().hex()}",
    )
    policies.create(
        actor=alice, secret=secret, rotator="generated", settings={}, credentials={}, grace_seconds=0
    )
    make_target(cast.development)
    memberships.grant(actor=alice, environment=cast.development, user=cast.charlie, role="viewer")


@pytest.mark.django_db
def test_no_page_of_the_admin_shows_it(
    cast: Cast, signed_in: Callable[[User], Client], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level("INFO")
    furnish_with_it(cast)
    root = signed_in(cast.root)
    answers = []
    for model in admin.site._registry:
        base = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        row = model._default_manager.first()
        pages = [("changelist", ()), ("changelist", "?q=c4n4ry"), ("add", ())]
        pages += [(name, (row.pk,)) for name in ("change", "history", "delete")] if row else []
        for name, arguments in pages:
            query = arguments if isinstance(arguments, str) else ""
            try:
                path = reverse(f"{base}_{name}", args=() if query else arguments)
            except NoReverseMatch:
                continue
            answers.append(root.get(path + query).content)
    # A form that is refused, with the value in it; one of another type; and a search for it.
    form = {"environment": cast.development.pk, "name": "/ /", "secret_type": "TEXT", "value": CANARY}
    root.post("/admin/secrets_app/secret/add/", form)
    answers.append(
        root.post(
            "/admin/secrets_app/secret/add/", form | {"name": "x", "secret_type": "CERTIFICATE"}
        ).content
    )
    assert len(answers) > 100
    assert not AdminLog.objects.exists()
    assert traces(caplog=caplog, folders=[tmp_path], answers=answers) == []


# --- Single sign-on ---------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_an_attribute_that_keeper_does_not_ask_for_is_left_nowhere(
    cast: Cast, settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A provider may send more than it was asked for: a password, a token of another application."""
    caplog.set_level("DEBUG")
    provider = Provider(tmp_path / "idp")
    (tmp_path / "metadata.xml").write_text(provider.metadata())
    settings.KEEPER_SAML, settings.KEEPER_URL = True, "http://testserver"
    settings.KEEPER_SAML_METADATA_FILE = str(tmp_path / "metadata.xml")
    settings.KEEPER_SAML_KEY_FILE = str(tmp_path / "saml.key")
    settings.KEEPER_SAML_CERTIFICATE_FILE = str(tmp_path / "saml.crt")
    settings.KEEPER_DATA_DIR = tmp_path
    more = {"groups": ["staff"], "legacyPassword": [CANARY]}
    answers: list[bytes] = []
    for wrong in ({}, {"audience": "https://another.example"}, {"ends": -600}):
        client = Client()
        asked = read_request(client.get("/saml/start")["Location"])
        answer = Answer(request_id=asked.id, acs=asked.acs, audience=asked.issuer, attributes=more)
        text = provider.respond(replace(answer, **wrong))
        posted = Client().post("/saml/acs", {"SAMLResponse": encoded(text)})
        answers.append(posted.content)
        if posted.status_code == 302:
            # Before it is used up and after.
            assert traces(caplog=caplog, folders=[tmp_path], answers=answers) == []
            answers.append(client.get(posted["Location"]).content)
        assert (posted.status_code == 302) is (not wrong), posted.content
    assert User.objects.filter(saml_name_id="alice@example.com").exists()
    assert traces(caplog=caplog, folders=[tmp_path], answers=answers) == []
