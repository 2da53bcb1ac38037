"""A target of which nothing is Keeper's any more can be taken leave of, and removed."""

from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse

from environments_app.models import User
from sync_app.errors import PermissionMissing, TargetInUse
from sync_app.models import SyncEntry
from sync_app.models.plan import PlanKind
from sync_app.runs import runner as runs_runner
from sync_app.targets import service as targets
from sync_app.tests.applying.stage import Stage

pytestmark = pytest.mark.django_db


def unmark(stage: Stage) -> None:
    with stage.world.backend() as backend:
        backend.unmark(backend.get_metadata("one"))


def remove(stage: Stage) -> None:
    stage.world.remove(stage.path("one"))


@pytest.mark.parametrize("mode", ["leave", "withdraw"])
@pytest.mark.parametrize("lose", [unmark, remove])
def test_it_is_taken_leave_of_and_removed(stage: Stage, lose: Callable[[Stage], None], mode: str) -> None:
    stage.keep("one", "value")
    stage.sync()
    lose(stage)
    plan = stage.plan(kind=PlanKind.DISCONNECT, options={"mode": mode})
    assert (plan.state, plan.counts) == ("ready", {})
    # A plan alone forgets nothing.
    with pytest.raises(TargetInUse):
        targets.remove(actor=stage.alice, target=stage.fresh())
    stage.apply(plan)
    assert not SyncEntry.objects.filter(target=stage.target).exists()
    targets.remove(actor=stage.alice, target=stage.fresh())
    assert stage.fresh().live is None


def test_what_cannot_be_read_there_is_not_forgotten(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.keep("one", "value")
    stage.sync()
    unmark(stage)

    def refused(*_: object) -> None:
        raise PermissionMissing("no right to look")

    monkeypatch.setattr(type(stage.world.backend()), "get_metadata", refused)
    plan = stage.plan(kind=PlanKind.DISCONNECT, options={"mode": "leave"})
    assert plan.counts == {"refused": 1}
    stage.apply(plan)
    assert stage.entry("one").ownership == "created"


def test_the_page_offers_it(stage: Stage, signed_in: Callable[[User], Client]) -> None:
    stage.keep("one", "value")
    stage.sync()
    unmark(stage)
    plan = stage.plan(kind=PlanKind.DISCONNECT, options={"mode": "leave"})
    page, client = reverse("plan-detail", args=[plan.pk]), signed_in(stage.cast.alice)
    assert ">Disconnect</button>" in client.get(page).content.decode()
    assert client.post(reverse("plan-apply", args=[plan.pk])).status_code == 302
    runs_runner.execute(plan.runs.order_by("-pk")[0].pk)
    assert "Remove target" in client.get(page).content.decode()
