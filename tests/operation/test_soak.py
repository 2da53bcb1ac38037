"""Memory stays flat however much is asked: what each request leaves behind, over many of them.

The short form counts what this process still holds after seeded requests of every kind. The long
one (`make torture`) loads Keeper as it is deployed, worker included, and looks at its processes.
"""

import functools
import gc
import json
import logging
import random
import statistics
import sys
import tracemalloc
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.test import Client, RequestFactory

from benchmarks.measuring.client import mixed
from benchmarks.measuring.processes import memory_mb
from benchmarks.measuring.scale import CLIENTS
from benchmarks.measuring.stage import MARIADB, SQLITE, Stage
from environments_app.tests.cast import Cast
from secrets_app.models import Secret
from secrets_app.tests.kept import keep
from tests.operation.mixed_load import LoadedKeeper, requests_of

_REQUESTS: Final = RequestFactory()
SEED = 20_261_125
# One forgotten dictionary a request is more than that.
BYTES_A_REQUEST = 150
# Caches of bounded size are full, templates and statements compiled.
WARM, MEASURED, ROUNDS = 150, 60, 9
LONG_ROUNDS, LONG_SECONDS = 12, 60.0
# Of all processes together; what glibc keeps for its arenas comes and goes by some megabytes.
LONG_BYTES_A_REQUEST = 200


@pytest.mark.django_db(transaction=True)
def test_requests_leave_nothing_behind(cast: Cast, bearer: Callable[..., Client]) -> None:
    secrets = [keep(cast, f"a/{number}") for number in range(5)]
    authorization = bearer("editor", cast.development).defaults["HTTP_AUTHORIZATION"]
    # As the web server calls it: the test client itself leaves receivers of signals behind.
    ask, draw = partial(_answered, WSGIHandler(), str(authorization)), random.Random(SEED)
    _ask(ask, secrets, draw, WARM)
    held = _held_after_each(lambda: _ask(ask, secrets, draw, MEASURED))
    # The first round after tracing began makes what every round reuses.
    assert _growth(held[1:]) / MEASURED < BYTES_A_REQUEST, held


def test_what_is_left_behind_would_be_seen() -> None:
    kept: list[dict[str, int]] = []
    held = _held_after_each(lambda: kept.extend({"request": number} for number in range(MEASURED)))
    assert _growth(held) / MEASURED > BYTES_A_REQUEST


def _growth(held: Sequence[int]) -> float:
    """Return by how much the usual round grew: what each request leaves behind shows in every one.

    A thread of another test, or a statement that is compiled late, shows in one or two.
    """
    return statistics.median(after - before for before, after in pairwise(held))


@pytest.mark.torture
@pytest.mark.parametrize("database", [SQLITE, MARIADB])
def test_processes_stay_as_large_as_they_were(tmp_path: Path, database: str) -> None:
    with Stage(tmp_path, [database]) as stage:
        keeper = stage.loaded_keeper(LoadedKeeper, database)
        keeper.deliver_to(stage.sync_servers["vault_kv2"])
        requests = requests_of(keeper.client("development"), keeper.secret_ids, seed=SEED)
        sizes, answered = [], []
        for _ in range(LONG_ROUNDS):
            found = mixed(keeper.port, requests, clients=CLIENTS, seconds=LONG_SECONDS)
            assert not found.errors
            answered.append(sum(len(times) for times in found.latencies.values()))
            sizes.append(memory_mb(keeper.pid or 0) * 1_000_000)
            print(f"{database}: {sum(answered):,} requests, {sizes[-1] / 1_000_000:.1f} MB")  # noqa: T201 - the soak's log
        late = LONG_ROUNDS // 3
        assert _slope(sizes[late:]) / statistics.mean(answered[late:]) < LONG_BYTES_A_REQUEST, sizes


def _ask(ask: Callable[..., int], secrets: Sequence[Secret], draw: random.Random, count: int) -> None:
    """Ask for something of every kind, in an order that the seed draws."""
    for number in range(count):
        secret = draw.choice(secrets)
        kind = draw.choice(["hot read", "read", "write", "list", "export", "refused", "missing"])
        path = {
            "hot read": f"/api/secrets/{secret.pk}",
            "read": f"/api/secrets/{secret.pk}?stage=",
            "write": f"/api/secrets/{secret.pk}",
            "list": "/api/secrets?environment=development",
            "export": "/api/environments/development/export?format=json",
            "refused": "/api/environments/development/tokens",
            "missing": f"/api/secrets/{10**9 + number}",
        }[kind]
        value = f"v{draw.random()}" if kind == "write" else ""
        assert ask(path, value) == {"refused": 403, "missing": 404}.get(kind, 200), kind


def _answered(application: WSGIHandler, authorization: str, path: str, value: str) -> int:
    """Ask as a web server does, take all of the answer, and return its status."""
    body = json.dumps({"value": value})
    made = (
        _REQUESTS.put(path, body, content_type="application/json", HTTP_AUTHORIZATION=authorization)
        if value
        else _REQUESTS.get(path, HTTP_AUTHORIZATION=authorization)
    )
    statuses: list[str] = []
    answer = application(made.environ, lambda status, _headers, *_: statuses.append(status))  # type: ignore[arg-type]
    for _ in answer:
        pass
    answer.close()
    return int(statuses[0].partition(" ")[0])


def _held_after_each(ask: Callable[[], None]) -> list[int]:
    """Return the bytes that this process holds on to after each round of asking."""
    held = []
    # What the suite has set aside is not among the objects that the collector lists, nor are its caches.
    gc.unfreeze()
    caches = _bounded_caches()
    try:
        # The suite's own record of log lines would grow; and what is here already need not be gone over.
        logging.disable()
        gc.freeze()
        tracemalloc.start()
        for _ in range(ROUNDS):
            ask()
            for cache in caches:
                cache.cache_clear()
            # It keeps each composed name that was asked for, such as Django's `as_sqlite`, up to 4,096 of them.
            sys._clear_type_cache()
            gc.collect()
            held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
        gc.freeze()
        logging.disable(logging.NOTSET)
    return held


def _bounded_caches() -> list[Any]:
    """Return the caches whose size has an end: the proofs of thousands of rows fill theirs slowly."""
    return [
        found
        for found in gc.get_objects()
        # Not isinstance: a proxy would ask what it stands for, which may be gone.
        if type(found) is functools._lru_cache_wrapper and found.cache_parameters()["maxsize"]
    ]


def _slope(sizes: Sequence[float]) -> float:
    """Return by how much the sizes grow from one to the next: the median of all pairs (Theil-Sen)."""
    pairs = [
        (later - earlier) / (to - since)
        for since, earlier in enumerate(sizes)
        for to, later in enumerate(sizes)
        if to > since
    ]
    return statistics.median(pairs)
