"""The incidents of a sync in every system: a list or read that fails, a lost answer, a killed worker, an overlap."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import pytest

from environments_app.tests.cast import Cast
from sync_app.applying.batch import Batch
from sync_app.backends.base import Backend
from sync_app.backends.observations import SecretMetadata
from sync_app.errors import DestinationTaken, TargetBusy, TargetUnreachable
from sync_app.models import Run
from sync_app.runs import runner
from sync_app.tests.applying.stage import Stage, target_in
from sync_app.tests.worlds import World

pytestmark = pytest.mark.django_db

EVERY_SYSTEM = True
FOREIGN = "app/foreign"


class Killed(BaseException):
    """The worker ended here."""


def attempt(run: Run) -> str:
    """Carry a run on, as a worker that comes after the lease and the wait; return its state."""
    Run.objects.filter(pk=run.pk).update(lease_until=None, not_before=None)
    runner.execute(run.pk)
    return str(Run.objects.get(pk=run.pk).state)


def killed(_batch: Batch) -> None:
    """Stand in for what a killed worker does not come to."""
    raise Killed


def requested(stage: Stage) -> Run:
    return runner.request_sync(actor=stage.alice, target=stage.fresh())


def test_what_could_not_be_seen_is_not_deleted(
    cast: Cast, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(cast, world, deletion="recoverable", budget_percent=100)
    stage.edit(FOREIGN, "theirs")
    for name in ("app/gone", "app/kept"):
        stage.keep(name, "first")
    stage.sync()
    stage.drop("app/gone")
    kind = type(world.backend())
    whole = kind.list_secrets

    def cut(self: Backend) -> Iterator[SecretMetadata]:
        yield from islice(whole(self), 1)
        raise TargetBusy("the list was cut off")

    def unread(*_given: Any) -> SecretMetadata:
        raise TargetBusy("no read")

    run = requested(stage)
    for name, broken in (("list_secrets", cut), ("get_metadata", unread)):
        with monkeypatch.context() as patched:
            patched.setattr(kind, name, broken)
            assert attempt(run) == "queued", name
        assert stage.theirs("app/gone") == "first", name
    assert attempt(run) == "done"
    with world.backend() as backend:
        assert backend.get_metadata("app/gone").presence != "present"
    assert (stage.theirs("app/kept"), stage.theirs(FOREIGN)) == ("first", "theirs")


def test_a_worker_that_is_killed_after_its_writes_overwrites_and_deletes_nothing(
    cast: Cast, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(cast, world, conflict="keeper_wins", deletion="recoverable", budget_percent=100)
    stage.edit(FOREIGN, "theirs")
    stage.keep("app/changed", "first")
    stage.sync()
    stage.keep("app/changed", "second")
    stage.keep("app/new", "first")
    stage.world_rest()
    run = requested(stage)

    with monkeypatch.context() as patched:
        patched.setattr(Batch, "commit", killed)
        with pytest.raises(Killed):
            attempt(run)
    # GitHub shows neither a mark nor which version it is: nothing of it is known again.
    assert attempt(run) == ("failed" if world.kind.startswith("github") else "done")
    stage.sync(rest=True)
    assert (stage.theirs("app/changed"), stage.theirs("app/new")) == ("second", "first")
    assert stage.theirs(FOREIGN) == "theirs"
    # A system that shows no values and no marks leaves what was new to a person.
    left = {"unchanged": 2} if world.keeps_marks else {"unchanged": 1}
    counts = {act: count for act, count in stage.sync(rest=True).counts.items() if act == "unchanged"}
    assert counts == left


def test_what_was_written_although_the_answer_was_lost_is_known_and_done_once(
    cast: Cast, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(cast, world, conflict="keeper_wins", deletion="recoverable", budget_percent=100)
    stage.edit(FOREIGN, "theirs")
    for name in ("app/changed", "app/gone"):
        stage.keep(name, "first")
    stage.sync()
    stage.keep("app/changed", "second")
    stage.keep("app/new", "first")
    stage.drop("app/gone")
    stage.world_rest()
    run, kind = requested(stage), type(world.backend())
    done: dict[str, str] = {}
    with monkeypatch.context() as patched:
        for act in ("create", "update", "delete"):
            patched.setattr(kind, act, unanswered(getattr(kind, act), done))
        assert attempt(run) == "queued"
    for _ in range(3):
        if attempt(run) == "done":
            break
    stage.sync(rest=True)
    assert {"app/changed", "app/new"} <= done.keys()
    assert (stage.theirs("app/changed"), stage.theirs("app/new")) == ("second", "first")
    assert stage.theirs(FOREIGN) == "theirs"
    with world.backend() as backend:
        assert backend.get_metadata("app/gone").presence != "present"
        # A system that names no version beforehand gets what was not acknowledged once more.
        if backend.predict_version("", token="0" * 32):
            assert {name: backend.get_metadata(name).version for name in done} == done


def unanswered(act: Callable[..., Any], done: dict[str, str]) -> Callable[..., Any]:
    """Return a method that does its work, notes the version that it made, and never answers."""

    def tried(*given: Any, **options: Any) -> Any:
        made = act(*given, **options)
        if made is not None:
            done.setdefault(made.name, made.version)
        raise TargetUnreachable("the answer was lost")

    return tried


def test_two_targets_never_share_a_place(cast: Cast, world: World) -> None:
    stage = Stage(cast, world)
    for prefix in (world.prefix, f"{world.prefix}/below", ""):
        world.destination["prefix"] = prefix
        with pytest.raises(DestinationTaken):
            target_in(world, stage.environment, actor=stage.alice)
