"""The process that test_killed.py asks for workers: each is a process of its own, which may kill itself.

It takes one JSON object a line and answers with one. A worker is forked, so that it starts at once,
and does what the task does; it kills itself with SIGKILL at its n-th statement, or just before or
after its n-th request to the target, whichever thread comes there first.
"""

import os
import signal
import threading
import traceback
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from botocore.httpsession import URLLib3Session
from django.core.management import call_command
from django.db import connection, connections

from audit_app.interfaces import keyring
from audit_app.verification.stream_verifier import verify
from environments_app.authorization.principals import user_principal
from environments_app.models import Environment, User
from environments_app.tests.cast import make_cast
from secrets_app.services import write
from secrets_app.types.registry import SecretType
from sync_app import tasks
from sync_app.backends.vault.adapter import PooledAdapter
from sync_app.jobs import leases
from sync_app.models import PlanItem, Run, SyncEntry, Target
from sync_app.runs import runner as runs_runner
from sync_app.targets import service as targets
from tests.answers import answer


def alice() -> Any:
    """Return who manages the environment."""
    return user_principal(User.objects.get(username="alice"), address="192.0.2.1", request_id="test")


def development() -> Environment:
    """Return where everything is."""
    return Environment.objects.get(name="development")


def prepare() -> dict[str, Any]:
    """Make the database and the cast."""
    call_command("migrate", verbosity=0)
    keyring().open_all()
    make_cast()
    return {}


def target(**fields: Any) -> dict[str, Any]:
    """Create a target."""
    return {"target": targets.create(actor=alice(), environment=development(), **fields).pk}


def keep(values: dict[str, str]) -> dict[str, Any]:
    """Create or change secrets in Keeper."""
    for name, value in values.items():
        write.put(
            actor=alice(),
            environment=development(),
            name=name,
            value=value,
            secret_type=SecretType.TEXT,
        )
    return {}


def request(target: int) -> dict[str, Any]:
    """Queue a pass, long enough after the last for every system."""
    SyncEntry.objects.filter(target=target).update(synced_at=None)
    asked = Target.objects.select_related("environment").get(pk=target)
    return {"run": runs_runner.request_sync(actor=alice(), target=asked).pk}


def work(run: int, deaths: list[int], lease_seconds: float) -> dict[str, Any]:
    """Have workers do the same run at once, and return how many of them were killed on the way."""
    # What was left by those who were killed runs out, and the time to the next attempt passes.
    Run.objects.filter(pk=run).update(lease_until=None, not_before=None)
    connections.close_all()
    ends = [os.waitpid(child, 0)[1] for child in [_worker(run, death, lease_seconds) for death in deaths]]
    failed = [end for end in ends if not os.WIFSIGNALED(end) and os.WEXITSTATUS(end)]
    state = Run.objects.values_list("state", flat=True).get(pk=run)
    return {"killed": sum(map(os.WIFSIGNALED, ends)), "failed": len(failed), "state": state}


def look(run: int) -> dict[str, Any]:
    """Return what became of a run, its items, the entries and the trail."""
    done = Run.objects.select_related("plan").get(pk=run)
    items = PlanItem.objects.filter(plan=done.plan)
    entries = SyncEntry.objects.filter(target=done.target_id)
    return {
        "run": [done.state, done.error, done.finished, done.failed],
        "plan": done.plan.counts if done.plan else None,
        "items": Counter(f"{item.act} {item.state} {item.error}".strip() for item in items),
        "entries": Counter(entries.values_list("state", flat=True)),
        "trail": [str(problem) for problem in verify()],
    }


def _worker(run: int, dies_at: int, lease_seconds: float) -> int:
    child = os.fork()
    if child:
        return child
    os.dup2(2, 1)
    try:
        leases.LEASE = timedelta(seconds=lease_seconds)  # type: ignore[misc]
        _run(run, _dying(dies_at))
    except BaseException:  # noqa: BLE001 - the parent tells it
        traceback.print_exc()
        os._exit(70)
    os._exit(0)


def _run(run: int, pass_by: Callable[[], None]) -> None:
    def statement(execute: Any, *asked: Any) -> Any:
        pass_by()
        return execute(*asked)

    def around(send: Callable[..., Any]) -> Callable[..., Any]:
        def sent(*given: Any, **options: Any) -> Any:
            pass_by()
            answer = send(*given, **options)
            pass_by()
            return answer

        return sent

    PooledAdapter.request = around(PooledAdapter.request)  # type: ignore[method-assign]
    URLLib3Session.send = around(URLLib3Session.send)  # type: ignore[method-assign]
    with connection.execute_wrapper(statement):
        tasks.execute_run(run)


def _dying(dies_at: int) -> Callable[[], None]:
    points, lock = 0, threading.Lock()

    def pass_by() -> None:
        nonlocal points
        with lock:
            points += 1
            if points == dies_at:
                os.kill(os.getpid(), signal.SIGKILL)

    return pass_by


def main(*more: Callable[..., dict[str, Any]]) -> None:
    """Answer what is asked, by the functions of this module and more of them."""
    answer(prepare, target, keep, request, work, look, *more)
