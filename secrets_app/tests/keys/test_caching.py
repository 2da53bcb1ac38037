"""The cache of data keys: its limits, one opening for all who wait, and what drops a key at once."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import pytest

from environments_app.tests.cast import Cast
from secrets_app.envelope import PlainKey
from secrets_app.errors import KeyUnavailable, WrongContext
from secrets_app.keys import data_keys
from secrets_app.keys.data_key_cache import BRIDGE_PAUSE_SECONDS, BRIDGE_SECONDS, KeyCache, OpenKey
from secrets_app.models import DataKey

PATIENCE_SECONDS = 60


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Keeper:
    """Stands for the key provider: opens what it is asked for, or fails as it is told."""

    def __init__(self) -> None:
        self.opened: list[UUID] = []
        self.failure: Exception | None = None

    def opens(self, data_key_id: UUID, key_uri: str = "kek") -> Callable[[], OpenKey]:
        def load() -> OpenKey:
            self.opened.append(data_key_id)
            if self.failure:
                raise self.failure
            plain = PlainKey(id=data_key_id, material=b"k" * 32)
            return OpenKey(plain=plain, scope=UUID(int=0), key_uri=key_uri)

        return load


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(clock: Clock) -> KeyCache:
    return KeyCache(ttl=300, uses=1000, size=3, clock=clock)


@pytest.fixture
def keeper() -> Keeper:
    return Keeper()


def throttled() -> KeyUnavailable:
    return KeyUnavailable("slow down", permanent=False, throttled=True)


def test_a_warm_key_is_not_opened_again(cache: KeyCache, keeper: Keeper, clock: Clock) -> None:
    key = uuid4()
    for _ in range(100):
        assert cache.get(key, keeper.opens(key)).plain.id == key
    clock.now += 299.9
    cache.get(key, keeper.opens(key))
    assert keeper.opened == [key]


def test_a_key_is_opened_again_when_it_is_old(cache: KeyCache, keeper: Keeper, clock: Clock) -> None:
    key = uuid4()
    cache.get(key, keeper.opens(key))
    clock.now += 300
    assert not cache.has(key)
    cache.get(key, keeper.opens(key))
    assert keeper.opened == [key, key]


def test_being_used_makes_a_key_no_younger(cache: KeyCache, keeper: Keeper, clock: Clock) -> None:
    key = uuid4()
    for _ in range(4):
        cache.get(key, keeper.opens(key))
        clock.now += 100
    assert len(keeper.opened) == 2


def test_a_key_is_opened_again_after_its_uses(keeper: Keeper, clock: Clock) -> None:
    cache, key = KeyCache(ttl=300, uses=10, size=3, clock=clock), uuid4()
    for _ in range(30):
        cache.get(key, keeper.opens(key))
    assert len(keeper.opened) == 3


def test_the_opening_is_the_first_of_its_uses(keeper: Keeper, clock: Clock) -> None:
    cache, key = KeyCache(ttl=300, uses=3, size=3, clock=clock), uuid4()
    opened = []
    for _ in range(7):
        cache.get(key, keeper.opens(key))
        opened.append(len(keeper.opened))
    assert opened == [1, 1, 1, 2, 2, 2, 3]


def test_the_least_recently_used_key_goes_first(cache: KeyCache, keeper: Keeper) -> None:
    first, second, third, fourth = (uuid4() for _ in range(4))
    for key in (first, second, third, first, fourth):
        cache.get(key, keeper.opens(key))
    assert [cache.has(key) for key in (first, second, third, fourth)] == [True, False, True, True]


def test_a_key_that_was_just_made_is_not_opened(cache: KeyCache, keeper: Keeper) -> None:
    key = uuid4()
    cache.put(keeper.opens(key)())
    keeper.opened.clear()
    cache.get(key, keeper.opens(key))
    assert keeper.opened == []


@pytest.mark.parametrize(
    "failure",
    [
        KeyUnavailable("denied", permanent=True),
        KeyUnavailable("no answer", permanent=False),
        WrongContext("edited"),
    ],
)
def test_only_throttling_is_bridged(
    cache: KeyCache, keeper: Keeper, clock: Clock, failure: Exception
) -> None:
    key = uuid4()
    cache.get(key, keeper.opens(key))
    clock.now += 300
    keeper.failure = failure
    with pytest.raises(type(failure)):
        cache.get(key, keeper.opens(key))
    keeper.failure = throttled()
    with pytest.raises(KeyUnavailable):
        cache.get(key, keeper.opens(key))


def test_throttling_is_bridged_for_a_bounded_time(cache: KeyCache, keeper: Keeper, clock: Clock) -> None:
    key = uuid4()
    cache.get(key, keeper.opens(key))
    keeper.failure = throttled()
    clock.now += 300 + BRIDGE_SECONDS - 1
    assert cache.get(key, keeper.opens(key)).plain.id == key
    clock.now += 1
    with pytest.raises(KeyUnavailable):
        cache.get(key, keeper.opens(key))


def test_a_bridged_key_is_opened_as_soon_as_that_works(cache: KeyCache, keeper: Keeper, clock: Clock) -> None:
    key = uuid4()
    cache.get(key, keeper.opens(key))
    clock.now += 301
    keeper.failure = throttled()
    cache.get(key, keeper.opens(key))
    keeper.failure = None
    clock.now += BRIDGE_PAUSE_SECONDS
    cache.get(key, keeper.opens(key))
    cache.get(key, keeper.opens(key))
    assert len(keeper.opened) == 3


def test_who_is_throttled_does_not_ask_for_every_value(cache: KeyCache, keeper: Keeper, clock: Clock) -> None:
    key = uuid4()
    cache.get(key, keeper.opens(key))
    keeper.failure = throttled()
    clock.now += 300
    for _ in range(100):
        cache.get(key, keeper.opens(key))
    assert len(keeper.opened) == 2


def test_a_key_that_was_never_open_is_not_bridged(cache: KeyCache, keeper: Keeper) -> None:
    keeper.failure = throttled()
    with pytest.raises(KeyUnavailable):
        cache.get(uuid4(), keeper.opens(uuid4()))


def test_a_lasting_refusal_drops_every_key_under_the_same_kek(
    cache: KeyCache, keeper: Keeper, clock: Clock
) -> None:
    old, young, other = uuid4(), uuid4(), uuid4()
    cache.get(old, keeper.opens(old, "disabled"))
    clock.now += 299
    cache.get(young, keeper.opens(young, "disabled"))
    cache.get(other, keeper.opens(other, "fine"))
    clock.now += 1
    keeper.failure = KeyUnavailable("disabled", permanent=True)
    with pytest.raises(KeyUnavailable):
        cache.get(old, keeper.opens(old, "disabled"))
    assert [cache.has(key) for key in (old, young, other)] == [False, False, True]


def test_a_refusal_that_passes_drops_no_other_key_under_the_same_kek(
    cache: KeyCache, keeper: Keeper, clock: Clock
) -> None:
    old, young = uuid4(), uuid4()
    cache.get(old, keeper.opens(old))
    clock.now += 200
    cache.get(young, keeper.opens(young))
    clock.now += 101
    keeper.failure = KeyUnavailable("no answer", permanent=False)
    with pytest.raises(KeyUnavailable):
        cache.get(old, keeper.opens(old))
    assert cache.has(young)


def test_a_lasting_refusal_of_a_key_that_was_not_open_drops_those_under_the_same_kek(
    cache: KeyCache, keeper: Keeper
) -> None:
    warm, other = uuid4(), uuid4()
    cache.get(warm, keeper.opens(warm, "disabled"))
    cache.get(other, keeper.opens(other, "fine"))
    refused = KeyUnavailable("disabled", permanent=True)
    refused.key_uri, keeper.failure = "disabled", refused
    with pytest.raises(KeyUnavailable):
        cache.get(uuid4(), keeper.opens(uuid4(), "disabled"))
    assert [cache.has(key) for key in (warm, other)] == [False, True]


@pytest.mark.django_db
def test_what_refuses_a_stored_key_names_the_key_that_wraps_it(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = DataKey.objects.get(uuid=data_keys.active_key(cast.production).id)

    def refuse(_row: DataKey) -> None:
        raise KeyUnavailable("disabled", permanent=True)

    monkeypatch.setattr(data_keys, "unwrap", refuse)
    data_keys.forget_data_keys()
    with pytest.raises(KeyUnavailable) as refused:
        data_keys.plain_key(row.uuid)
    assert refused.value.key_uri == row.key_uri


def test_many_threads_open_a_key_once(cache: KeyCache, keeper: Keeper) -> None:
    key, together, slow = uuid4(), threading.Barrier(32), threading.Event()

    def load() -> OpenKey:
        slow.wait(PATIENCE_SECONDS)
        return keeper.opens(key)()

    def ask(_number: int) -> UUID:
        together.wait(PATIENCE_SECONDS)
        return cache.get(key, load).plain.id

    with ThreadPoolExecutor(32) as pool:
        answers = [pool.submit(ask, number) for number in range(32)]
        slow.set()
        assert {answer.result(PATIENCE_SECONDS) for answer in answers} == {key}
    assert keeper.opened == [key]


def test_who_waits_hears_of_the_failure_and_the_next_one_tries_again(cache: KeyCache, keeper: Keeper) -> None:
    key, waiting, failing = uuid4(), threading.Event(), threading.Event()

    def load() -> OpenKey:
        waiting.set()
        failing.wait(PATIENCE_SECONDS)
        raise KeyUnavailable("no answer", permanent=False)

    with ThreadPoolExecutor(2) as pool:
        leader = pool.submit(cache.get, key, load)
        waiting.wait(PATIENCE_SECONDS)
        follower = pool.submit(cache.get, key, load)
        failing.set()
        for answer in (leader, follower):
            with pytest.raises(KeyUnavailable):
                answer.result(PATIENCE_SECONDS)
    assert cache.get(key, keeper.opens(key)).plain.id == key


def test_different_keys_do_not_wait_for_each_other(cache: KeyCache, keeper: Keeper) -> None:
    slow, quick, release = uuid4(), uuid4(), threading.Event()

    def load() -> OpenKey:
        release.wait(PATIENCE_SECONDS)
        return keeper.opens(slow)()

    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(cache.get, slow, load)
        assert cache.get(quick, keeper.opens(quick)).plain.id == quick
        release.set()
        assert answer.result(PATIENCE_SECONDS).plain.id == slow
