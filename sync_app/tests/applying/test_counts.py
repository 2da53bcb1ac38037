"""What a pass asks of a target: metadata where nothing changed, and for a change no more writes than it takes."""

import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from environments_app.tests.cast import Cast
from secrets_app.services.bulk_create import MAX_ITEMS, NewSecret, create_many
from secrets_app.types.registry import SecretType
from sync_app.backends.aws.secrets_manager import AwsSecretsManager
from sync_app.backends.aws.tests.world import AwsWorld
from sync_app.backends.vault.adapter import PooledAdapter
from sync_app.backends.vault.tests.world import VaultWorld
from sync_app.models import Run
from sync_app.runs import runner as runs_runner
from sync_app.tests.applying.stage import Stage

pytestmark = pytest.mark.every_database_weekly

NUMBER = 20
Asked = Callable[[], AbstractContextManager[Counter[str]]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Count what is asked of Vault, as "GET data": the method, and the part of the engine."""

    @contextmanager
    def counted() -> Iterator[Counter[str]]:
        counts: Counter[str] = Counter()
        send = PooledAdapter.request

        def count(self: PooledAdapter, method: str, url: str, **options: Any) -> Any:
            mount, part = url.removeprefix("/v1/").split("/")[:2]
            if mount == "secret":
                counts[f"{method} {part}"] += 1
            return send(self, method, url, **options)

        with monkeypatch.context() as patch:
            patch.setattr(PooledAdapter, "request", count)
            yield counts

    return counted


def changed(stage: Stage, value: str) -> None:
    for number in range(NUMBER):
        stage.keep(f"app/{number:02}", value)
    stage.world_rest()


def test_vault_is_asked_for_metadata_alone_where_nothing_changed(
    cast: Cast, vault: VaultWorld, asked: Asked
) -> None:
    stage = Stage(cast, vault)
    changed(stage, "first")
    stage.sync()
    with asked() as counts:
        assert stage.sync().counts == {"unchanged": NUMBER}
    # One list for the prefix and one for the folder in it, with the metadata of everything.
    assert counts == {"GET detailed-metadata": 2}


def test_vault_gets_one_write_for_a_change(cast: Cast, vault: VaultWorld, asked: Asked) -> None:
    stage = Stage(cast, vault)
    changed(stage, "first")
    with asked() as counts:
        assert stage.sync().counts == {"create": NUMBER}
    # The name is seen to be free, marked and written; what came of it a list shows.
    assert {part: counts[part] for part in counts if counts[part] >= NUMBER} == {
        "GET metadata": NUMBER + 1,
        "POST metadata": NUMBER,
        "POST data": NUMBER,
    }
    assert counts.total() <= 3 * NUMBER + 4
    changed(stage, "second")
    with asked() as counts:
        assert stage.sync().counts == {"update": NUMBER}
    # Two lists, which have just proved what is written over as well, and one to see what it came over.
    assert counts == {"GET config": 1, "GET detailed-metadata": 3, "POST data": NUMBER}


def test_aws_gets_one_version_and_two_moves_of_labels_for_a_change(cast: Cast, aws: AwsWorld) -> None:
    stage = Stage(cast, aws)
    changed(stage, "first")
    aws.plan.clear()
    assert stage.sync().counts == {"create": NUMBER}
    assert aws.plan.asked["CreateSecret"] == NUMBER
    changed(stage, "second")
    aws.plan.clear()
    assert stage.sync().counts == {"update": NUMBER}
    calls = {name: aws.plan.asked[name] for name in aws.plan.asked if aws.plan.asked[name]}
    # One list to plan, which has just proved what is written over as well, one to see that it was written.
    # Plan and apply share one connection, which asks for the account once.
    assert calls == {
        "GetCallerIdentity": 1,
        "ListSecrets": 2,
        "PutSecretValue": NUMBER,
        "UpdateSecretVersionStage": 2 * NUMBER,
    }


def many(stage: Stage, number: int) -> None:
    """Keep so many secrets, which takes one call for a thousand of them."""
    for start in range(0, number, MAX_ITEMS):
        items = [
            NewSecret(
                environment=stage.environment,
                name=f"app/{item:05}",
                secret_type=SecretType.TEXT,
                value=f"value {item}",
            )
            for item in range(start, min(start + MAX_ITEMS, number))
        ]
        create_many(actor=stage.alice, items=items)


def push(stage: Stage) -> None:
    """Push everything, however often a slow server makes some items wait."""
    run = runs_runner.execute(runs_runner.request_sync(actor=stage.alice, target=stage.fresh()).pk)
    while run is not None and run.state == "queued":
        Run.objects.filter(pk=run.pk).update(not_before=None)
        run = runs_runner.execute(run.pk)
    assert run is not None
    assert (run.state, run.failed) == ("done", 0)


LONG = pytest.param(10_000, marks=pytest.mark.torture)


@contextmanager
def bounded(number: int) -> Iterator[None]:
    """See that what a pass holds at once is its names and versions, and little of that."""
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 24 * 1024 * 1024 + number * 8 * 1024


@pytest.mark.parametrize("number", [150, LONG])
def test_a_pass_over_many_in_aws_costs_one_list_for_a_hundred(
    cast: Cast, aws: AwsWorld, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(AwsSecretsManager, "writes_per_second", 1e9)
    stage = Stage(cast, aws)
    many(stage, number)
    push(stage)
    aws.plan.clear()
    with bounded(number):
        assert stage.sync().counts == {"unchanged": number}
    assert {name: count for name, count in aws.plan.asked.items() if count} == {
        "GetCallerIdentity": 1,
        "ListSecrets": -(-number // 100),
    }


@pytest.mark.parametrize("number", [LONG])
def test_a_pass_over_many_in_vault_reads_metadata_alone(
    cast: Cast, vault: VaultWorld, asked: Asked, number: int
) -> None:
    stage = Stage(cast, vault)
    many(stage, number)
    push(stage)
    with asked() as counts, bounded(number):
        assert stage.sync().counts == {"unchanged": number}
    # The folder above, and pages of 5,000 to the one that is empty.
    assert counts == {"GET detailed-metadata": 2 + number // 5_000}


def test_a_pass_opens_its_credentials_once(stage: Stage) -> None:
    stage.keep("app/one", "first")
    before = AuditEvent.objects.filter(action=Action.TARGET_CONNECT).count()
    stage.sync()
    assert stage.theirs("app/one") == "first"
    assert AuditEvent.objects.filter(action=Action.TARGET_CONNECT).count() - before == 1
