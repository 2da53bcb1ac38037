"""A cache in Redis that is neither needed nor trusted: what it lacks costs what it saved, and no request."""

import json
import logging
import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final, TypeVar

from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.core.cache.backends.redis import RedisCache
from django.core.signing import BadSignature, Signer
from redis.exceptions import RedisError

from core.errors import ServiceAway
from core.workers import BoundedCalls

Answer = TypeVar("Answer")

logger = logging.getLogger(__name__)

# What a call may take altogether, and for how long there is none after one without an answer.
_SECONDS: Final = 0.5
_REST_SECONDS: Final = 5.0
_ABSENT: Final = object()
_unreadable_keys: Final[set[str]] = set()
_KEYS_LOGGED: Final = 1000


class TextSerializer:
    """Stores text as it is; Django's own serializer is pickle, which runs what a writer to Redis planted."""

    def dumps(self, value: str) -> bytes:
        return value.encode()

    def loads(self, stored: bytes) -> bytes:
        return stored


class SparedRedisCache(RedisCache):
    """Answers without Redis as an empty cache does: nothing is found, and whatever is added is new.

    Keeper keeps nothing in it that has to be there: the heartbeat of a worker, that a violation was
    reported a moment ago, and how many events a day that is over saw. A value is JSON, stored with its key,
    its end and a MAC by SECRET_KEY: whatever else a writer to Redis stores counts as absent, and what
    Keeper stored counts for no other key and no longer.
    """

    def __init__(self, server: Any, params: dict[str, Any]) -> None:
        options = {**params.get("OPTIONS", {}), "serializer": TextSerializer}
        super().__init__(server, {**params, "OPTIONS": options})
        self._calls = _calls(str(server))

    def add(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> bool:
        """Return whether the key was new, as every key is without Redis."""
        sealed = self._sealed(key, value, timeout, version)
        if self._spared(
            lambda: super(SparedRedisCache, self).add(key, sealed, timeout, version), absent=True
        ):
            return True
        if self.get(key, _ABSENT, version) is not _ABSENT:
            return False
        self.set(key, value, timeout, version)
        return True

    def get(self, key: Any, default: Any = None, version: Any = None) -> Any:
        stored = self._spared(lambda: super(SparedRedisCache, self).get(key, None, version), absent=None)
        found = self._opened(key, stored, version)
        return default if found is _ABSENT else found

    def set(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> None:
        sealed = self._sealed(key, value, timeout, version)
        self._spared(lambda: super(SparedRedisCache, self).set(key, sealed, timeout, version), absent=None)

    def get_many(self, keys: Any, version: Any = None) -> dict[Any, Any]:
        wanted = list(keys)
        stored: dict[Any, bytes] = self._spared(
            lambda: super(SparedRedisCache, self).get_many(wanted, version), absent={}
        )
        found = {key: self._opened(key, text, version) for key, text in stored.items()}
        return {key: value for key, value in found.items() if value is not _ABSENT}

    def set_many(
        self, data: Mapping[Any, Any], timeout: Any = DEFAULT_TIMEOUT, version: Any = None
    ) -> list[Any]:
        """Store these; return no failed keys, as caches do that cannot detect them."""
        sealed = {key: self._sealed(key, value, timeout, version) for key, value in data.items()}
        return self._spared(
            lambda: super(SparedRedisCache, self).set_many(sealed, timeout, version), absent=[]
        )

    def delete(self, key: Any, version: Any = None) -> bool:
        return self._spared(lambda: super(SparedRedisCache, self).delete(key, version), absent=False)

    def _sealed(self, key: Any, value: Any, timeout: Any, version: Any) -> str:
        seconds = self.get_backend_timeout(timeout)
        ends = None if seconds is None else time.time() + seconds
        return _signer().sign(json.dumps([self.make_key(key, version), ends, value]))

    def _opened(self, key: Any, stored: bytes | None, version: Any) -> Any:
        if stored is None:
            return _ABSENT
        name = self.make_key(key, version)
        try:
            of, ends, value = json.loads(_signer().unsign(stored.decode()))
        except (BadSignature, UnicodeDecodeError):
            _log_once(name)
            return _ABSENT
        if of != name:
            _log_once(name)
            return _ABSENT
        return value if ends is None or time.time() < ends else _ABSENT

    def _spared(self, act: Callable[[], Answer], *, absent: Answer) -> Answer:
        try:
            return self._calls.run(act)
        except ServiceAway as error:
            if error.__cause__ is not None:
                logger.warning("the cache does not answer (%s)", error, extra={"cause": error})
        except self._calls.failures as error:
            logger.warning("the cache does not answer (%s)", type(error).__name__, extra={"cause": error})
        return absent


def _signer() -> Signer:
    return Signer(salt="keeper_project.runtime.resilient_cache")


@cache
def _calls(_server: str) -> BoundedCalls:
    return BoundedCalls("cache", seconds=_SECONDS, rest=_REST_SECONDS, failures=(RedisError, OSError))


def _log_once(name: str) -> None:
    """Log that a key holds what Keeper did not store there, once a process."""
    if name not in _unreadable_keys and len(_unreadable_keys) < _KEYS_LOGGED:
        _unreadable_keys.add(name)
        logger.warning("the cache holds what Keeper did not store under %s: Redis has another writer", name)
