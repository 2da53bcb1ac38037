"""Requests and answers as bytes, between a web process and the process of the read engine.

Both are forks of one program, which alone have these sockets. `marshal` knows plain types alone: what it
reads makes no objects of ours, and runs nothing. A message is its length in four bytes, and its text.
"""

import marshal
import socket
import struct
from datetime import datetime
from typing import Any, Final, TypeAlias
from uuid import UUID

from audit_app.events.actors import Actor, ActorKind
from audit_app.recording.drafts import receipt_of_peer
from environments_app.tokens.authentication import EnvironmentRow
from gateway_app.engine.reads import ListPoll, ReadRequest, RecordedRead, Request, Served, Unchanged
from secrets_app.rows.raw_secrets import SecretRow

# What reading a text raises that is no message, such as the empty one of a sender who is gone.
BROKEN: Final = (EOFError, ValueError, TypeError, KeyError)
_LENGTH: Final = struct.Struct("!I")
_PIECE: Final = 64 * 1024
_TIMES: Final = tuple(
    SecretRow._fields.index(name)
    for name in (
        "expires_at", "rotated_at", "rotation_due_at", "created_at", "updated_at", "deleted_at",
        "version_created_at",
    )
)  # fmt: skip
_UUID: Final = SecretRow._fields.index("uuid")
_ENVIRONMENT: Final = SecretRow._fields.index("environment")
_VERSION: Final = SecretRow._fields.index("version")
_Kind: TypeAlias = type[ReadRequest] | type[ListPoll]
_KINDS: Final[dict[int, _Kind]] = {len(kind._fields): kind for kind in (ReadRequest, ListPoll)}


def request_text(request: Request) -> bytes:
    """Return a request as a message."""
    plain: list[Any] = list(request)
    if isinstance(request, ReadRequest):
        plain[-1] = dict(request.details)
    return _message(plain)


def request_of(text: bytes) -> Request:
    """Return the request of a message's text. Raises BROKEN."""
    plain = marshal.loads(text)  # noqa: S302 - a fork of this program wrote it
    return _KINDS[len(plain)](*plain)


def answer_text(read: Served) -> bytes:
    """Return as a message what a request got."""
    if read is None or isinstance(read, Unchanged):
        return _message(read and read.etag)
    receipt = read.receipt
    return _message(
        (
            _plain(read.secret), read.actor.uuid.bytes, read.actor.name,
            receipt.event_uuid.bytes, receipt.stream, receipt.sequence,
        )
    )  # fmt: skip


def answer_of(text: bytes, request: Request) -> Served:
    """Return what a request got, of a message's text."""
    plain = marshal.loads(text)  # noqa: S302 - a fork of this program wrote it
    if plain is None or not isinstance(request, ReadRequest):
        return Unchanged(plain) if plain else None
    if isinstance(plain, str):
        return Unchanged(plain)
    stored, actor, name, event, stream, sequence = plain
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


def _message(plain: Any) -> bytes:
    text = marshal.dumps(plain)
    return _LENGTH.pack(len(text)) + text


def received(source: socket.socket) -> bytes:
    """Return the text of the next message; nothing if its sender is gone. Raises OSError, as for a limit."""
    piece = source.recv(_PIECE)
    if len(piece) < _LENGTH.size:
        piece += _exactly(source, _LENGTH.size - len(piece)) if piece else b""
    if len(piece) < _LENGTH.size:
        return b""
    (length,) = _LENGTH.unpack_from(piece)
    text = piece[_LENGTH.size :]
    if len(text) < length:
        text += _exactly(source, length - len(text))
    return text if len(text) == length else b""


def _exactly(source: socket.socket, length: int) -> bytes:
    pieces = []
    while length and (piece := source.recv(min(length, _PIECE))):
        pieces.append(piece)
        length -= len(piece)
    return b"".join(pieces)
