"""A target gets no decoy, and what viewers see of one there is what they see of a secret that it got."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from environments_app.models import Membership, Role, User
from environments_app.tests.cast import Cast
from secrets_app.services import decoys
from sync_app.backends.vault.tests.world import VaultWorld
from sync_app.models import Plan, PlanItem, Run, SyncEntry
from sync_app.runs import runner
from sync_app.tests.applying.stage import Stage
from sync_app.tests.worlds import World

pytestmark = pytest.mark.every_database_weekly

SignedIn = Callable[[Any], Client]
REAL, DECOY = "app/twin-real", "app/twin-trap"


@pytest.fixture
def stage(cast: Cast, vault: VaultWorld) -> Stage:
    stage = Stage(cast, vault)
    for name in (REAL, DECOY):
        stage.keep(name, "first")
    make(stage)
    return stage


def make(stage: Stage) -> None:
    decoys.make_decoy(actor=stage.alice, secret=stage.secret(DECOY))


@pytest.fixture
def viewer(stage: Stage, signed_in: SignedIn) -> Client:
    row, _ = Membership.objects.get_or_create(
        environment=stage.environment, user=stage.cast.bob, defaults={"role": Role.VIEWER}
    )
    row.role = Role.VIEWER
    row.save()
    return signed_in(User.objects.get(pk=stage.cast.bob.pk))


def told(stage: Stage, viewer: Client, name: str) -> dict[str, Any]:
    """Return all that a viewer is told of a secret at targets, but for what tells any two secrets apart."""
    place = "/api/environments/development"
    secret = stage.secret(name)
    plan = Plan.objects.filter(target=stage.target).latest("pk")
    deliveries = viewer.get(f"{place}/deliveries?limit=100").json()["results"]
    shown: dict[str, Any] = {"deliveries": [row["targets"] for row in deliveries if row["secret"] == name]}
    for key, path in {
        "entries": f"{place}/targets/{stage.target.pk}/entries?limit=100",
        "items": f"{place}/plans/{plan.pk}/items?limit=100",
    }.items():
        answer = viewer.get(path)
        assert answer.status_code == 200, path
        shown[key] = [row for row in answer.json()["results"] if row["name"] == name]
    for state in ("in_sync", "pending"):
        shown[f"listed {state}"] = name in viewer.get(f"{place}/deliveries?state={state}").content.decode()
        page = viewer.get(reverse("secret-list"), {"delivery": state})
        assert page.status_code == 200
        shown[f"page {state}"] = name in page.content.decode()
    text = viewer.get(f"/secrets/{secret.pk}").content.decode()
    shown["never synced"] = "never synced" in text
    shown["in sync"] = text.count("in sync")
    for rows in shown.values():
        for row in rows if isinstance(rows, list) else []:
            for part in row if isinstance(row, list) else [row]:
                for key in ("id", "name", "secret_uuid", "synced_at", "checked_at", "finished_at"):
                    if key in part:
                        part[key] = part[key] is not None
    return shown


def test_a_viewer_sees_of_a_decoy_what_they_see_of_its_twin(stage: Stage, viewer: Client) -> None:
    def assert_alike() -> None:
        assert told(stage, viewer, DECOY) == told(stage, viewer, REAL)

    stage.apply(stage.plan())
    assert_alike()
    assert told(stage, viewer, DECOY)["deliveries"][0][0]["state"] == "in_sync"
    # Nothing changed, as in most passes.
    quiet = stage.sync()
    assert (quiet.counts, quiet.state) == ({"unchanged": 2}, "done")
    assert_alike()
    for name in (REAL, DECOY):
        stage.keep(name, "second")
    stage.world_rest()
    assert_alike()
    runner.execute(runner.request_check(actor=stage.alice, target=stage.fresh()).pk)
    assert_alike()
    plan = stage.plan()
    assert plan.counts == {"update": 2}
    assert_alike()
    stage.apply(plan)
    assert_alike()
    assert Run.objects.filter(plan=plan, kind="apply").latest("pk").finished == len((REAL, DECOY))
    # No value of it left.
    assert stage.theirs(REAL) == "second"
    assert stage.world.labels_or_none(stage.path(DECOY)) is None


def lines(stage: Stage, name: str) -> list[tuple[str, str, str]]:
    """Return what the newest plan says of a secret, without its name and that in the target."""
    rows = PlanItem.objects.filter(plan__target=stage.target, name=name).order_by("-plan")[:1]
    there = name.upper().replace("/", "_").replace("-", "_")
    return [(row.act, row.state, row.reason.replace(name, "").replace(there, "")) for row in rows]


@pytest.mark.parametrize("world", ["github", "ssm", "gitlab", "vault"], indirect=True)
@pytest.mark.parametrize("value", ["small", "x" * 60_000])
def test_a_plan_says_of_a_decoy_what_it_says_of_its_twin(cast: Cast, world: World, value: str) -> None:
    """Where it is there, and whether the system takes it."""
    stage = Stage(cast, world)
    for name in (REAL, DECOY):
        stage.keep(name, value)
    make(stage)
    plan = stage.plan()
    assert lines(stage, DECOY) == lines(stage, REAL) != []
    if stage.items(plan)[REAL][0] == "create":
        stage.apply(plan)
        # To the microsecond: a time of its own would tell it.
        assert stage.entry(DECOY).synced_at == stage.entry(REAL).synced_at
        assert (stage.entry(DECOY).checked_at == stage.entry(DECOY).synced_at) is (
            stage.entry(REAL).checked_at == stage.entry(REAL).synced_at
        )
    assert (stage.entry(DECOY).state, stage.entry(DECOY).reason.replace(DECOY, "")) == (
        stage.entry(REAL).state, stage.entry(REAL).reason.replace(REAL, ""),
    )  # fmt: skip


def test_what_was_delivered_before_goes_and_what_is_no_decoy_any_more_comes(stage: Stage) -> None:
    stage.sync()
    decoys.end_decoy(actor=stage.alice, secret=stage.secret(DECOY))
    stage.sync()
    assert stage.theirs(DECOY) == "first"
    stage.rules(deletion="recoverable")
    make(stage)
    assert stage.items(stage.sync())[DECOY] == ("delete", "done")


def test_of_a_deleted_decoy_nothing_is_left(stage: Stage) -> None:
    stage.sync()
    stage.drop(DECOY)
    stage.sync()
    assert not SyncEntry.objects.filter(target=stage.target, name=DECOY).exists()
    assert stage.theirs(REAL) == "first"


def test_a_decoy_is_not_in_sync_where_nothing_else_was_delivered(stage: Stage) -> None:
    plan = stage.plan()
    stage.keep(REAL, "changed meanwhile")
    stage.apply(plan)
    assert set(PlanItem.objects.filter(plan=plan).values_list("state", flat=True)) == {"skipped"}
    assert stage.entry(DECOY).state == "pending"


def test_a_plan_of_before_delivers_no_decoy(cast: Cast, vault: VaultWorld) -> None:
    """The second guard: the secret becomes a decoy between the plan and its application."""
    stage = Stage(cast, vault)
    for name in (REAL, DECOY):
        stage.keep(name, "first")
    plan = stage.plan()
    assert {item.name for item in PlanItem.objects.filter(plan=plan, act="create")} == {REAL, DECOY}
    make(stage)
    stage.apply(plan)
    assert stage.theirs(REAL) == "first"
    assert stage.world.labels_or_none(stage.path(DECOY)) is None
