"""An adversary acts on a target before any request of Keeper: no other client's last value is lost, nothing is silent.

Short: combinations that cover each pair of rules, by fixed seeds. Long (`make torture`): all combinations in turn,
by new seeds, for ADVERSARY_SECONDS. A failure prints the seed, how to repeat it, and all that was done.
"""

import logging
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from random import Random

import pytest
from django.core.cache import cache
from django.db import transaction

from audit_app.interfaces import forget_keyring
from audit_app.models import forget_deployment
from environments_app.tests.cast import Cast, make_cast
from secrets_app.keys.data_keys import forget_data_keys
from sync_app.backends.registry import BACKENDS
from sync_app.tests import systems
from sync_app.tests.adversary.combinations import Combination, every, factors, pairwise
from sync_app.tests.adversary.episode import Episode
from sync_app.tests.adversary.judge import Book
from sync_app.tests.adversary.worlds import AdversaryWorld, Make

pytestmark = pytest.mark.django_db

WORLDS = {each.kind: each for each in systems.classes(BACKENDS, "adversary", AdversaryWorld)}  # type: ignore[type-abstract]
ROUNDS = 4
LONG_ROUNDS = 8
# Neighbouring seeds play by rules that have little in common.
STRIDE = 97
KEEPER = [
    "core",
    "audit_app",
    "environments_app",
    "secrets_app",
    "sync_app",
    "gateway_app",
    "operations_app",
    "keeper_project",
]


def choices(backend: str) -> dict[str, list[str]]:
    return factors(WORLDS[backend].variants if backend in WORLDS else ["?"])


SHORT = [
    pytest.param(backend, number, id=f"{backend}-{number}")
    for backend in WORLDS
    for number in range(len(pairwise(choices(backend))))
]


def test_every_backend_has_its_adversary() -> None:
    assert {world.kind for world in systems.WORLDS} == BACKENDS.keys()
    for world in systems.WORLDS:
        assert (world.kind in WORLDS) is world.compares
        assert world.compares or not BACKENDS[world.kind].capabilities.deletes_recoverably


@pytest.mark.parametrize(("backend", "number"), SHORT)
def test_nobodys_last_value_goes_and_nothing_is_silent(
    make_world: Make, cast: Cast, backend: str, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    seed = int(os.environ.get("ADVERSARY_SEED") or number)
    combination = pairwise(choices(backend))[number]
    with undone():
        play(make_world, cast, combination, seed, ROUNDS, Book(), caplog)


@contextmanager
def undone() -> Iterator[None]:
    """Forget at the end what was stored since."""
    outermost = transaction.atomic()
    # As that of a test: Keeper looks at it as if there were none, and asks other systems.
    outermost._from_testcase = True  # type: ignore[attr-defined]  # as django.test does
    with outermost:
        yield
        transaction.set_rollback(True)
    for forget in (forget_keyring, forget_deployment, forget_data_keys, cache.clear):
        forget()


def play(
    make_world: Make,
    cast: Cast,
    combination: Combination,
    seed: int,
    rounds: int,
    book: Book,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for app in KEEPER:
        caplog.set_level(logging.DEBUG, logger=app)
    random = Random(seed)
    with pytest.MonkeyPatch.context() as monkeypatch:
        world = make_world(combination["variant"], random, book.strangers)
        episode = Episode(
            cast=cast,
            world=world,
            combination=combination,
            random=random,
            book=book,
            monkeypatch=monkeypatch,
        )
        try:
            episode.play(rounds)
            episode.judge.judge_secrecy(record.getMessage() for record in caplog.records)
        except Exception as error:
            again = f"ADVERSARY_SEED={seed} {os.environ['PYTEST_CURRENT_TEST'].split(' ')[0]}"
            error.add_note("\n".join([f"seed {seed}, {dict(combination)}", f"again: {again}", *book.log]))
            raise


@pytest.mark.torture
@pytest.mark.parametrize("backend", WORLDS)
def test_nobodys_last_value_goes_under_any_combination(
    make_world: Make, backend: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    until = time.monotonic() + float(os.environ.get("ADVERSARY_SECONDS") or 600) / len(WORLDS)
    first = int(os.environ.get("ADVERSARY_SEED") or time.time_ns() // 10**9 * 1000)
    combinations = every(choices(backend))
    counts: Counter[str] = Counter()
    violations: list[str] = []
    for seed in count(first):
        if time.monotonic() > until:
            break
        book = Book()
        caplog.clear()
        try:
            with undone():
                play(
                    make_world,
                    make_cast(),
                    combinations[seed * STRIDE % len(combinations)],
                    seed,
                    LONG_ROUNDS,
                    book,
                    caplog,
                )
        except Exception as error:  # noqa: BLE001 - whatever it is, the next seed is played as well
            violations.append(
                "\n".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", [])])
            )
            with capsys.disabled():
                print(f"\n{backend}, seed {seed}: {type(error).__name__}: {str(error)[:300]}", flush=True)  # noqa: T201
        counts += book.counts
        counts["episodes"] += 1
    with capsys.disabled():
        told = [f"{number} {what}" for what, number in sorted(counts.items())]
        print(f"\n{backend}, seeds from {first}: {len(violations)} violations; {', '.join(told)}")  # noqa: T201
    assert not violations, "\n\n".join(violations)
