"""The keys of issuers: pasted, or fetched by the outbound rule and kept in the process for a limited time.

A process asks an issuer at most once in COOL_DOWN_SECONDS, whatever tokens it is sent: keys that are unknown
do not flood the issuer. Who needs a key while one thread fetches waits for that fetch. If a refresh fails,
the known keys stay valid for KEEP_SECONDS.
"""

import math
import threading
import time
from collections import OrderedDict
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import requests
import structlog

from core.errors import BadEndpoint, OutboundError
from core.network.limits import limited
from core.network.outbound import certificate_problem, normalised_endpoint, require_permitted_literal, session
from environments_app.errors import KeysUnavailable
from environments_app.trusts.jwt.document import (
    MAX_KEY_SET_BYTES,
    BadJson,
    BadKeySet,
    Key,
    KeySet,
    read_key_set,
    read_object,
)

COOL_DOWN_SECONDS: Final = 60
FRESH_SECONDS: Final = 3600
KEEP_SECONDS: Final = 24 * 3600
_FETCH_SECONDS: Final = 5.0
# So long others wait for a fetch of an issuer whose last one failed: each holds a thread of the process.
_BRIEF_SECONDS: Final = 1.0
_MAX_SOURCES: Final = 500
# So many issuers are asked by a process at once.
_FETCHING: Final = threading.BoundedSemaphore(2)
_DISCOVERY: Final = "/.well-known/openid-configuration"
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_OK: Final = 200

logger: Final = structlog.get_logger(__name__)


class KeySource(NamedTuple):
    """Where an issuer's keys are: pasted as `jwks`, at `jwks_url`, or where its discovery document leads."""

    issuer: str
    jwks_url: str = ""
    jwks: str = ""
    # What was fetched before this time is another source's.
    since: datetime | None = None


class _Known:
    """The keys of a source as this process last saw them."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.keys: KeySet = {}
        self.fetched_at = self.tried_at = float("-inf")
        self.has_failed = False

    def find(self, algorithm: str, kid: str, *, within: float) -> Key | None:
        """Return a key, if it was seen within so many seconds."""
        return self.keys.get((algorithm, kid)) if time.monotonic() - self.fetched_at <= within else None

    @property
    def may_be_asked(self) -> bool:
        """Whether the issuer was left alone for long enough."""
        return time.monotonic() - self.tried_at >= COOL_DOWN_SECONDS

    @property
    def retry_after(self) -> int:
        """The seconds after which another attempt is of use."""
        if self.lock.locked():
            return 1
        return max(1, math.ceil(self.tried_at + COOL_DOWN_SECONDS - time.monotonic()))


_known: OrderedDict[KeySource, _Known] = OrderedDict()
_known_lock: Final = threading.Lock()


def find_key(source: KeySource, *, algorithm: str, kid: str) -> Key | None:
    """Return a key of an issuer, None if the issuer has none of this id.

    Call it outside a transaction: it may use the network. Raises KeysUnavailable.
    """
    if source.jwks:
        return _pasted(source.jwks).get((algorithm, kid))
    source_keys = _entry(source)
    if fresh := source_keys.find(algorithm, kid, within=FRESH_SECONDS):
        return fresh
    key = source_keys.find(algorithm, kid, within=KEEP_SECONDS)
    if key is None or source_keys.may_be_asked:
        _refresh(source, source_keys, wait=key is None)
        key = source_keys.find(algorithm, kid, within=KEEP_SECONDS)
    if key is None and time.monotonic() - source_keys.fetched_at > KEEP_SECONDS:
        raise KeysUnavailable("The keys of the issuer cannot be fetched now.", source_keys.retry_after)
    return key


def forget_keys() -> None:
    """Drop what this process knows of issuers."""
    with _known_lock:
        _known.clear()


def fetch_keys(source: KeySource, *, allows_none: bool = False) -> KeySet:
    """Return the keys of an issuer as they are now.

    Raises KeysUnavailable, which names the cause; also if the issuer serves none, unless it `allows_none`.
    """
    if source.jwks:
        return _pasted(source.jwks)
    try:
        with limited(_FETCH_SECONDS, most=2 * MAX_KEY_SET_BYTES):
            served = _fetched(source.jwks_url or _discovered(source.issuer))
            return read_key_set(served, allows_none=allows_none)
    except (BadKeySet, BadEndpoint, OutboundError) as error:
        raise KeysUnavailable(f"The keys of the issuer cannot be used: {error}", COOL_DOWN_SECONDS) from error


def require_key_url(url: str) -> str:
    """Return an address of keys in its one spelling.

    Raises BadEndpoint unless it is https, or local and allowed.
    """
    endpoint = normalised_endpoint(url)
    require_permitted_literal(endpoint)
    parts = urlsplit(endpoint)
    if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
        raise BadEndpoint("the keys of an issuer are fetched by https:// only")
    return endpoint


@lru_cache(maxsize=64)
def _pasted(jwks: str) -> KeySet:
    try:
        return read_key_set(jwks)
    except BadKeySet as error:
        raise KeysUnavailable(str(error), COOL_DOWN_SECONDS) from error


def _entry(source: KeySource) -> _Known:
    with _known_lock:
        source_keys = _known.setdefault(source, _Known())
        _known.move_to_end(source)
        while len(_known) > _MAX_SOURCES:
            _known.popitem(last=False)
    return source_keys


def _refresh(source: KeySource, source_keys: _Known, *, wait: bool) -> None:
    """Fetch the keys if the issuer may be asked; with `wait`, wait for the thread that fetches them.

    Raises KeysUnavailable if too many issuers are asked already, and the caller has no key.
    """
    patience = _BRIEF_SECONDS if source_keys.has_failed else _FETCH_SECONDS
    if not source_keys.lock.acquire(timeout=patience if wait else 0):
        return
    try:
        if not source_keys.may_be_asked:
            return
        if not _FETCHING.acquire(blocking=False):
            if wait:
                raise KeysUnavailable("Keeper waits for the keys of other issuers. Try again.", 1)
            return
        try:
            _fetch_into(source_keys, source)
        finally:
            _FETCHING.release()
    finally:
        source_keys.lock.release()


def _fetch_into(source_keys: _Known, source: KeySource) -> None:
    source_keys.tried_at = time.monotonic()
    source_keys.has_failed = True
    try:
        source_keys.keys = fetch_keys(source)
    except KeysUnavailable as error:
        logger.warning("issuer_keys_unavailable", issuer=source.issuer, reason=str(error))
        return
    source_keys.fetched_at = time.monotonic()
    source_keys.has_failed = False


def _discovered(issuer: str) -> str:
    """Return the address of the keys in an issuer's discovery document. Raises KeysUnavailable."""
    try:
        document: dict[str, Any] = read_object(_fetched(issuer.rstrip("/") + _DISCOVERY))
    except BadJson as error:
        raise KeysUnavailable("The discovery document is not valid JSON.", COOL_DOWN_SECONDS) from error
    place = document.get("jwks_uri")
    if document.get("issuer") != issuer or not isinstance(place, str):
        raise KeysUnavailable("The discovery document is of another issuer.", COOL_DOWN_SECONDS)
    return place


def _fetched(url: str) -> bytes:
    """Return what is at an address. Raises KeysUnavailable, BadEndpoint, OutboundError."""
    try:
        with session(most=MAX_KEY_SET_BYTES) as http:
            response = http.get(require_key_url(url), headers={"Accept": "application/json"})
    except requests.exceptions.SSLError as error:
        raise KeysUnavailable(
            f"{certificate_problem(url, error)} With another one, paste the issuer's keys into the trust.",
            COOL_DOWN_SECONDS,
        ) from error
    except (requests.RequestException, OSError) as error:
        raise KeysUnavailable("The issuer does not answer.", COOL_DOWN_SECONDS) from error
    if response.status_code != _OK:
        raise KeysUnavailable(f"The issuer answers {response.status_code}.", COOL_DOWN_SECONDS)
    return bytes(response.content)
