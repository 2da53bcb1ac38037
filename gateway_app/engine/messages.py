"""Requests and answers as bytes, between a web process and the process of the read engine.

Both are forks of one program, which alone have these connections. `marshal` knows plain types alone: what it
reads makes no objects of ours, and runs nothing. A message is its kind and what belongs to it.
"""

import marshal
from datetime import datetime
from typing import Any, Final, get_args, get_type_hints
from uuid import UUID

from audit_app.events.actors import Actor, ActorKind
from audit_app.recording.drafts import receipt_of_peer
from environments_app.tokens.authentication import EnvironmentRow
from gateway_app.engine.reads import ListPoll, ReadRequest, RecordedRead, Request, Served, Unchanged
from secrets_app.rows.raw_secrets import SecretRow

# What reading a text raises that is no message.
BROKEN: Final = (EOFError, ValueError, TypeError, KeyError)
_READ, _POLL, _NOTHING, _UNCHANGED, _GRANTED = "read", "poll", "nothing", "unchanged", "granted"
_REQUESTS: Final[dict[str, type[ReadRequest] | type[ListPoll]]] = {_READ: ReadRequest, _POLL: ListPoll}
_TIMES: Final = tuple(
    place
    for place, kind in enumerate(get_type_hints(SecretRow).values())
    if datetime in (kind, *get_args(kind))
)
_UUID: Final = SecretRow._fields.index("uuid")
_ENVIRONMENT: Final = SecretRow._fields.index("environment")
_VERSION: Final = SecretRow._fields.index("version")


def request_text(request: Request) -> bytes:
    """Return a request as a message."""
    plain: tuple[Any, ...] = (_POLL, *request)
    if isinstance(request, ReadRequest):
        plain = (_READ, *request[:-1], dict(request.details))
    return marshal.dumps(plain)


def request_of(text: bytes) -> Request:
    """Return the request of a message. Raises BROKEN."""
    kind, *fields = marshal.loads(text)  # noqa: S302 - a fork of this program wrote it
    return _REQUESTS[kind](*fields)


def answer_text(read: Served) -> bytes:
    """Return as a message what a request got."""
    if read is None:
        return marshal.dumps((_NOTHING,))
    if isinstance(read, Unchanged):
        return marshal.dumps((_UNCHANGED, read.etag))
    receipt = read.receipt
    return marshal.dumps(
        (
            _GRANTED, _plain(read.secret), read.actor.uuid.bytes, read.actor.name,
            receipt.event_uuid.bytes, receipt.stream, receipt.sequence,
        )
    )  # fmt: skip


def answer_of(text: bytes, request: Request) -> Served:
    """Return what a request got, of a message."""
    kind, *fields = marshal.loads(text)  # noqa: S302 - a fork of this program wrote it
    if kind == _UNCHANGED:
        return Unchanged(*fields)
    if kind != _GRANTED or not isinstance(request, ReadRequest):
        return None
    stored, actor, name, event, stream, sequence = fields
    secret = _secret(stored)
    return RecordedRead(
        request,
        secret,
        Actor(
            kind=ActorKind.TOKEN, uuid=UUID(bytes=actor), name=name,
            address=request.address, request_id=request.request_id,
        ),
        receipt_of_peer(
            event=UUID(bytes=event), stream=stream, sequence=sequence,
            covers=frozenset({secret.version.bytes}),
        ),
    )  # fmt: skip


def _plain(secret: SecretRow) -> list[Any]:
    plain: list[Any] = list(secret)
    for place in _TIMES:
        time = plain[place]
        plain[place] = time and time.isoformat()
    pk, uuid, name = secret.environment
    plain[_UUID], plain[_VERSION] = secret.uuid.bytes, secret.version.bytes
    plain[_ENVIRONMENT] = (pk, uuid.bytes, name)
    return plain


def _secret(plain: list[Any]) -> SecretRow:
    for place in _TIMES:
        time = plain[place]
        plain[place] = time and datetime.fromisoformat(time)
    pk, uuid, name = plain[_ENVIRONMENT]
    plain[_UUID], plain[_VERSION] = UUID(bytes=plain[_UUID]), UUID(bytes=plain[_VERSION])
    plain[_ENVIRONMENT] = EnvironmentRow(pk, UUID(bytes=uuid), name)
    return SecretRow._make(plain)
