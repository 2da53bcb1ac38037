"""Two names of Keeper's that are one name in the target, of which one was delivered; and a rename between them."""

from uuid import uuid4

import pytest

from secrets_app.services import lifecycle
from sync_app.backends.base import Backend
from sync_app.backends.registry import BACKENDS
from sync_app.models import PlanItem, SyncEntry
from sync_app.models.plan import PlanKind
from sync_app.tests.applying.stage import Stage
from sync_app.tests.systems import WORLDS

FIRST, SECOND = "app/a_b", "app/a-b"
MAPPING = [each.fixture for each in WORLDS if BACKENDS[each.kind].remote_name is not Backend.remote_name]
pytestmark = [pytest.mark.django_db, pytest.mark.parametrize("world", MAPPING, indirect=True)]


def reason(stage: Stage, name: str) -> str:
    return str(PlanItem.objects.filter(plan__target=stage.target, name=name).latest("pk").reason)


def rename(stage: Stage, name: str, to: str) -> None:
    lifecycle.rename(actor=stage.alice, secret=stage.secret(name), name=to)


@pytest.mark.parametrize(("delivered", "later"), [(FIRST, SECOND), (SECOND, FIRST)])
def test_a_second_name_is_refused_and_not_imported_over_the_first(
    stage: Stage, delivered: str, later: str
) -> None:
    stage.rules(deletion="recoverable", budget_percent=100)
    stage.keep(delivered, "first")
    assert stage.items(stage.sync())[delivered] == ("create", "done")
    stage.keep(later, "second")
    assert stage.items(stage.sync()) == {later: ("refused", "skipped")}
    assert "become one name in the target: rename one" in reason(stage, later)
    for mode in ("replace", "only_if_equal"):
        plan = stage.plan(kind=PlanKind.ADOPT, options={"names": [later], "mode": mode})
        assert stage.items(plan)[later] == ("refused", "skipped")
    assert stage.theirs(delivered) == "first"
    # The first goes on to be delivered.
    stage.keep(delivered, "third")
    assert stage.items(stage.sync(rest=True))[delivered] == ("update", "done")
    assert stage.theirs(delivered) == "third"
    # What is deleted makes room for the other.
    stage.drop(delivered)
    assert stage.items(stage.sync()) == {delivered: ("delete", "done"), later: ("refused", "skipped")}
    assert stage.items(stage.sync())[later] == ("create", "done")
    assert stage.theirs(later) == "second"


def test_two_are_not_imported_at_once(stage: Stage) -> None:
    stage.edit(FIRST, "theirs")
    stage.keep(FIRST, "first")
    stage.keep(SECOND, "second")
    plan = stage.plan(kind=PlanKind.ADOPT, options={"names": [FIRST, SECOND], "mode": "replace"})
    assert {*stage.items(plan).values()} == {("refused", "skipped")}
    assert stage.theirs(FIRST) == "theirs"


@pytest.mark.parametrize("deletion", ["never", "recoverable"])
def test_a_renamed_secret_is_delivered_on_where_it_was(stage: Stage, deletion: str) -> None:
    stage.rules(deletion=deletion, budget_percent=100)
    stage.keep(FIRST, "first")
    stage.sync()
    rename(stage, FIRST, SECOND)
    assert stage.items(stage.sync()) == {}
    stage.keep(SECOND, "second")
    assert stage.items(stage.sync(rest=True)) == {SECOND: ("update", "done")}
    assert stage.theirs(SECOND) == "second"
    # A rename and a new value in one pass, and a name that was there before.
    rename(stage, SECOND, FIRST)
    stage.keep(FIRST, "third")
    assert stage.items(stage.sync(rest=True)) == {FIRST: ("update", "done")}
    assert stage.theirs(FIRST) == "third"
    assert stage.entry(FIRST).secret_uuid == stage.secret(FIRST).uuid


def test_a_new_secret_under_the_former_name_has_none_of_its_delivery(stage: Stage) -> None:
    stage.rules(deletion="recoverable", budget_percent=100)
    stage.keep(FIRST, "first")
    stage.sync()
    rename(stage, FIRST, SECOND)
    stage.keep(FIRST, "another")
    assert stage.items(stage.sync()) == {FIRST: ("refused", "skipped")}
    assert stage.theirs(SECOND) == "first"


def test_of_two_that_claim_one_name_neither_is_written_until_one_is_gone(stage: Stage) -> None:
    stage.rules(deletion="recoverable", budget_percent=100)
    stage.keep(FIRST, "first")
    stage.sync()
    second, entry = stage.keep(SECOND, "second"), stage.entry(FIRST)
    # As an import over the delivered one left it before that was refused.
    entry.pk, entry.uuid, entry.name, entry.secret_uuid = None, uuid4(), SECOND, second.uuid
    entry.save(force_insert=True)
    stage.keep(FIRST, "third")
    assert {*stage.items(stage.sync(rest=True)).values()} == {("refused", "skipped")}
    assert stage.theirs(FIRST) == "first"
    # What the other one claimed is not deleted with it.
    stage.drop(SECOND)
    assert stage.items(stage.sync(rest=True)) == {FIRST: ("update", "done")}
    assert stage.theirs(FIRST) == "third"
    assert not SyncEntry.objects.filter(target=stage.target, name=SECOND).exists()
