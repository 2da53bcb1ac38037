"""Whatever a server does, each client of Keeper ends within its time, has read little, and says so plainly.

A client of another system is one of CLIENTS; a test finds the modules that could be one and are not.
"""

import json
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.core.mail import EmailMessage
from pytest_django import Settings

from audit_app.errors import BadCheckpoint, SinkDown
from audit_app.sinks import s3
from audit_app.sinks.registry import sink_at
from core.errors import AnswerTooLarge, AnswerUnreadable, DeadlinePassed, OutboundError
from core.network import limits, outbound
from core.network.mail import EmailBackend
from environments_app.errors import SignOnUnavailable
from environments_app.notifications.email import EmailTransport
from environments_app.notifications.service import Undeliverable
from environments_app.saml.metadata import fetched
from secrets_app import webhooks
from secrets_app.errors import KeyUnavailable
from secrets_app.keys.providers.aws_kms.provider import KmsProvider
from sync_app.backends.aws.secrets_manager import AwsSecretsManager
from sync_app.backends.vault.backend import VaultKv2
from sync_app.errors import BackendError
from sync_app.jobs.request_limit import limit_requests
from sync_app.rotators.aws_iam.rotator import AwsIam
from sync_app.rotators.base import LoginAnswer, Rotator
from sync_app.rotators.mysql.rotator import MySql
from sync_app.rotators.postgresql.rotator import PostgreSql
from tests import hostile

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 1.0
# For a client of a few requests, on a machine that is busy with other things. Without limits: for ever.
PATIENCE = 60.0
# The largest answer to any request, and what buffers of the kernel hold besides.
MOST_SENT = 24 * 1024 * 1024
AWS = {"access_key_id": "AKIAIOSFODNN7EXAMPLE", "secret_access_key": "k"}
KMS_KEY = "arn:aws:kms:eu-central-1:111122223333:key/11111111-2222-3333-4444-555555555555"
LOGINS = {"login_a": "app_a", "login_b": "app_b", "tls": "off", "host": "127.0.0.1"}


def ask_session(base: str, port: int) -> None:
    with outbound.session() as session:
        session.get(f"{base}:{port}/")


def ask_vault(base: str, port: int) -> None:
    with VaultKv2(destination={"address": f"{base}:{port}"}, credentials={"token": "t"}) as backend:
        backend.check_connection()


def ask_aws(base: str, port: int) -> None:
    destination = {
        "region": "eu-central-1", "endpoint": f"{base}:{port}", "sts_endpoint": f"{base}:{port}"
    }  # fmt: skip
    with AwsSecretsManager(destination=destination, credentials=AWS) as backend:
        backend.check_connection()


def ask_kms(base: str, port: int) -> None:
    provider = KmsProvider()
    assert str(port) in provider._client.meta.endpoint_url
    provider.describe(KMS_KEY)


def ask_iam(base: str, port: int) -> None:
    settings = {"user_name": "app", "iam_endpoint": f"{base}:{port}", "sts_endpoint": f"{base}:{port}"}
    AwsIam(settings=settings, admin=AWS).check_setup(json.dumps({"AccessKeyId": "A", "SecretAccessKey": "s"}))


def write_to_webhook(base: str, port: int) -> None:
    sink_at(f"{base}:{port}/lines", what="events").write([b"{}\n"], number=1)


def write_to_s3(base: str, port: int) -> None:
    address = f"s3://bucket/prefix?region=eu-central-1&endpoint={base}:{port}"
    sink_at(address, what="checkpoints").write([b"{}\n"], number=1)


def read_from_s3(base: str, port: int) -> None:
    address = f"s3://bucket/prefix?region=eu-central-1&endpoint={base}:{port}"
    sink: Any = sink_at(address, what="checkpoints")
    with sink._client() as client:
        sink._get(client, "name")


def post_notification(base: str, port: int) -> None:
    webhooks.post(f"{base}:{port}/hook", b"{}", {})


def fetch_metadata(base: str, port: int) -> None:
    fetched(f"{base}:{port}/metadata")


OVER_HTTP = [
    ask_session,
    ask_vault,
    ask_aws,
    ask_kms,
    ask_iam,
    write_to_webhook,
    write_to_s3,
    read_from_s3,
    post_notification,
    fetch_metadata,
]


def write_to_syslog(_base: str, port: int) -> None:
    sink_at(f"syslog+tls://127.0.0.1:{port}", what="events").write([b"{}\n"], number=1)


def send_mail(_base: str, port: int) -> None:
    message = EmailMessage(subject="s", body="b", to=["a@example.org"])
    EmailBackend(host="127.0.0.1", port=port, use_tls=False, timeout=SECONDS).send_messages([message])  # type: ignore[arg-type]  # the stub knows whole seconds


def send_mail_over_tls(_base: str, port: int) -> None:
    message = EmailMessage(subject="s", body="b", to=["a@example.org"])
    EmailBackend(host="127.0.0.1", port=port, use_ssl=True, use_tls=False, timeout=SECONDS).send_messages(  # type: ignore[arg-type]  # as above
        [message]
    )


def log_in(rotator: Rotator, engine: str) -> None:
    value = json.dumps({"engine": engine, "username": "app_a", "password": "p"})
    probe = rotator.probe(value)
    assert probe.answer is LoginAnswer.UNKNOWN
    rotator.check_setup(value)


def log_in_to_mysql(_base: str, port: int) -> None:
    settings = LOGINS | {"port": str(port)}
    log_in(MySql(settings=settings, admin={"username": "root", "password": "p"}), "mysql")


def log_in_to_mysql_over_tls(_base: str, port: int) -> None:
    settings = LOGINS | {"port": str(port), "tls": "verify-ca"}
    log_in(MySql(settings=settings, admin={"username": "root", "password": "p"}), "mysql")


def log_in_to_postgresql(_base: str, port: int) -> None:
    settings = LOGINS | {"port": str(port)}
    log_in(PostgreSql(settings=settings, admin={"username": "root", "password": "p"}), "postgres")


OTHERS = [
    write_to_syslog,
    send_mail,
    send_mail_over_tls,
    log_in_to_mysql,
    log_in_to_mysql_over_tls,
    log_in_to_postgresql,
]
PLAIN = (
    BackendError,
    SinkDown,
    BadCheckpoint,
    Undeliverable,
    SignOnUnavailable,
    KeyUnavailable,
    OutboundError,
    OSError,
)
# Modules that send requests, and are tried above or send only by what is.
CLIENTS = {
    "core/network/outbound.py",
    "core/network/aws.py",
    "core/network/limits.py",
    "core/network/mail.py",
    "audit_app/sinks/s3.py",
    "audit_app/sinks/syslog.py",
    "secrets_app/keys/providers/aws_kms/provider.py",
    "sync_app/backends/aws/connection.py",
    "sync_app/rotators/mysql/client.py",
    "sync_app/rotators/postgresql/client.py",
    # Keeper's own Redis, with timeouts and a bound on the whole (operations_app.health.probes).
    "operations_app/health/probes.py",
}
SENDS = re.compile(
    r"create_connection|\.wrap_socket\(|PoolManager\(|requests\.(get|post|put|request|Session)\(|urlopen\("
    r"|boto3\.(client|resource|session)|URLLib3Session|smtplib\.SMTP(_SSL)?\)|hvac\.Client|connect_start"
    r"|pymysql\.connect\(|Connection\.connect\(|_StrictConnection\(|Redis\.from_url|http\.client|\.connect\(\("
)


@pytest.fixture(autouse=True)
def impatient(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.KEEPER_OUTBOUND_ALLOWED = ["127.0.0.0/8"]
    settings.KEEPER_OUTBOUND_SECONDS = SECONDS
    settings.KMS_TIMEOUT_SECONDS = SECONDS
    settings.AWS_REGION = "eu-central-1"
    settings.KMS_ALLOWED_KEYS = [KMS_KEY]
    for kind in (VaultKv2, AwsSecretsManager, AwsIam):
        monkeypatch.setattr(kind, "timeout_seconds", SECONDS)
    for each in (MySql, PostgreSql):
        monkeypatch.setattr(each, "probe_seconds", 1)
    for name, text in (("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "k")):
        monkeypatch.setenv(name, text)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def seen_off(ask: Callable[[str, int], None], base: str, server: hostile.Hostile) -> str:
    """Have a client ask a hostile server; return what it says when it gives up, in time."""
    started = time.monotonic()
    try:
        ask(base, server.port)
    except PLAIN as error:
        assert time.monotonic() - started < PATIENCE, ask.__name__
        return str(error)
    raise AssertionError(f"{ask.__name__} took what came for an answer")


def all_seen_off(clients: Sequence[Callable[[str, int], None]], base: str, server: hostile.Hostile) -> None:
    """Have all clients ask at once, each of which gives up in time, with little read."""
    pool = ThreadPoolExecutor(len(clients))
    try:
        for said in [pool.submit(seen_off, ask, base, server) for ask in clients]:
            assert said.result(PATIENCE)
    finally:
        # Whoever still waits does so until the server ends.
        pool.shutdown(wait=False)
    assert server.connections
    assert server.sent < len(clients) * MOST_SENT


@pytest.mark.parametrize("behaviour", hostile.HTTP)
def test_it_ends_in_time_and_reads_little(
    behaviour: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "deployment_uuid", uuid4)
    with hostile.serving(hostile.HTTP[behaviour]) as server:
        base = f"{'https' if 'certificate' in behaviour else 'http'}://127.0.0.1"
        settings.AWS_ENDPOINT_URL_KMS = f"{base}:{server.port}"
        all_seen_off(OVER_HTTP, base, server)


@pytest.mark.parametrize("behaviour", hostile.GREETINGS)
def test_other_protocols_end_in_time_and_read_little(behaviour: str) -> None:
    with hostile.serving(hostile.GREETINGS[behaviour]) as server:
        all_seen_off(OTHERS, "", server)


def test_a_certificate_that_drips_is_not_waited_for() -> None:
    with hostile.serving(hostile.HTTP["drips its certificate"]) as server:
        all_seen_off([write_to_syslog, send_mail_over_tls, log_in_to_postgresql], "", server)


def test_it_says_what_happened_in_plain_words() -> None:
    with hostile.serving(hostile.HTTP["drips a body"]) as server:
        said = seen_off(ask_vault, "http://127.0.0.1", server)
    assert said == "Vault: there was no whole answer within 1 seconds"


def test_a_length_that_is_too_large_is_refused_before_the_rest_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(VaultKv2, "timeout_seconds", PATIENCE)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 838860800\r\n\r\n"
    for words in (lambda: hostile.drip(head), hostile.HTTP["announces 800 MB"]):
        with hostile.serving(words) as server:
            said = seen_off(ask_vault, "http://127.0.0.1", server)
        assert said == "Vault: the answer is larger than 4,096 KiB"


def test_what_a_library_in_c_reads_is_counted() -> None:
    with (
        hostile.serving(lambda: hostile.flood(b"")) as server,
        limits.limited(PATIENCE, most=100_000),
        limits.opened(["127.0.0.1"], server.port) as line,
    ):
        counted, received = limits.Counted(line.fileno()), 0
        while received < 200_000:
            received += len(socket.socket.recv(line, 65_536))
        with pytest.raises(AnswerTooLarge):
            counted.refuse_large()
    with (
        hostile.serving(hostile.silence) as server,
        limits.limited(PATIENCE, most=100_000),
        limits.opened(["127.0.0.1"], server.port) as line,
    ):
        limits.Counted(line.fileno()).refuse_large()


def test_tests_that_somebody_waits_for_are_bounded_together() -> None:
    with limit_requests(), limits.limited(PATIENCE) as limit:
        assert limit.seconds_left() <= 2 * SECONDS


def test_a_small_answer_does_not_become_a_large_one() -> None:
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 20\r\n\r\n" + b"\x1f\x8b" + b"0" * 18
    )
    with hostile.serving(lambda: [head]) as server:
        with outbound.session() as session, pytest.raises(AnswerUnreadable):
            session.get(f"http://127.0.0.1:{server.port}/")
        with pytest.raises(BackendError):
            ask_vault("http://127.0.0.1", server.port)


def test_a_name_server_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, over, came_back = threading.Event(), threading.Event(), threading.Event()

    def never(*args: object, **kwargs: object) -> list[object]:
        asked.set()
        over.wait(2 * PATIENCE)
        came_back.set()
        return []

    monkeypatch.setattr(socket, "getaddrinfo", never)
    with pytest.raises(DeadlinePassed, match=r"no name server answered for vault\.example"):
        outbound.permitted_addresses("vault.example", 443, encrypted=True)
    assert asked.wait(PATIENCE)
    assert not came_back.is_set()
    over.set()
    assert came_back.wait(PATIENCE)


def test_a_request_within_another_has_no_more_time() -> None:
    with limits.limited(5), limits.limited(500) as inner:
        assert inner.seconds_left() <= 5
    with limits.limited(0.001) as limit:
        time.sleep(0.002)
        with pytest.raises(DeadlinePassed):
            limit.seconds_left()
    with limits.limited(5, most=10) as limit:
        limit.count(10)
        with pytest.raises(AnswerTooLarge):
            limit.count(1)


def test_a_connection_sends_nothing_outside_a_request() -> None:
    with hostile.serving(hostile.silence) as server:
        with limits.limited():
            line = limits.opened(["127.0.0.1"], server.port)
        with line, pytest.raises(RuntimeError, match="limited"):
            line.send(b"x")


def test_work_that_has_to_stop_sends_no_request() -> None:
    class Stopped(Exception):
        """The work has to stop."""

    def stop() -> None:
        raise Stopped

    with hostile.serving(hostile.silence) as server:
        with limits.guarded(stop), pytest.raises(Stopped):
            ask_vault("http://127.0.0.1", server.port)
        assert not server.connections


def test_every_client_is_tried() -> None:
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True)
    own = [
        path for path in listed.stdout.split() if path.split("/")[0].endswith(("core", "_app", "_project"))
    ]
    # Its text is copied into other programs.
    own = [path for path in own if path != "secrets_app/views/snippets.py"]
    found = {path for path in own if "/tests/" not in path and SENDS.search((ROOT / path).read_text())}
    assert found == CLIENTS
    assert EmailTransport.name == "email"
