"""A cache in Redis whose absence costs what it spared, and no request."""

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.core.cache.backends.redis import RedisCache
from redis.exceptions import RedisError

Answer = TypeVar("Answer")

logger = logging.getLogger(__name__)


class SparedRedisCache(RedisCache):
    """Answers without Redis as an empty cache does: nothing is found, and whatever is added is new.

    Keeper keeps nothing in it that has to be there: the heartbeat of a worker, that a violation was
    reported a moment ago, and how many events a day that is over saw.
    """

    def add(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> bool:
        """Return whether the key was new, as every key is without Redis."""
        return _spared(lambda: super(SparedRedisCache, self).add(key, value, timeout, version), absent=True)

    def get(self, key: Any, default: Any = None, version: Any = None) -> Any:
        return _spared(lambda: super(SparedRedisCache, self).get(key, default, version), absent=default)

    def set(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> None:
        _spared(lambda: super(SparedRedisCache, self).set(key, value, timeout, version), absent=None)

    def get_many(self, keys: Any, version: Any = None) -> dict[Any, Any]:
        return _spared(lambda: super(SparedRedisCache, self).get_many(keys, version), absent={})

    def set_many(self, data: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> list[Any]:
        """Store these; return no failed keys, as caches do that cannot detect them."""
        return _spared(lambda: super(SparedRedisCache, self).set_many(data, timeout, version), absent=[])

    def delete(self, key: Any, version: Any = None) -> bool:
        return _spared(lambda: super(SparedRedisCache, self).delete(key, version), absent=False)


def _spared(act: Callable[[], Answer], *, absent: Answer) -> Answer:
    try:
        return act()
    except RedisError as error:
        logger.warning("the cache does not answer (%s)", type(error).__name__)
        return absent
