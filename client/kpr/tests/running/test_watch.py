"""`kpr run --watch`: the command is started again when what it uses changed, and only then."""

import signal
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from typing import Any
from unittest.mock import Mock

import pytest

from kpr.errors import UnreachableError
from kpr.running import watch
from kpr.running.run import Prepared
from kpr.tests.conftest import Kpr, Server

# The fixture `schema` needs the migrated database.
pytestmark = pytest.mark.django_db

TELLS = (
    "import os, time; print(os.environ['WATCH_ONE'], open(os.environ['KEY']).read(), flush=True); "
    "time.sleep(float(os.environ.get('LASTS', '600'))); raise SystemExit(7)"
)
OPTIONS = ("--prefix", "watch", "--file", "KEY=watch/file", "--watch", "--watch-interval", "1")


def put(server: Server, name: str, value: str) -> None:
    server.api("PUT", f"environments/development/secrets/{name}", {"value": value})


def begin(kpr: Kpr, *options: str, **env: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        kpr.command("run", *OPTIONS, *options, "--", sys.executable, "-c", TELLS),
        env={**kpr.variables, **env},
        cwd=kpr.home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.mark.parametrize("folder", [(), ("--file-dir", "/dev/shm")], ids=["memory", "folder"])
def test_a_change_starts_the_command_again(kpr: Kpr, server: Server, folder: tuple[str, ...]) -> None:
    put(server, "watch/one", "first")
    put(server, "watch/file", "content")
    with begin(kpr, *folder) as process:
        assert process.stdout
        assert process.stdout.readline() == b"first content\n"
        put(server, "watched-not", f"other {time.monotonic()}")
        put(server, "watch/file", "changed")
        assert process.stdout.readline() == b"first changed\n"
        put(server, "watch/one", "second")
        assert process.stdout.readline() == b"second changed\n"
        process.send_signal(signal.SIGTERM)
        rest, told = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert rest == b""
    assert told.count(b"starting the command again") == 2


def test_the_end_of_the_command_is_the_end(kpr: Kpr, server: Server) -> None:
    put(server, "watch/one", "first")
    put(server, "watch/file", "content")
    with begin(kpr, LASTS="0.1") as process:
        out, _ = process.communicate(timeout=60)
    assert (out, process.returncode) == (b"first content\n", 7)


def test_an_unchanged_environment_is_asked_by_its_etag(kpr: Kpr, server: Server) -> None:
    put(server, "watch/one", "first")
    put(server, "watch/file", "content")
    asked: list[str] = []
    exports = 0
    with begin(kpr, "--debug") as process:
        assert process.stderr
        while len(asked) < 3:
            line = process.stderr.readline().decode()
            assert line, "it ended"
            asked += [line.split()[3]] if "/manifest " in line else []
            exports += "/export 200" in line
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=60)
    assert asked == ["200", "304", "304"]
    assert exports + told.count(b"/export 200") == 1


def test_a_change_stays_due_until_its_values_were_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The manifest tells of a change once; the first read after it fails."""
    old, new = (Prepared(environment={b"KEY": value}, contents={}, secrets={}) for value in (b"old", b"new"))
    reads: Iterator[Any] = iter([UnreachableError("no answer"), new])

    def read(*_: object) -> Prepared:
        found: Prepared | Exception = next(reads)
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(watch, "prepare", read)
    # The command ends after five looks: what was not found by then never is.
    supervisor = Mock(wait=Mock(side_effect=[None, None, None, None, None, 0]))
    manifest = Mock(has_changed=Mock(side_effect=[True, False, False, False, False]))
    options = Namespace(watch_interval=1)
    assert watch._until_changed(options, Mock(), Mock(), supervisor, manifest, old) == new
