"""A process of test_departures_under_kills.py: a person with many values leaves, and a worker that gets killed.

It takes one JSON object a line and answers with one. `work` runs in a process of its own, forked so that it
starts at once; it kills itself with SIGKILL just before its n-th statement.
"""

import os
import signal
import sys
import time
from collections import Counter
from datetime import timedelta
from typing import Any

from django.db import connection, connections
from django.db.models import Count
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.interfaces import keyring
from audit_app.models import AuditEvent
from core.canonical_json import parsed_details
from environments_app.authorization.principals import user_principal
from environments_app.models import Delivery, Departure, User
from environments_app.tests.cast import make_cast
from secrets_app.departures import following
from secrets_app.departures.ending import end_person
from secrets_app.models import DepartureValue, Secret
from secrets_app.services.bulk_create import MAX_ITEMS, NewSecret, create_many
from secrets_app.services.read import reveal
from secrets_app.types.registry import SecretType
from secrets_app.values.metadata import Metadata
from sync_app.models import RotationPolicy
from sync_app.rotation.policies import service as policies
from tests.answers import answer

# Of each so many values, the first has a policy that rotates it, and the second an owner.
_OF_A_KIND = 4
_FAR = timedelta(days=300)
# Events of others, copied within the database: nobody verifies these.
_OTHERS = """
WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < {count})
INSERT INTO audit_app_auditevent ({columns}) SELECT {chosen} FROM audit_app_auditevent, number
WHERE id = (SELECT max(id) FROM audit_app_auditevent WHERE action = 'secret.reveal')
"""
_CHANGED = {
    "uuid": "lower(hex(randomblob(16)))",
    "stream": "'others'",
    "sequence": "n",
    "actor_uuid": "'00000000000040008000' || printf('%012x', n % 500)",
    "object_uuid": "'00000000000040009000' || printf('%012x', n % 5000)",
}


def prepare(values: int, events: int) -> dict[str, Any]:
    """Make the cast, and values that erin has read one by one, among so many events of others."""
    keyring().open_all()
    cast = make_cast()
    alice, erin = user_principal(cast.alice).proven(), user_principal(cast.erin)
    items = [
        NewSecret(
            environment=cast.development, name=f"app/{number:05d}", secret_type=SecretType.TEXT,
            value=f"value {number}", metadata=Metadata(owner="alice" if number % _OF_A_KIND == 1 else ""),
        )
        for number in range(values)
    ]  # fmt: skip
    for start in range(0, values, MAX_ITEMS):
        create_many(actor=alice, items=items[start : start + MAX_ITEMS])
    for number, secret in enumerate(Secret.objects.select_related("environment").order_by("name")):
        reveal(actor=erin, secret=secret)
        if number % _OF_A_KIND == 0:
            policies.create(
                actor=alice,
                secret=secret,
                rotator="generated",
                settings={},
                credentials={},
                interval_seconds=300 * 86_400,
            )
    if events:
        with connection.cursor() as cursor:
            columns = [
                str(field.column) for field in AuditEvent._meta.concrete_fields if field.column != "id"
            ]
            chosen = ", ".join(_CHANGED.get(column, column) for column in columns)
            cursor.execute(_OTHERS.format(count=events, columns=", ".join(columns), chosen=chosen))
    return {"events": AuditEvent.objects.count()}


def leave() -> dict[str, Any]:
    """Let erin leave, as if for the first time."""
    DepartureValue.objects.all().delete()
    Departure.objects.all().delete()
    Delivery.objects.all().delete()
    Secret.objects.update(rotation_due_at=None)
    RotationPolicy.objects.update(due_at=timezone.now() + _FAR)
    erin = User.objects.get(username="erin")
    erin.is_active, erin.suspended_at = True, None
    erin.save()
    newest = AuditEvent.objects.order_by("-pk").values_list("pk", flat=True)[0]
    began = time.monotonic()
    end_person(actor=user_principal(User.objects.get(username="root")).proven(), user=erin)
    return {"newest": newest, "seconds": time.monotonic() - began}


def work(dies_at: int) -> dict[str, Any]:
    """Let a worker look at departures; it dies at a statement, and the next finds the lease ended."""
    Departure.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    connections.close_all()
    began, child = time.monotonic(), os.fork()
    if child == 0:
        statements = 0

        def passing(execute: Any, *asked: Any) -> Any:
            nonlocal statements
            statements += 1
            if statements == dies_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return execute(*asked)

        try:
            with connection.execute_wrapper(passing):
                following.run()
        except BaseException as error:  # noqa: BLE001 - the parent tells it
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
            os._exit(70)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    killed = os.WIFSIGNALED(status)
    assert killed or os.WEXITSTATUS(status) == 0
    return {"killed": killed, "seconds": time.monotonic() - began}


def found(newest: int) -> dict[str, Any]:
    """Return what came of the departure since an event."""
    rows = DepartureValue.objects
    said = AuditEvent.objects.filter(pk__gt=newest, action=Action.USER_OFFBOARD)
    due = Counter(
        name for details in said.values_list("details", flat=True)
        for name in parsed_details(details).get("due", [])
    )  # fmt: skip
    subjects = Delivery.objects.values_list("addressee", "transport", "subject")
    told = subjects.annotate(times=Count("pk")).order_by("-times").values_list("times", flat=True)
    return {
        "values": rows.values("secret").distinct().count(),
        "due": len(due),
        "due_at_most": max(due.values(), default=0),
        "marked": Secret.objects.filter(rotation_due_at__isnull=False).count(),
        "by_policy": rows.filter(by_policy=True).count(),
        "brought_forward": RotationPolicy.objects.filter(due_at__lte=timezone.now()).count(),
        "assigned": rows.filter(assignee__username="alice").count(),
        "told_at_most": max(told, default=0),
        "counted": Departure.objects.get().counted_at is not None,
    }


def main() -> None:
    """Answer what is asked."""
    answer(prepare, leave, work, found)
