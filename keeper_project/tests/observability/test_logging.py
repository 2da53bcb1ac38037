"""Each log line is one JSON object without credentials, local variables or wire traffic."""

import json
import logging
import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from uuid import UUID

import pytest
import structlog
from django.conf import settings as configured
from django.test import Client
from pytest_django import Settings

from keeper_project.observability.logging import configure

TOKEN = "kpr_AbCdEfGhIjKlMnOpQrStUv_vM3Zq1kd93jfWq0x7pLs8aTnR2bYcUeGhIoKlMnPq77"


class Refused(Exception):
    pass


def refuse(reason: str) -> None:
    raise Refused(reason)


def fail_with_a_local() -> None:
    password = "correct horse battery"
    raise Refused(len(password))


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    yield
    root = logging.getLogger()
    # Taken away first: what a thread logs after one was closed would open its file again.
    made, root.handlers[:] = root.handlers[:], []
    for handler in made:
        handler.close()
    # Not the handlers of before: `configure` closed them and forgot them, so that nobody would close them again.
    configure(configured.LOGGING)


@pytest.fixture
def log(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Path:
    settings.DEBUG = False
    monkeypatch.setattr(sys, "argv", ["/venv/bin/granian"])
    path = tmp_path / "logs" / "keeper.log"
    configure({"level": "DEBUG", "file": str(path)})
    return path


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_it_renders_a_line_once_for_the_console_and_the_file(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered, render = [], structlog.stdlib.ProcessorFormatter.format

    def noted(formatter: structlog.stdlib.ProcessorFormatter, record: logging.LogRecord) -> str:
        rendered.append(record.getMessage())
        return render(formatter, record)

    monkeypatch.setattr(structlog.stdlib.ProcessorFormatter, "format", noted)
    logging.getLogger("keeper").info("once")
    logging.getLogger("keeper").info("twice")
    assert rendered == ["once", "twice"]
    assert [line["message"] for line in lines(log)] == rendered


def test_it_writes_one_json_object_a_line(log: Path) -> None:
    logging.getLogger("keeper.test").warning("two\nlines of %s", "text")
    (line,) = lines(log)
    assert line["message"] == "two\nlines of text"
    assert (line["level"], line["logger"]) == ("warning", "keeper.test")
    assert str(line["at"]).endswith("Z")


def test_a_terminal_gets_what_went_wrong_in_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    terminal, path = Terminal(), tmp_path / "keeper.log"
    monkeypatch.setattr(sys, "argv", ["/usr/bin/keeper", "run"])
    monkeypatch.setattr(sys, "stdout", terminal)
    configure({"level": "INFO", "file": str(path)})
    try:
        logging.getLogger("keeper.test").info("a task was done")
        logging.getLogger("keeper.test").warning("something is wrong")
    finally:
        monkeypatch.undo()
        configure(configured.LOGGING)
    assert "something is wrong" in terminal.getvalue()
    assert "a task was done" not in terminal.getvalue()
    assert "{" not in terminal.getvalue()
    assert len(lines(path)) == 2


def test_it_carries_the_request_id(log: Path) -> None:
    with structlog.contextvars.bound_contextvars(request_id="abc123"):
        logging.getLogger("keeper.test").info("from the standard library")
        structlog.get_logger("keeper.test").info("from structlog", secret_id=3)
    assert [line["request_id"] for line in lines(log)] == ["abc123", "abc123"]
    assert lines(log)[1]["secret_id"] == 3


@pytest.mark.django_db
def test_a_request_that_django_refuses_is_named_too(log: Path) -> None:
    answer = Client().get("/nothing-is-here")
    (line,) = [each for each in lines(log) if each["logger"] == "django.request"]
    assert line["request_id"] == answer["X-Request-ID"]
    assert line["address"] == "127.0.0.1"
    # What somebody mistyped is no news to whoever runs Keeper.
    assert line["level"] == "info"


def test_only_what_django_refuses_by_its_own_fault_or_for_csrf_stands_out(log: Path) -> None:
    for status in (403, 422, 500):
        logging.getLogger("django.request").warning("Refused", extra={"status_code": status})
    logging.getLogger("django.security.csrf").warning("Refused", extra={"status_code": 403})
    assert [line["level"] for line in lines(log)] == ["info", "info", "warning", "warning"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("path", "status"),
    [("/shared/", 403), ("/shared%23", 404), ("/shared%2523", 404), ("/shared%252523", 404)],
)
def test_the_line_of_a_refused_request_names_no_link(log: Path, path: str, status: int) -> None:
    link = "vM3Zq_1kd-93jfWq0x7pLs8aTnR2bYcUeGhIoKlMnPq"
    assert Client(enforce_csrf_checks=True).post(f"{path}{link}").status_code == status
    assert "[redacted]" in log.read_text()
    assert link not in log.read_text()


def test_it_takes_tokens_out_of_messages_arguments_and_exceptions(log: Path) -> None:
    logger = logging.getLogger("keeper.test")
    logger.info("Authorization: Bearer %s", TOKEN)
    structlog.get_logger("keeper.test").info("seen", headers={"Authorization": TOKEN})
    try:
        refuse(TOKEN)
    except Refused:
        logger.exception("refused")
    assert TOKEN[-40:] not in log.read_text()
    assert len(lines(log)) == 3


def test_it_writes_tracebacks_without_local_variables(log: Path) -> None:
    try:
        fail_with_a_local()
    except Refused:
        logging.getLogger("keeper.test").exception("failed")
    (line,) = lines(log)
    assert "fail_with_a_local" in str(line["exception"])
    assert "correct horse battery" not in log.read_text()


def test_it_writes_unknown_objects_by_their_type(log: Path) -> None:
    structlog.get_logger("keeper.test").info("object", thing=Refused("a value"), uuid=UUID(int=7))
    (line,) = lines(log)
    assert line["thing"] == "<Refused>"
    assert line["uuid"] == str(UUID(int=7))


def test_it_never_opens_the_wire_logs(log: Path) -> None:
    logging.getLogger("botocore.parsers").debug("Response body: b'Plaintext'")
    logging.getLogger("django.db.backends").debug("INSERT INTO secret VALUES (%s)", ("value",))
    assert not log.exists()


def test_it_writes_a_request_that_failed_without_the_request(log: Path) -> None:
    logging.getLogger("django.request").error("Internal Server Error: %s", "/x", extra={"request": object()})
    (line,) = lines(log)
    assert "request" not in line
    assert not any(handler for handler in logging.getLogger("django").handlers)


def test_it_writes_logs_of_a_command_to_standard_error(
    tmp_path: Path,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings.DEBUG = False
    monkeypatch.setattr(sys, "argv", ["manage.py", "issue_token"])
    configure({"level": "INFO", "file": "-"})
    logging.getLogger("keeper.test").info("issued")
    written = capsys.readouterr()
    assert written.out == ""
    assert json.loads(written.err)["message"] == "issued"
    assert not list(tmp_path.iterdir())


def test_it_writes_logs_of_a_server_to_standard_output(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.DEBUG = False
    monkeypatch.setattr(sys, "argv", ["/venv/bin/granian"])
    configure({"level": "INFO", "file": "-"})
    logging.getLogger("keeper.test").info("served")
    assert json.loads(capsys.readouterr().out)["message"] == "served"


def test_it_is_readable_when_debugging(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.DEBUG = True
    monkeypatch.setattr(sys, "argv", ["/venv/bin/granian"])
    configure({"level": "INFO", "file": "-"})
    try:
        fail_with_a_local()
    except Refused:
        structlog.get_logger("keeper.test").exception("served %s", TOKEN)
    out = capsys.readouterr().out
    assert "fail_with_a_local" in out
    assert "correct horse battery" not in out
    assert TOKEN[-20:] not in out
    with pytest.raises(json.JSONDecodeError):
        json.loads(out.splitlines()[0])
