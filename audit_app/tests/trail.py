"""Short ways to write events, and to tamper with them as a database administrator could."""

from typing import Any
from uuid import UUID, uuid4

from django.db import connection
from django.db.models import QuerySet

from audit_app.events.actions import Action
from audit_app.events.actors import Actor, ActorKind
from audit_app.models import StreamHead
from audit_app.recording.drafts import AuditObject, EventDraft, ManifestEntry, Receipt
from audit_app.recording.recorder import record_many

ALICE = Actor(kind=ActorKind.USER, uuid=UUID(int=1), name="alice", address="192.0.2.1", request_id="r" * 32)
STREAM = "environment:a"
SECRET = AuditObject("secret", UUID(int=7), "app/db")


def draft(**changed: Any) -> EventDraft:
    usual: dict[str, Any] = {
        "actor": ALICE,
        "action": Action.SECRET_REVEAL,
        "stream": STREAM,
        "object": SECRET,
    }
    return EventDraft(**(usual | changed))


def write(count: int = 1, **changed: Any) -> list[Receipt]:
    return record_many([draft(**changed) for _ in range(count)])


def entries(count: int = 3) -> list[ManifestEntry]:
    return [ManifestEntry(str(uuid4()), number, f"app/{number}") for number in range(1, count + 1)]


def sql(statement: str, *parameters: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)


def take_away(rows: QuerySet[Any]) -> None:
    """Delete rows as SQL does, past what refuses to delete them without a word of it."""
    rows._raw_delete(rows.db)


def head_sequence(stream: str = STREAM) -> int:
    return StreamHead.objects.get(stream=stream).sequence
