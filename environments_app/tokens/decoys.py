"""Decoy tokens: texts to leave where only a thief looks. They open nothing, and each use raises an alert.

A decoy is answered as a token that Keeper never issued: no query that lets tokens in finds its row. What a
refused request carries is looked up besides, by the same query whether or not there is a decoy. The alert is
written a moment later by a thread of its own, so that no answer waits for it; uses of a moment are one event.
"""

import base64
import binascii
import logging
import re
import threading
from atexit import register
from collections.abc import Iterator
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID, uuid4

from django.db import DatabaseError, connection, transaction
from django.http import HttpRequest
from django.http.request import RawPostDataException
from django.urls import reverse
from django.utils import timezone

from audit_app.events import streams
from audit_app.events.actions import Action, Outcome
from audit_app.events.actors import anonymous
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import record
from core.canonical_json import Json
from environments_app.approvals.approvers import possible_managers
from environments_app.models import Environment, PersonalToken, ServiceToken, User, UserRole
from environments_app.notifications.service import DECOY, raise_alert

# A token of either kind in a text, whatever follows its public id; and the id where a protocol has it alone.
_TOKENS: Final = re.compile(rb"(?=(kp[ru])_([A-Za-z0-9_-]{22}))")
_ALONE: Final = re.compile(rb'(?:Credential=|")([A-Za-z0-9_-]{22})["/]')
_HEADERS: Final = ("HTTP_AUTHORIZATION", "HTTP_X_VAULT_TOKEN", "HTTP_X_AMZ_SECURITY_TOKEN", "QUERY_STRING")
_BASIC: Final = "basic "
_MOST_TEXTS: Final = 8
_MOST_BYTES: Final = 65_536
_MOST_WAITING: Final = 10_000
_PAUSE_SECONDS: Final = 1.0
_RETRY_SECONDS: Final = 5.0
_MAX_SHOWN: Final = 120
_log = logging.getLogger(__name__)


class _Use(NamedTuple):
    """Where a decoy was sent from and to."""

    model: type[ServiceToken | PersonalToken]
    token: int
    address: str
    path: str
    agent: str


# How often each use happened that is not stored yet, and when it did first.
_waiting: Final[dict[_Use, tuple[int, datetime]]] = {}
_lock: Final = threading.Lock()
_noted: Final = threading.Event()
_thread: list[threading.Thread] = []


def note_request(request: HttpRequest) -> None:
    """Note the decoys that a refused request carries, in its headers, its address or its body."""
    found = list(_ids(request))[:_MOST_TEXTS]
    if not found:
        return
    origin = (
        str(getattr(request, "client_address", "")),
        _plain(request.path),
        _plain(request.META.get("HTTP_USER_AGENT", "")),
    )
    for model, public_id in found:
        for pk in _decoys(model, public_id):
            _note(_Use(model, pk, *origin))


def note_text(text: str, *, address: str, path: str) -> None:
    """Note a decoy that a person gave to a search for leaks."""
    for model, public_id in list(_found_in(text.encode(errors="surrogatepass")))[:_MOST_TEXTS]:
        for pk in _decoys(model, public_id):
            _note(_Use(model, pk, address, path, ""))


def store() -> None:
    """Store what was noted: for each use its event, with how often it happened, and the alert of its token.

    Raises what the database raises; then all of it waits on.
    """
    with _lock:
        uses = dict(_waiting)
        _waiting.clear()
    stored: set[_Use] = set()
    try:
        for use, (count, at) in uses.items():
            _store(use, count, at)
            stored.add(use)
    finally:
        with _lock:
            for use in uses.keys() - stored:
                count, at = uses[use]
                _waiting[use] = _waiting.get(use, (0, at))[0] + count, at


def _decoys(model: type[ServiceToken | PersonalToken], public_id: str) -> list[int]:
    rows = model.objects.filter(public_id=public_id, decoy=True, revoked_at=None)
    return list(rows.values_list("pk", flat=True)[:1])


def _ids(request: HttpRequest) -> Iterator[tuple[type[ServiceToken | PersonalToken], str]]:
    for name in _HEADERS:
        text = request.META.get(name, "")
        yield from _found_in(text.encode(errors="replace"))
        if name == "HTTP_AUTHORIZATION" and text.lower().startswith(_BASIC):
            yield from _found_in(_decoded(text[len(_BASIC) :]))
    yield from _found_in(request.path.encode(errors="replace"))
    try:
        body = request.body if int(request.META.get("CONTENT_LENGTH") or 0) <= _MOST_BYTES else b""
    except (RawPostDataException, ValueError, OSError):
        body = b""
    yield from _found_in(body)


def _found_in(text: bytes) -> Iterator[tuple[type[ServiceToken | PersonalToken], str]]:
    for match in _TOKENS.finditer(text):
        yield PersonalToken if match[1] == b"kpu" else ServiceToken, match[2].decode()
    for match in _ALONE.finditer(text):
        yield ServiceToken, match[1].decode()
        yield PersonalToken, match[1].decode()


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=False)
    except (binascii.Error, ValueError):
        return b""


def _plain(text: str) -> str:
    """Return what is shown of a text that a caller chose: one line without any token."""
    line = "".join(letter if letter.isprintable() else "?" for letter in text[: 4 * _MAX_SHOWN])
    return re.sub(r"kp[ruw]_[A-Za-z0-9_-]+", "…", line)[:_MAX_SHOWN]


def _note(use: _Use) -> None:
    with _lock:
        if use not in _waiting and len(_waiting) >= _MOST_WAITING:
            # A flood of made-up agents and paths is told by its address alone.
            use = use._replace(path="", agent="")
        count, at = _waiting.get(use, (0, timezone.now()))
        _waiting[use] = count + 1, at
    start()


def start() -> None:
    """Let the thread of this process store what was noted."""
    with _lock:
        if not _thread or not _thread[0].is_alive():
            _thread[:] = [threading.Thread(target=_keep_storing, name="decoys", daemon=True)]
            _thread[0].start()
            register(_store_last)
    _noted.set()


def _keep_storing() -> None:
    pause = threading.Event()
    while _noted.wait():
        _noted.clear()
        pause.wait(_PAUSE_SECONDS)
        while not _has_stored():
            pause.wait(_RETRY_SECONDS)


def _has_stored() -> bool:
    try:
        store()
    except DatabaseError as error:
        _log.warning("uses of decoy tokens are not stored yet: %s", type(error).__name__)
        return False
    finally:
        connection.close()
    return True


def _store_last() -> None:
    """Store at the end of the process what the thread has not."""
    if _waiting:
        _has_stored()


def _store(use: _Use, count: int, at: datetime) -> None:
    rows = use.model.objects.select_related("environment")
    token = rows.filter(pk=use.token).first()
    if token is None:
        return
    place = token.environment
    owner = token.user if isinstance(token, PersonalToken) else None
    times = "once" if count == 1 else f"{count:,} times"
    line = (
        f"{at:%Y-%m-%d %H:%M:%S} UTC: sent {times} from {use.address or 'this host'} "
        f"to {use.path or 'several paths'}{f' by {use.agent}' if use.agent else ''}."
    )
    details: dict[str, Json] = {"path": use.path, "agent": use.agent, "count": count}
    with transaction.atomic():
        raise_alert(
            kind=DECOY,
            about=token.uuid,
            environment=place,
            subject=f"Decoy token used: {token.name}{f' of {place.name}' if place else ''}"[:200],
            lines=[line, _NEXT],
            link=_link(token),
            signature=uuid4().hex,
            people=watchers(place) | ({owner.uuid} if owner else set()),
            adds=True,
        )
        record(
            actor=anonymous(use.address),
            action=Action.TOKEN_DECOY,
            stream=streams.environment_stream(place.uuid) if place else streams.SYSTEM,
            object=AuditObject("token", token.uuid, token.name),
            outcome=Outcome.DENIED,
            details=details,
        )


_NEXT: Final = "Nobody has a reason to use it. Look at where you left it, and at who was there."


def watchers(place: Environment | None) -> set[UUID]:
    """Return who is told of a decoy's use: managers, of the installation its administrators; auditors."""
    auditors = User.objects.filter(role=UserRole.AUDITOR, is_active=True)
    managers = possible_managers(place) if place else User.objects.filter(role=UserRole.ADMIN, is_active=True)
    return {person.uuid for person in (*managers, *auditors)}


def _link(token: ServiceToken | PersonalToken) -> str:
    if isinstance(token, PersonalToken) or token.environment is None:
        return ""
    return reverse("token-detail", args=[token.environment.name, token.pk])
