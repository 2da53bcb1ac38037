"""A secret in Vault that is somebody else's by the moment of the write is as it was afterwards, and somebody is told.

Vault compares the number of a version alone. What is made again under a name begins with the same number.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from environments_app.models import Alert, User
from sync_app.applying.batch import Batch
from sync_app.backends.vault.adapter import PooledAdapter
from sync_app.backends.vault.connection import VaultConnection
from sync_app.backends.vault.tests.world import VaultWorld
from sync_app.backends.vault.writes import VaultWrites
from sync_app.errors import OVERWROTE, PermissionMissing, TargetUnreachable
from sync_app.jobs.leases import database_now
from sync_app.jobs.queue import enqueue
from sync_app.models import PlanItem, Run
from sync_app.models.plan import PlanKind
from sync_app.models.run import RunKind, Trigger
from sync_app.runs import runner as runs_runner
from sync_app.targets import credentials
from sync_app.tests.applying.stage import Stage
from sync_app.tests.worlds import World

pytestmark = pytest.mark.every_database_weekly

Act = Callable[[VaultWorld, str], None]


@pytest.fixture
def world(vault: VaultWorld) -> World:
    return vault


def recreated(vault: VaultWorld, path: str) -> None:
    vault.kv.delete_metadata_and_all_versions(path, mount_point="secret")
    vault.write(path, "theirs")


def recreated_with_our_marks(vault: VaultWorld, path: str) -> None:
    labels = vault.labels(path)
    recreated(vault, path)
    vault.kv.update_metadata(path, custom_metadata=labels, mount_point="secret")


def unmarked(vault: VaultWorld, path: str) -> None:
    vault.kv.update_metadata(path, custom_metadata={"owner": "them"}, mount_point="secret")


ACTS = [recreated, recreated_with_our_marks, unmarked]


@pytest.fixture
def before_write(stage: Stage, vault: VaultWorld, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Act]]:
    """Do what is in the list just before the next write of Keeper's."""
    waiting: list[Act] = []
    send = PooledAdapter.request

    def request(self: PooledAdapter, method: str, url: str, **options: Any) -> Any:
        if waiting and method == "POST" and "/secret/data/" in url:
            waiting.pop()(vault, stage.path("one"))
        return send(self, method, url, **options)

    monkeypatch.setattr(PooledAdapter, "request", request)
    yield waiting
    assert not waiting


def versions(vault: VaultWorld, path: str) -> dict[str, str]:
    """Return what the history of a secret still gives out."""
    reply = vault.kv.read_secret_metadata(path, mount_point="secret")
    found = {}
    for number, version in reply["data"]["versions"].items():
        if not version["destroyed"] and not version["deletion_time"]:
            read = vault.kv.read_secret_version(
                path, version=number, mount_point="secret", raise_on_deleted_version=True
            )
            found[number] = read["data"]["data"]["value"]
    return found


def pushed(stage: Stage) -> PlanItem:
    """Push a change, and return what became of it."""
    run = runs_runner.execute(runs_runner.request_sync(actor=stage.alice, target=stage.fresh()).pk)
    assert run is not None
    return PlanItem.objects.get(plan=run.plan, name="one")


def told(stage: Stage) -> str:
    return " ".join(Alert.objects.get(about=stage.target.uuid, kind="sync.failed").lines)


@pytest.mark.parametrize("conflict", ["keeper_wins", "ask"])
@pytest.mark.parametrize("act", ACTS)
def test_it_is_as_it_was_and_somebody_is_told(
    stage: Stage, vault: VaultWorld, before_write: list[Act], act: Act, conflict: str
) -> None:
    stage.rules(conflict=conflict)
    stage.keep("one", "first")
    stage.sync()
    stage.keep("one", "second")
    before_write.append(act)
    item = pushed(stage)
    assert stage.theirs("one") == ("first" if act is unmarked else "theirs")
    assert "second" not in versions(vault, stage.path("one")).values()
    assert (item.state, item.error) == ("failed", f"{OVERWROTE}; restored")
    assert f"{OVERWROTE}; restored" in told(stage)
    assert stage.value("one") == "second"


@pytest.mark.parametrize("act", ACTS)
def test_it_is_told_until_it_is_adopted(
    stage: Stage, before_write: list[Act], act: Act, signed_in: Callable[[User], Client]
) -> None:
    stage.keep("one", "first")
    stage.sync()
    stage.keep("one", "second")
    before_write.append(act)
    pushed(stage)
    client = signed_in(stage.cast.alice)
    adopt = reverse("target-adopt", args=[stage.target.pk])
    assert 'value="one"' in client.get(f"{adopt}?name=one").content.decode()
    assert stage.sync(rest=True).counts == {"ownership_lost": 1}
    look_for_drift(stage)
    told_of = Alert.objects.filter(about=stage.target.uuid, kind="sync.failed", open=True)
    assert told_of.exists()
    assert f"{OVERWROTE}; restored" in stage.entry("one").reason
    offered = f'href="{adopt}?name=one"'
    assert offered in client.get(reverse("target-detail", args=[stage.target.pk])).content.decode()
    assert 'value="one"' in client.get(f"{adopt}?name=one").content.decode()
    plan = stage.plan(kind=PlanKind.ADOPT, options={"names": ["one"], "mode": "replace"})
    assert plan.counts == {"adopt": 1}
    assert told_of.exists()
    stage.world_rest()
    stage.apply(plan)
    assert not told_of.exists()
    assert stage.theirs("one") == "second"


def look_for_drift(stage: Stage) -> None:
    """Look by metadata alone."""
    actor, target = stage.alice, stage.fresh()
    run = enqueue(actor=actor, target=target, kind=RunKind.CHECK, trigger=Trigger.PERSON)
    assert runs_runner.execute(run.pk) is not None


def test_what_a_token_may_not_destroy_is_named(
    stage: Stage, vault: VaultWorld, before_write: list[Act]
) -> None:
    name = f"no-destroy-{vault.prefix}"
    vault.client.sys.create_or_update_policy(
        name,
        f"""
        path "secret/*" {{ capabilities = ["create", "update", "patch", "read", "list"] }}
        path "secret/destroy/{vault.prefix}/*" {{ capabilities = ["deny"] }}
        """,
    )
    token = vault.client.auth.token.create(policies=[name])["auth"]["client_token"]

    credentials.seal_credentials(stage.target, {"token": token})
    stage.target.save()
    stage.keep("one", "first")
    stage.sync()
    stage.keep("one", "second")
    before_write.append(recreated)
    assert pushed(stage).error.endswith("version 2 there held Keeper's value and is deleted: destroy it")
    assert "second" not in versions(vault, stage.path("one")).values()


@pytest.mark.parametrize("act", ACTS)
def test_the_next_attempt_puts_it_back(
    stage: Stage, vault: VaultWorld, before_write: list[Act], act: Act, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.keep("one", "first")
    stage.sync()
    stage.keep("one", "second")
    before_write.append(act)
    run = runs_runner.request_sync(actor=stage.alice, target=stage.fresh())

    def cut_off(*_: Any, **__: Any) -> None:
        raise TargetUnreachable("no answer")

    def die(_batch: Batch) -> None:
        raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr(VaultWrites, "revert", cut_off)
        patched.setattr(Batch, "_save", die)
        with pytest.raises(SystemExit):
            runs_runner.execute(run.pk)
    assert stage.theirs("one") == "second"
    Run.objects.filter(pk=run.pk).update(lease_until=database_now().replace(year=2000))
    runs_runner.execute(run.pk)
    assert stage.theirs("one") == ("first" if act is unmarked else "theirs")
    assert "second" not in versions(vault, stage.path("one")).values()
    assert f"{OVERWROTE}; restored" in told(stage)


@pytest.mark.parametrize("where", ["secret", "mount"])
@pytest.mark.parametrize("act", ACTS)
def test_the_only_version_is_looked_at_before_it_is_written_over(
    stage: Stage, vault: VaultWorld, act: Act, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at many and the write they take it over; to write would destroy what is there."""
    stage.keep("one", "first")
    stage.keep("other", "value")
    stage.sync()
    path = stage.path("one")
    if where == "secret":
        vault.kv.update_metadata(path, max_versions=1, mount_point="secret")
    else:
        monkeypatch.setattr(VaultWrites, "_mount_max_versions", lambda _: 1)
    stage.keep("one", "second")
    start = Batch.dispatch

    def late(self: Batch) -> None:
        act(vault, path)
        if where == "secret":
            vault.kv.update_metadata(path, max_versions=1, mount_point="secret")
        start(self)

    with monkeypatch.context() as patched:
        patched.setattr(Batch, "dispatch", late)
        item = pushed(stage)
    assert item.state == "skipped"
    assert versions(vault, path) == {"1": "first" if act is unmarked else "theirs"}


def test_a_token_that_may_not_ask_how_many_versions_are_kept_looks_first(
    stage: Stage, vault: VaultWorld, monkeypatch: pytest.MonkeyPatch
) -> None:

    ask, asked = VaultConnection.request, []

    def refused(self: VaultConnection, method: str, path: str, **options: Any) -> Any:
        asked.append(f"{method} {path}")
        if path == "secret/config":
            raise PermissionMissing("read on secret/config")
        return ask(self, method, path, **options)

    stage.keep("one", "first")
    stage.sync()
    stage.keep("one", "second")
    monkeypatch.setattr(VaultConnection, "request", refused)
    assert pushed(stage).state == "done"
    assert f"GET secret/data/{stage.path('one')}" in asked


def test_a_name_that_was_removed_just_before_its_first_version_keeps_our_mark(
    stage: Stage, vault: VaultWorld, before_write: list[Act]
) -> None:
    stage.keep("one", "first")
    before_write.append(
        lambda vault, path: vault.kv.delete_metadata_and_all_versions(path, mount_point="secret")
    )
    assert pushed(stage).state == "done"
    assert stage.sync().counts == {"unchanged": 1}
