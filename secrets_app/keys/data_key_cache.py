"""Keeps data keys in the clear for a while: bounded in number, age and uses, opened once at a time."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from secrets_app.envelope import PlainKey
from secrets_app.errors import KeyUnavailable
from secrets_app.metrics import KEY_CACHE

# How long past its age a key may still be used while KMS only asks to slow down.
BRIDGE_SECONDS: Final = 300.0
# How long a bridged key is used before KMS is asked again: who is throttled must ask less.
BRIDGE_PAUSE_SECONDS: Final = 5.0

# Looked up once: a label's counter is found by a lock and a dictionary, on each read of a value.
_HITS, _MISSES, _BRIDGED, _FAILED = (
    KEY_CACHE.labels(result) for result in ("hit", "miss", "bridged", "failed")
)


@dataclass(frozen=True, kw_only=True)
class OpenKey:
    """A data key in the clear, the scope it belongs to, and the key that wraps it."""

    plain: PlainKey
    scope: UUID
    key_uri: str


@dataclass(slots=True)
class _Entry:
    key: OpenKey
    opened_at: float
    uses: int = 0
    bridged_until: float = 0.0


class KeyCache:
    """Opens each data key once for all threads that ask, and keeps it within its limits.

    A key is opened again after `ttl` seconds or `uses` uses; beyond `size` keys the least
    recently used one goes. When opening fails permanently (denied, disabled, edited), every key
    under the same key encryption key goes at once. Throttling alone is bridged: the key is
    used for up to BRIDGE_SECONDS longer. `clock` is monotonic, in seconds.
    """

    def __init__(
        self, *, ttl: float, uses: int, size: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ttl, self._uses, self._size, self._clock = ttl, uses, size, clock
        self._lock = threading.Lock()
        self._entries: OrderedDict[UUID, _Entry] = OrderedDict()
        self._opening: dict[UUID, Future[OpenKey]] = {}

    def get(self, data_key_id: UUID, load: Callable[[], OpenKey]) -> OpenKey:
        """Return a data key, opened by `load` if it is not kept; passes on what `load` raises.

        A KeyUnavailable of `load` names the key that wraps the data key.
        """
        with self._lock:
            if key := self._used(data_key_id):
                return key
            flight = self._opening.get(data_key_id)
            if mine := flight is None:
                flight = self._opening[data_key_id] = Future()
        return self._open(data_key_id, load, flight) if mine else flight.result()

    def held(self, data_key_id: UUID) -> OpenKey | None:
        """Return a data key, which counts as a use, if it is kept and fresh; opens none."""
        with self._lock:
            return self._used(data_key_id)

    def put(self, key: OpenKey) -> None:
        with self._lock:
            self._store(key)

    def has(self, data_key_id: UUID) -> bool:
        with self._lock:
            entry = self._entries.get(data_key_id)
            return entry is not None and self._clock() - entry.opened_at < self._ttl

    def evict(self, data_key_id: UUID) -> None:
        with self._lock:
            self._entries.pop(data_key_id, None)

    def evict_wrapped_by(self, key_uri: str) -> None:
        with self._lock:
            kept = [item for item in self._entries.items() if item[1].key.key_uri != key_uri]
            self._entries = OrderedDict(kept)

    def _used(self, data_key_id: UUID) -> OpenKey | None:
        entry = self._entries.get(data_key_id)
        if entry is None or not self._is_fresh(entry):
            return None
        entry.uses += 1
        self._entries.move_to_end(data_key_id)
        _HITS.inc()
        return entry.key

    def _is_fresh(self, entry: _Entry) -> bool:
        now = self._clock()
        in_bounds = entry.uses < self._uses and now - entry.opened_at < self._ttl
        return in_bounds or now < entry.bridged_until

    def _open(self, data_key_id: UUID, load: Callable[[], OpenKey], flight: "Future[OpenKey]") -> OpenKey:
        try:
            key = self._load(data_key_id, load)
        except BaseException as error:
            with self._lock:
                del self._opening[data_key_id]
            flight.set_exception(error)
            raise
        with self._lock:
            del self._opening[data_key_id]
        flight.set_result(key)
        return key

    def _load(self, data_key_id: UUID, load: Callable[[], OpenKey]) -> OpenKey:
        try:
            key = load()
        except KeyUnavailable as error:
            bridged = self._use_expired(data_key_id) if error.throttled else None
            if bridged:
                _BRIDGED.inc()
                return bridged
            _FAILED.inc()
            with self._lock:
                entry = self._entries.pop(data_key_id, None)
            key_uri = entry.key.key_uri if entry else error.key_uri
            if key_uri and error.permanent:
                self.evict_wrapped_by(key_uri)
            raise
        except BaseException:
            _FAILED.inc()
            self.evict(data_key_id)
            raise
        _MISSES.inc()
        with self._lock:
            self._store(key)
        return key

    def _use_expired(self, data_key_id: UUID) -> OpenKey | None:
        with self._lock:
            entry = self._entries.get(data_key_id)
            now = self._clock()
            end = entry.opened_at + self._ttl + BRIDGE_SECONDS if entry else now
            if entry is None or now >= end:
                return None
            entry.bridged_until = min(now + BRIDGE_PAUSE_SECONDS, end)
            return entry.key

    def _store(self, key: OpenKey) -> None:
        self._entries[key.plain.id] = _Entry(key, self._clock(), uses=1)
        self._entries.move_to_end(key.plain.id)
        while len(self._entries) > self._size:
            self._entries.popitem(last=False)
