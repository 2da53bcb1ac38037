"""Redis may be away: a request does not fail for it, and violations are still reported."""

from collections.abc import Iterator

import pytest
from django.core.cache import caches
from pytest_django import Settings

from keeper_project.spared_cache import SparedRedisCache
from tests.servers.server import free_port


@pytest.fixture
def absent(settings: Settings) -> Iterator[SparedRedisCache]:
    settings.CACHES = {
        "default": {
            "BACKEND": "keeper_project.spared_cache.SparedRedisCache",
            "LOCATION": f"redis://127.0.0.1:{free_port()}/0",
        }
    }
    cache = caches["default"]
    assert isinstance(cache, SparedRedisCache)
    yield cache
    cache.close()


def test_without_redis_nothing_is_found_and_everything_is_new(absent: SparedRedisCache) -> None:
    absent.set("key", 1)
    assert absent.get("key") is None
    assert absent.get("key", "other") == "other"
    assert absent.add("key", 1) is True
    assert absent.add("key", 1) is True
    assert absent.delete("key") is False
