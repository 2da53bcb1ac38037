"""Redis may be away, hang, or have another writer: no request fails for it, and nothing is believed."""

import json
import os
import pickle
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import redis
from django.core.cache import caches
from pytest_django import Settings

from keeper_project.runtime import resilient_cache
from keeper_project.runtime.resilient_cache import SparedRedisCache
from tests import hostile
from tests.servers.server import free_port

SECONDS = 0.5


@pytest.fixture
def url() -> str:
    found = os.environ.get("KEEPER_TEST_REDIS_URL")
    assert found, "Redis is not there: run the tests with make test, or by python -m tests.servers -- pytest"
    return found


@pytest.fixture
def cache(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[SparedRedisCache]:
    # A machine that does other work is no Redis that hangs.
    monkeypatch.setattr(resilient_cache, "_SECONDS", 60.0)
    resilient_cache._calls.cache_clear()
    options = {"socket_timeout": 60.0, "socket_connect_timeout": 60.0}
    yield SparedRedisCache(url, {"KEY_PREFIX": uuid4().hex, "OPTIONS": options})
    resilient_cache._calls.cache_clear()


@pytest.fixture
def client(url: str) -> Iterator["redis.Redis"]:
    """Another program that may write to this Redis."""
    with redis.Redis.from_url(url) as made:
        yield made


class Planted:
    """What writes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.write_text, (self._marker, "run")


def test_without_redis_nothing_is_found_and_everything_is_new() -> None:
    absent = SparedRedisCache(f"redis://127.0.0.1:{free_port()}/0", {})
    absent.set("key", 1)
    assert absent.get("key") is None
    assert absent.get("key", "other") == "other"
    assert absent.add("key", 1) is True
    assert absent.add("key", 1) is True
    assert absent.delete("key") is False
    assert absent.get_many(["key"]) == {}
    assert absent.set_many({"key": 1}) == []


@pytest.mark.parametrize("value", [7, 0, True, "text", "", None, 1.5, [["a", 1]], {"living": 3}])
def test_what_is_stored_comes_back(cache: SparedRedisCache, value: object) -> None:
    cache.set("key", value)
    assert cache.get("key", "absent") == value
    cache.set_many({"one": value, "two": 2})
    assert cache.get_many(["one", "two", "three"]) == {"one": value, "two": 2}
    assert cache.add("key", 8) is False
    assert cache.add("new", value) is True
    assert cache.get("new", "absent") == value
    cache.delete("key")
    assert cache.get("key", "absent") == "absent"


def test_what_another_writer_plants_is_not_run(
    cache: SparedRedisCache, client: "redis.Redis", tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client.set(cache.make_key("key"), pickle.dumps(Planted(tmp_path / "marker")))
    for _ in range(3):
        assert cache.get("key", "absent") == "absent"
        assert cache.get_many(["key"]) == {}
    assert not (tmp_path / "marker").exists()
    # The suite repeats lines that many requests would repeat.
    assert caplog.text.count("Redis has another writer") == 1


def test_what_another_writer_stores_is_absent(cache: SparedRedisCache, client: "redis.Redis") -> None:
    cache.set("real", {"living": 3})
    real = client.get(cache.make_key("real"))
    assert isinstance(real, bytes)
    for planted in (
        b"1",
        b'"text"',
        b"[" * 100_000,
        b"\xff\xfe",
        b"",
        real,
        real[:-1],
        real.replace(b"3", b"4"),
    ):
        client.set(cache.make_key("key"), planted)
        assert cache.get("key", "absent") == "absent"
        # It keeps nothing from being new: a violation is reported, and a view recorded.
        assert cache.add("key", 1) is True
        assert cache.add("key", 1) is False
    assert cache.get("real") == {"living": 3}


def test_what_keeper_stored_counts_no_longer_than_it_said(
    cache: SparedRedisCache, client: "redis.Redis"
) -> None:
    cache.set("key", 1, timeout=1)
    stored = client.get(cache.make_key("key"))
    assert isinstance(stored, bytes)
    time.sleep(1.1)
    client.set(cache.make_key("key"), stored)
    assert cache.get("key") is None
    assert cache.add("key", 1) is True


def test_another_secret_key_reads_nothing(cache: SparedRedisCache, settings: Settings) -> None:
    cache.set("key", 1)
    settings.SECRET_KEY = "another key of at least 32 characters, for this test"
    assert cache.get("key") is None


@pytest.mark.parametrize("serve", [hostile.silence, lambda: hostile.drip(b"$100000\r\n")])
def test_a_redis_that_hangs_is_given_up_and_left_alone(serve: Callable[[], Iterator[bytes]]) -> None:
    with hostile.serving(serve) as server:
        hanging = SparedRedisCache(
            f"redis://127.0.0.1:{server.port}/0", {"OPTIONS": {"socket_timeout": SECONDS}}
        )
        began = time.monotonic()
        for number in range(20):
            assert hanging.get(f"key{number}") is None
            hanging.set(f"key{number}", 1)
            assert hanging.add(f"key{number}", 1) is True
        # The first takes its time; the next come within the pause.
        assert time.monotonic() - began < resilient_cache._SECONDS + SECONDS


def test_redis_is_used_by_this_cache_alone(settings: Settings) -> None:
    """A serializer that runs what it reads would have to be named in the settings."""
    assert json.loads(json.dumps(settings.CACHES)) == settings.CACHES
    assert "serializer" not in json.dumps(settings.CACHES)
    assert caches["default"].__class__.__name__ in {"LocMemCache", "SparedRedisCache"}
