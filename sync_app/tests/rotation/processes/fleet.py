"""The process that test_workers.py asks for workers: each is a process of its own, which may kill or stop itself.

It takes one JSON object a line and answers with one. A worker is forked, so that it starts at once,
and does what the task does. It kills itself with SIGKILL at its n-th statement, login or change; or it
stops itself with SIGSTOP where it holds the server's lock and has just been told that it is its turn.
"""

import os
import signal
import traceback
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

from django.core.management import call_command
from django.db import connection, connections
from django.db.models import F

from audit_app.interfaces import keyring
from audit_app.verification.stream_verifier import verify
from environments_app.authorization.principals import user_principal
from environments_app.models import Environment, User
from environments_app.tests.cast import make_cast
from secrets_app.models import Secret
from secrets_app.services import read, write
from secrets_app.types.registry import SecretType
from sync_app import tasks
from sync_app.models import Rotation, RotationPolicy
from sync_app.rotation.execution import session as execution_lease
from sync_app.rotation.execution.requests import request_rotation
from sync_app.rotation.policies import service as policies
from sync_app.rotators.ab_logins import AbLogins
from sync_app.rotators.base import Fence
from sync_app.rotators.mysql.rotator import MySql
from sync_app.rotators.postgresql.rotator import PostgreSql
from tests.answers import answer


def alice() -> Any:
    """Return who manages the environment."""
    return user_principal(User.objects.get(username="alice"), address="192.0.2.1", request_id="test")


def prepare(
    rotator: str, value: str, settings: dict[str, str], credentials: dict[str, str]
) -> dict[str, Any]:
    """Make the database, the cast, and a secret under a policy without a grace."""
    call_command("migrate", verbosity=0)
    keyring().open_all()
    make_cast()
    secret = write.create(
        actor=alice(),
        environment=Environment.objects.get(name="development"),
        name="app/db",
        secret_type=SecretType.JSON,
        value=value,
    )
    policies.create(
        actor=alice(),
        secret=secret,
        rotator=rotator,
        settings=settings,
        credentials=credentials,
        grace_seconds=0,
    )
    return {}


def ask() -> dict[str, Any]:
    """Ask for a rotation."""
    policy = RotationPolicy.objects.select_related("environment", "secret__environment").get()
    return {"rotation": request_rotation(actor=alice(), policy=policy).pk}


def work(rotation: int, deaths: list[int]) -> dict[str, Any]:
    """Have workers do the same rotation at once; return how many were killed on the way."""
    _pass_time(rotation)
    children = [_forked(partial(_mortal, rotation, dies_at)) for dies_at in deaths]
    ends = [os.waitpid(child, 0)[1] for child in children]
    failed = [end for end in ends if not os.WIFSIGNALED(end) and os.WEXITSTATUS(end)]
    return {"killed": sum(map(os.WIFSIGNALED, ends)), "failed": len(failed), **look(rotation)}


def stall(rotation: int, fence_seconds: int) -> dict[str, Any]:
    """Have a worker stop itself just before its statement; return its process id."""
    _pass_time(rotation)
    child = _forked(lambda: _stopping(rotation, fence_seconds))
    _, status = os.waitpid(child, os.WUNTRACED)
    return {"stopped": os.WIFSTOPPED(status), "child": child}


def wake(child: int) -> dict[str, Any]:
    """Let a stopped worker go on, to its end."""
    os.kill(child, signal.SIGCONT)
    _, status = os.waitpid(child, 0)
    return {"exit": os.waitstatus_to_exitcode(status)}


def look(rotation: int) -> dict[str, Any]:
    """Return how a rotation stands, and the values of its secret."""
    connections.close_all()
    row = Rotation.objects.get(pk=rotation)
    secret = Secret.objects.select_related("environment").get()
    return {
        "step": row.step,
        "problem": row.problem,
        "current": read.reveal(actor=alice(), secret=secret).value,
        "versions": secret.versions.count(),
        "trail": [str(problem) for problem in verify()],
    }


def _pass_time(rotation: int) -> None:
    """Let leases of those who were killed run out, and the time to the next attempt pass."""
    long_ago = F("queued_at") - timedelta(days=1)
    Rotation.objects.filter(pk=rotation).update(not_before=None, lease_until=long_ago)
    connections.close_all()


def _forked(do: Callable[[], None]) -> int:
    child = os.fork()
    if child:
        return child
    os.dup2(2, 1)
    try:
        do()
    except BaseException:  # noqa: BLE001 - the parent tells it
        traceback.print_exc()
        os._exit(70)
    os._exit(0)


def _mortal(rotation: int, dies_at: int) -> None:
    points = 0

    def pass_by() -> None:
        nonlocal points
        points += 1
        if points == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def statement(execute: Any, *asked: Any) -> Any:
        pass_by()
        return execute(*asked)

    def around(method: Callable[..., Any]) -> Callable[..., Any]:
        def passed(*given: Any, **options: Any) -> Any:
            pass_by()
            answer = method(*given, **options)
            pass_by()
            return answer

        return passed

    kinds: tuple[type[AbLogins], ...] = (MySql, PostgreSql)
    for kind in kinds:
        for name in ("_change_password", "_log_in"):
            setattr(kind, name, around(getattr(kind, name)))
    with connection.execute_wrapper(statement):
        tasks.execute_rotation(rotation)


def _stopping(rotation: int, fence_seconds: int) -> None:
    execution_lease.FENCE_SECONDS = fence_seconds  # type: ignore[misc]
    asked = Fence.require_held

    def holding(self: Fence) -> None:
        asked(self)
        os.kill(os.getpid(), signal.SIGSTOP)

    Fence.require_held = holding  # type: ignore[method-assign]
    tasks.execute_rotation(rotation)


def main() -> None:
    """Answer what is asked."""
    answer(prepare, ask, work, stall, wake, look)
