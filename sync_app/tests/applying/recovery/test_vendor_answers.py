"""Each row of each backend's table of answers is played: what it proves about a write is what Keeper makes of it."""

import itertools
from collections.abc import Iterator
from typing import Final

import botocore.session
import pytest
from botocore.exceptions import ClientError
from botocore.retries.standard import (
    ExponentialBackoff,
    ThrottledRetryableChecker,
    TransientRetryableChecker,
)

from environments_app.models import Alert
from environments_app.tests.cast import Cast
from sync_app.backends.answers import Proof, Request, VendorAnswer
from sync_app.backends.aws.connection import AwsBackend
from sync_app.backends.aws.errors import translate_error
from sync_app.backends.registry import BACKENDS
from sync_app.errors import BackendError, TargetBusy
from sync_app.models import Run
from sync_app.models.run import RunState
from sync_app.runs import runner
from sync_app.targets import alerts
from sync_app.tests.applying.recovery.answering import Answering
from sync_app.tests.applying.stage import Stage
from sync_app.tests.systems import WORLDS
from sync_app.tests.worlds import World

pytestmark = pytest.mark.django_db

# What a write whose outcome is not known is never taken for.
DISOWNED: Final = {"unmanaged", "ownership_lost", "conflict", "drifted", "missing"}
# So many passes settle what was left open, once the system answers as it does: they look, and write.
PASSES: Final = 6


# The acts with a request, where it is not part of each.
CREATES: Final = {"POST", "CreateSecret"}
UPDATES: Final = {"PATCH", "PUT", "PutSecretValue", "UpdateSecretVersionStage"}


def plays() -> Iterator[object]:
    """Return each row with a create and an update, and as carried out or not where it leaves that open."""
    for world in WORLDS:
        for row in BACKENDS[world.kind].answers:
            open_ended = row.to is Request.WRITE and row.proves is Proof.UNKNOWN
            for existed, of in itertools.product((False, True), row.of or ("",)):
                if of in (CREATES if existed else UPDATES) or row.act == ("create" if existed else "update"):
                    continue
                for carried_out in (False, True) if open_ended else (row.proves is Proof.HAPPENED,):
                    act = "update" if existed else "create"
                    outcome = ", carried out" if open_ended and carried_out else ""
                    named = f"{world.kind}: {row.to}: {row.answer}, {act} {of}".rstrip()
                    yield pytest.param(world.fixture, row, of, existed, carried_out, id=f"{named}{outcome}")


def ended(stage: Stage) -> Run:
    """Carry a run out until it has ended, without the waits between its attempts."""
    done = runner.execute(runner.request_sync(actor=stage.alice, target=stage.fresh()).pk)
    while done is not None and done.state == RunState.QUEUED:
        Run.objects.filter(pk=done.pk).update(not_before=None, attempts=12)
        done = runner.execute(done.pk)
    assert done is not None
    return done


@pytest.mark.parametrize(("world", "row", "of", "existed", "carried_out"), list(plays()), indirect=["world"])
def test_an_answer_means_what_the_table_has(
    cast: Cast,
    world: World,
    row: VendorAnswer,
    of: str,
    existed: bool,
    carried_out: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ExponentialBackoff, "delay_amount", lambda *_: 0.0)
    stage = Stage(cast, world)
    if existed:
        stage.keep("one", "first")
        stage.sync()
        stage.world_rest()
    stage.keep("one", "second")
    raised = noted_errors(monkeypatch)
    with monkeypatch.context() as patched:
        answering = Answering(world.item_folders, row, carried_out, of)
        answering.install(patched)
        run = ended(stage)
    assert answering.answered, "no request was answered like that"
    if row.to is not Request.LOOK:
        state = stage.entry("one").state
        assert (run.state == "done") is (state == "in_sync"), (run.state, run.error, state)
        assert state not in DISOWNED, (state, run.error)
    if row.to is not Request.LOOK_AFTER and not (carried_out and run.state == "done"):
        # Nothing was seen to be delivered; a look after an unanswered write may show it.
        assert run.state == "failed"
    if run.state != "done":
        assert run.error
        assert Alert.objects.filter(about=stage.target.uuid, kind=alerts.RUN_FAILED, open=True).exists()
    if row.error is not None:
        assert any(issubclass(kind, row.error) for kind in raised), raised
    is_there = value_at(world, stage.path("one")) == "second"
    assert is_there is (carried_out or row.to is Request.LOOK_AFTER)
    for _ in range(PASSES):
        ended(stage)
        stage.world_rest()
        assert stage.entry("one").state not in DISOWNED
        if stage.entry("one").state == "in_sync":
            break
    assert stage.theirs("one") == "second"
    assert stage.entry("one").state == "in_sync"
    assert stage.sync(rest=True).counts == {"unchanged": 1}
    assert not Alert.objects.filter(about=stage.target.uuid, open=True).exists()


def noted_errors(monkeypatch: pytest.MonkeyPatch) -> set[type[BackendError]]:
    """Return the kinds of all errors of the target that are raised from now on."""
    found: set[type[BackendError]] = set()
    init = BackendError.__init__

    def noted(self: BackendError, *given: object) -> None:
        found.add(type(self))
        init(self, *given)

    monkeypatch.setattr(BackendError, "__init__", noted)
    return found


def value_at(world: World, path: str) -> str | None:
    return None if world.labels_or_none(path) is None else _value_or_none(world, path)


def _value_or_none(world: World, path: str) -> str | None:
    try:
        return world.value(path)
    except Exception:  # noqa: BLE001 - each system has an error of its own for what does not exist
        return None


def test_every_row_names_its_source_and_is_named_once() -> None:
    for kind, backend in BACKENDS.items():
        rows = [(row.to, row.answer) for row in backend.answers]
        assert len(rows) == len(set(rows)), kind
        assert all(row.source and row.answer for row in backend.answers), kind


@pytest.mark.parametrize(
    ("kind", "operations"),
    [
        ("aws_secrets_manager", ["CreateSecret", "PutSecretValue", "UpdateSecretVersionStage"]),
        ("aws_parameter_store", ["PutParameter"]),
    ],
)
def test_each_error_that_aws_lists_for_a_write_is_in_the_table(kind: str, operations: list[str]) -> None:
    backend = BACKENDS[kind]
    assert issubclass(backend, AwsBackend)
    model = botocore.session.get_session().get_service_model(backend.service)
    for operation in operations:
        listed = {shape.name for shape in model.operation_model(operation).error_shapes}
        rows = [row for row in backend.answers if row.to is Request.WRITE and operation in row.of]
        told = {row.headers.get("x-amzn-errortype", "") for row in rows}
        assert listed <= told, (operation, listed - told)


def test_what_the_sdk_takes_for_passing_is_no_refusal() -> None:
    throttled = ThrottledRetryableChecker._THROTTLED_ERROR_CODES  # type: ignore[attr-defined]  # not in the stub
    passing = TransientRetryableChecker._TRANSIENT_ERROR_CODES  # type: ignore[attr-defined]  # not in the stub
    # A quota of Secrets Manager has a code of throttling.
    for code in {*throttled, *passing} - {"LimitExceededException"}:
        told = translate_error("PutParameter", ClientError({"Error": {"Code": code}}, "PutParameter"))
        assert isinstance(told, TargetBusy), code
