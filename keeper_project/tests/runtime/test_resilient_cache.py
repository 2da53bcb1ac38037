"""Redis may be away: a request does not fail for it, and violations are still reported."""

from keeper_project.runtime.resilient_cache import SparedRedisCache
from tests.servers.server import free_port


def test_without_redis_nothing_is_found_and_everything_is_new() -> None:
    absent = SparedRedisCache(f"redis://127.0.0.1:{free_port()}/0", {})
    absent.set("key", 1)
    assert absent.get("key") is None
    assert absent.get("key", "other") == "other"
    assert absent.add("key", 1) is True
    assert absent.add("key", 1) is True
    assert absent.delete("key") is False
