"""A process of the fleet that test_killed.py runs: it writes and reads, or runs commands that get killed.

It takes one JSON object a line and answers with one. `command` runs in a process of its own, forked
so that it starts at once; it kills itself with SIGKILL just before its n-th statement or KMS call.
"""

import json
import os
import secrets
import select
import signal
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection, connections

from audit_app.interfaces import keyring
from audit_app.verification.stream_verifier import verify
from environments_app.authorization.principals import user_principal
from environments_app.models import Environment, User
from environments_app.tests.cast import make_cast
from secrets_app.errors import KeyUnavailable
from secrets_app.keys import data_keys
from secrets_app.keys.providers.base import KeyProvider
from secrets_app.maintenance.integrity_checks import secrets as edited_secrets
from secrets_app.maintenance.integrity_checks import versions as damaged_versions
from secrets_app.models import DataKey, KeyMigration, Secret
from secrets_app.services import read, write
from secrets_app.tests.keys.conftest import forget_process
from secrets_app.types.registry import SecretType

# How often a writer asks for a new data key.
_NEW_KEY_EVERY = 15


class Writer:
    """Writes secrets, and opens one that was written before after each, with nothing kept in memory."""

    def __init__(self) -> None:
        self.written: dict[str, str] = {}
        self.wrong: list[str] = []
        self.makes_keys = True

    def turn(self) -> None:
        """Write one secret, and read one."""
        environment = Environment.objects.get(name=secrets.choice(["development", "production"]))
        if self.makes_keys and secrets.randbelow(_NEW_KEY_EVERY) == 0:
            try:
                data_keys.replace_key(environment)
            except KeyUnavailable as refused:
                # Under KMS still, or already, where the key file wraps everything: it may not.
                if "rolled back" not in str(refused):
                    raise
        name, value = f"app/{secrets.token_hex(8)}", secrets.token_hex(8)
        write.create(
            actor=alice(), environment=environment, name=name, secret_type=SecretType.TEXT, value=value
        )
        self.written[name] = value
        data_keys.forget_data_keys()
        self.wrong += wrong({name: self.written[name] for name in [secrets.choice([*self.written])]})

    def report(self) -> dict[str, Any]:
        """Return what was written, and what did not open, since the last report."""
        told = {"written": self.written, "wrong": self.wrong}
        self.written, self.wrong = {}, []
        return told


def alice() -> Any:
    """Return who reads and writes."""
    return user_principal(User.objects.get(username="alice"), address="192.0.2.1", request_id="test")


def wrong(expected: dict[str, str]) -> list[str]:
    """Return the names whose value is not what was written, with why."""
    found = []
    actor = alice()
    for name, value in expected.items():
        secret = Secret.objects.select_related("environment").get(name=name)
        try:
            if read.reveal(actor=actor, secret=secret).value != value:
                found.append(f"{name}: another value")
        except Exception as error:  # noqa: BLE001 - whatever it is, it is reported
            found.append(f"{name}: {type(error).__name__}: {error}")
    return found


def prepare() -> dict[str, Any]:
    """Make the database and the cast."""
    call_command("migrate", verbosity=0)
    keyring().open_all()
    make_cast()
    return {}


def take(changes: dict[str, Any]) -> dict[str, Any]:
    """Go on as after a restart with other settings."""
    for name, value in changes.items():
        setattr(settings, name, value)
    forget_process()
    return {}


def check(expected: dict[str, str]) -> dict[str, Any]:
    """Open everything as a process does that was just started, and verify the trail."""
    forget_process()
    damage = [str(problem) for problem in (*verify(), *edited_secrets(), *damaged_versions())]
    return {"wrong": wrong(expected) + damage}


def backup() -> dict[str, Any]:
    """Return a backup of the migration that is open."""
    migration = KeyMigration.objects.get(open=True)
    for path in Path(settings.KEEPER_DATA_DIR).glob("key-backup-*.json"):
        if json.loads(path.read_text())["migration"] == str(migration.uuid):
            return {"path": str(path)}
    raise LookupError("no backup of the open migration")


def keys() -> dict[str, Any]:
    """Return how many data keys there are, by what wraps them."""
    rows = DataKey.objects.values_list("provider", "other_provider")
    return {"wraps": sorted({f"{own}+{other}" for own, other in rows}), "count": len(rows)}


def command(arguments: list[str], dies_at: int) -> dict[str, Any]:
    """Run a command in a process of its own, which dies at a point, and tell how it ended."""
    connections.close_all()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        code, text = _run(arguments, dies_at)
        os.write(writer, text.encode()[:60_000])
        os._exit(code)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    killed = os.WIFSIGNALED(status)
    return {"killed": killed, "code": None if killed else os.WEXITSTATUS(status), "text": text}


def _run(arguments: list[str], dies_at: int) -> tuple[int, str]:
    forget_process()
    out = StringIO()
    points = 0

    def pass_by() -> None:
        nonlocal points
        points += 1
        if points == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def statement(execute: Any, *asked: Any) -> Any:
        pass_by()
        return execute(*asked)

    def count(self: KeyProvider, operation: str) -> None:
        pass_by()
        counted(self, operation)

    counted: Callable[[KeyProvider, str], None] = KeyProvider.count
    KeyProvider.count = count  # type: ignore[method-assign]
    try:
        with connection.execute_wrapper(statement):
            call_command(*arguments, stdout=out, stderr=out)
    except SystemExit as stopped:
        return int(stopped.code or 0), out.getvalue()
    except CommandError as error:
        return 1, f"{out.getvalue()}{error}"
    except BaseException as error:  # noqa: BLE001 - the parent tells it
        return 70, f"{out.getvalue()}{type(error).__name__}: {error}"
    return 0, out.getvalue()


def main() -> None:
    """Answer what is asked, and write in between while told to."""
    writer, running = Writer(), False
    asked: dict[str, Callable[..., dict[str, Any]]] = {
        "prepare": prepare,
        "take": take,
        "check": check,
        "backup": backup,
        "keys": keys,
        "command": command,
    }
    while True:
        if running and not select.select([sys.stdin], [], [], 0)[0]:
            writer.turn()
            continue
        line = sys.stdin.readline()
        if not line:
            return
        request = json.loads(line)
        action = request.pop("do")
        if action in {"run", "pause"}:
            running, answer = action == "run", writer.report()
            writer.makes_keys = request.get("makes_keys", True)
        else:
            answer = asked[action](**request)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
