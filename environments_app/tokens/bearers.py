"""Who bears a token, a session of a token, or an own copy of an environment's values.

A token is one of a program or one of a person. An own copy is what a client may use for a limited time
while Keeper cannot be reached.

A session of a token serves protocols that sign requests with a key instead of sending the token. Its text
holds a random signing key, sealed under a system key with the token's public id and an end. Keeper stores
none of it: the key is recovered from the text that each request carries. A session has the rights of its
token at that moment, and ends with it. A process holds the sessions that it opened in its own memory for a
minute.
"""

import base64
import binascii
import hashlib
import secrets
import struct
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID, uuid4

from django.utils import timezone

from audit_app.errors import NotSealedHere
from audit_app.events.actors import NIL, ActorKind
from audit_app.interfaces import Place, Purpose, keyring
from core.clock import is_in
from environments_app.authorization.policy import Principal
from environments_app.errors import BadToken
from environments_app.models import Environment, PersonalToken, ServiceToken
from environments_app.tokens.authentication import authenticate, authenticate_session, parse
from environments_app.tokens.personal import (
    PREFIX,
    authenticate_personal,
    authenticate_personal_session,
    parse_personal,
)


def bearer_of(raw: str, *, address: str, request_id: str = "") -> Principal:
    """Return whom the text of a token stands for. Raises BadToken and TooManyRequests."""
    door = authenticate_personal if raw.startswith(PREFIX) else authenticate
    return door(raw, address=address, request_id=request_id)


def session_bearer(public_id: str, *, address: str, request_id: str = "") -> Principal:
    """Return whom the token of a session that Keeper sealed stands for, as it is now. Raises BadToken."""
    try:
        return authenticate_session(public_id, address=address, request_id=request_id)
    except BadToken as error:
        if error.reason != "unknown-token":
            raise
    return authenticate_personal_session(public_id, address=address, request_id=request_id)


def token_behind(actor: Principal) -> PersonalToken | ServiceToken | None:
    """Return the token by which an actor calls, with its environment; None without one."""
    if actor.scope is not None:
        return PersonalToken.objects.select_related("environment").filter(uuid=actor.scope.token).first()
    if actor.kind is ActorKind.TOKEN:
        return ServiceToken.objects.select_related("environment").filter(uuid=actor.uuid).first()
    return None


# Seconds, in an answer with values; without it a client keeps no copy, and deletes what it has.
HEADER: Final = "Keeper-Offline"


def offline_seconds(*, actor: Principal, environment: Environment) -> int:
    """Return for how long a copy may be used: as the environment allows, and not beyond the end of its token.

    0 forbids copies, as always for a request without a token.
    """
    if environment.offline_hours is None:
        return 0
    token = token_behind(actor)
    if token is None:
        return 0
    allowed = timedelta(hours=environment.offline_hours)
    time_left = min(allowed, token.expires_at - timezone.now()) if token.expires_at else allowed
    return max(int(time_left.total_seconds()), 0)


LIFETIME: Final = timedelta(hours=1)
_LABEL: Final = "token.session"
_VERSION: Final = b"\x01"
# The key, the end in seconds, and the public id of the token.
_CONTENT: Final = struct.Struct(">30sQ22s")
_UUID_BYTES: Final = 16
_MAX_TEXT: Final = 1024
_KEPT_SECONDS: Final = 60.0
_MAX_KEPT: Final = 1_000


@dataclass(frozen=True, kw_only=True, repr=False)
class TokenSession:
    """A session of a token; it has no repr."""

    id: UUID
    key: str
    public_id: str
    expires_at: datetime
    # What a protocol derived of the key, by what for; it is kept as long as the session is.
    derived: dict[str, bytes] = field(default_factory=dict, compare=False)

    @property
    def is_over(self) -> bool:
        return not is_in(self.expires_at, within=LIFETIME)


def begin_session(raw: str, *, address: str, request_id: str = "") -> tuple[TokenSession, str]:
    """Return a new session of a token, and its text.

    It ends with the token at the latest. Raises BadToken, also for a token that administers: it reads no
    value.
    """
    if not bearer_of(raw, address=address, request_id=request_id).grants:
        raise BadToken("token-without-environment")
    is_personal = raw.startswith(PREFIX)
    public_id, _ = parse_personal(raw) if is_personal else parse(raw)
    model: type[PersonalToken | ServiceToken] = PersonalToken if is_personal else ServiceToken
    return session_of(model.objects.get(public_id=public_id))


def session_of(token: PersonalToken | ServiceToken) -> tuple[TokenSession, str]:
    """Return a new session of a token whose bearer was let in, and its text."""
    ends = timezone.now() + LIFETIME
    key = secrets.token_bytes(30)
    session = TokenSession(
        id=uuid4(),
        key=_key_text(key),
        public_id=token.public_id,
        expires_at=min(ends, token.expires_at or ends).replace(microsecond=0),
    )
    content = _CONTENT.pack(key, int(session.expires_at.timestamp()), token.public_id.encode("ascii"))
    sealed = keyring().seal(Purpose.TOKEN_SESSION, content, place=_place(session.id))
    return session, base64.urlsafe_b64encode(_VERSION + session.id.bytes + sealed).decode("ascii")


# By the digest of the text: until when it is kept, and the session.
_kept: Final[dict[bytes, tuple[float, TokenSession]]] = {}


def open_session(text: str) -> TokenSession:
    """Return the session of a text that `begin_session` gave, over or not. Raises BadToken for any other."""
    digest, now = hashlib.sha256(text.encode()).digest(), time.monotonic()
    until, session = _kept.get(digest) or (0.0, None)
    if session is None or until < now:
        session = _opened(text)
        if len(_kept) >= _MAX_KEPT:
            _kept.clear()
        _kept[digest] = now + _KEPT_SECONDS, session
    return session


def _opened(text: str) -> TokenSession:
    stored = _decoded(text)
    row, sealed = UUID(bytes=stored[1 : 1 + _UUID_BYTES]), stored[1 + _UUID_BYTES :]
    try:
        content = keyring().open(Purpose.TOKEN_SESSION, sealed, place=_place(row))
    except NotSealedHere as error:
        raise BadToken("forged-session") from error
    key, ends, public_id = _CONTENT.unpack(content)
    return TokenSession(
        id=row,
        key=_key_text(key),
        public_id=public_id.decode("ascii"),
        expires_at=datetime.fromtimestamp(ends, UTC),
    )


def _decoded(text: str) -> bytes:
    try:
        stored = base64.b64decode(text[:_MAX_TEXT], altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadToken("malformed-session") from error
    canonical = base64.urlsafe_b64encode(stored).decode("ascii") == text
    if not canonical or stored[:1] != _VERSION or len(stored) <= 1 + _UUID_BYTES:
        raise BadToken("malformed-session")
    return stored


def _key_text(key: bytes) -> str:
    return base64.b64encode(key).decode("ascii")


def _place(row: UUID) -> Place:
    return Place(label=_LABEL, row=row, owner=NIL)
