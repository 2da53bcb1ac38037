"""Counts what a request passes through: `python -m tools.trace_calls` prints a row for each of three requests.

A secret is read by name over the API, a version of it is written, and its page is opened, on a new installation
with SQLite. Counted are the product's functions, their modules, the depth of their own frames, and SQL statements.
"""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from types import FrameType
from typing import Any, Final

from tools.measure_code import APPS

_ROOT: Final = str(Path(__file__).resolve().parents[1])
_OWN: Final = tuple(f"{_ROOT}/{app}/" for app in APPS)


class Trace:
    """The product's functions that were called, and the statements that were sent."""

    def __init__(self) -> None:
        self.functions: set[tuple[str, str]] = set()
        self.depth = self.deepest = self.statements = 0

    def __call__(self, frame: FrameType, event: str, _argument: object) -> None:
        """Take note of a call or a return (`sys.setprofile`)."""
        code = frame.f_code
        if not code.co_filename.startswith(_OWN) or code.co_name in {"<genexpr>", "<lambda>", "<module>"}:
            return
        if event == "call":
            self.functions.add(
                (code.co_filename, code.co_qualname if sys.version_info >= (3, 11) else code.co_name)
            )
            self.depth += 1
            self.deepest = max(self.deepest, self.depth)
        elif event == "return":
            self.depth -= 1

    def statement(self, execute: Callable[..., Any], *arguments: Any) -> Any:
        """Count a statement (`connection.execute_wrapper`)."""
        self.statements += 1
        return execute(*arguments)


@contextmanager
def traced() -> Iterator[Trace]:
    """Trace what happens inside."""
    from django.db import connection

    trace = Trace()
    with connection.execute_wrapper(trace.statement):
        sys.setprofile(trace)
        try:
            yield trace
        finally:
            sys.setprofile(None)


def main() -> None:
    """Make an installation, send the requests once to warm up, and once more to count."""
    import django

    django.setup()
    from django.contrib.auth import get_user_model
    from django.core.management import call_command
    from django.test import Client
    from django.urls import reverse

    out = StringIO()
    call_command("init_db", stdout=out)
    token = StringIO()
    call_command("issue_token", environment="development", role="editor", name="trace", stdout=token)
    program = Client(SERVER_NAME="localhost", headers={"Authorization": f"Bearer {token.getvalue().strip()}"})
    place = "/api/environments/development/secrets"
    made = program.put(f"{place}/traced", {"value": "b"}, "application/json")
    page = Client(SERVER_NAME="localhost")
    page.force_login(get_user_model().objects.get(username="admin"))
    requests: Sequence[tuple[str, Callable[[int], Any]]] = (
        ("read by name", lambda _: program.get(f"{place}/traced")),
        (
            "write a version",
            lambda number: program.put(f"{place}/traced", {"value": f"b{number}"}, "application/json"),
        ),
        ("page of a secret", lambda _: page.get(reverse("secret-detail", args=[made.json()["id"]]))),
    )
    for name, send in requests:
        send(0)
        with traced() as trace:
            status = send(1).status_code
        found = (
            len(trace.functions),
            len({file for file, _ in trace.functions}),
            trace.deepest,
            trace.statements,
        )
        sys.stdout.write(
            "{:18} status {}: {:4} functions {:4} modules {:4} frames {:3} statements\n".format(
                name, status, *found
            )
        )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {
            "KEEPER_DATA_DIR": folder,
            "DJANGO_SETTINGS_MODULE": "keeper_project.settings",
            "KEEPER_TLS": "false",
        }
        main()
