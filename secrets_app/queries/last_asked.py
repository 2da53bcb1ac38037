"""Notes who asked for a value that they have already (304): each caller and secret once an hour at most.

A poll costs no statement: its process notes it in memory, and stores what is new. The read engine stores
every 20 seconds, beside its reads; all other requests at once. A mark that is lost delays the next one by
less than an hour, and the smallest filter is two days.
"""

import logging
import time
from typing import Final
from uuid import UUID

from django.db import DatabaseError
from django.utils import timezone

from audit_app.events.actors import Actor
from audit_app.integrity.active_installation import is_active
from core.db.bulk import insert_rows, merge_clause
from secrets_app.models import NO_SECRET, LastAsked

_PAUSE_SECONDS: Final = 3600.0
# So many callers and secrets are remembered; beyond, all may be stored once more.
_MOST: Final = 20_000
_KEY: Final = ("environment_uuid", "secret_uuid", "actor_uuid", "prefix")
_MERGED: Final = {"actor_kind": "new", "actor_name": "new", "number": "new", "asked_at": "greatest"}
_Key = tuple[UUID, UUID, UUID, str, int | None]
_log = logging.getLogger(__name__)
# When this process noted a key last, and what it has not stored yet.
_noted: Final[dict[_Key, float]] = {}
_waiting: Final[dict[_Key, LastAsked]] = {}


def note(
    actor: Actor, *, environment: UUID, secret: UUID = NO_SECRET, prefix: str = "", number: int | None = None
) -> None:
    """Note that a caller has the state that it would get, of a secret or of a list."""
    key = (environment, secret, actor.uuid, prefix, number)
    now = time.monotonic()
    noted = _noted.get(key)
    if noted is not None and now - noted < _PAUSE_SECONDS:
        return
    if len(_noted) >= _MOST:
        _noted.clear()
    _noted[key] = now
    _waiting[key] = LastAsked(
        actor_uuid=actor.uuid,
        environment_uuid=environment,
        secret_uuid=secret,
        prefix=prefix,
        actor_kind=actor.kind,
        actor_name=actor.name,
        number=number,
        asked_at=timezone.now(),
    )


def store() -> None:
    """Store what was noted, if this installation is the active one. What fails is noted at the next poll."""
    marks: dict[_Key, LastAsked] = {}
    while _waiting:
        key, mark = _waiting.popitem()
        marks[key] = mark
    if not marks:
        return
    try:
        if is_active():
            insert_rows(list(marks.values()), tail=merge_clause(_KEY, _MERGED))
    except DatabaseError as error:
        _log.warning("polls are not noted: %s", type(error).__name__)
        for key in marks:
            _noted.pop(key, None)


def note_at_once(
    actor: Actor, *, environment: UUID, secret: UUID = NO_SECRET, prefix: str = "", number: int | None = None
) -> None:
    """Note it and store it, for a request with a connection of its own; once an hour that is a statement."""
    note(actor, environment=environment, secret=secret, prefix=prefix, number=number)
    store()
