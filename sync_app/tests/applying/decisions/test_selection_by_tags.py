"""A target that selects by tags delivers what its tags prove, and deletes no copy because of an edited tag."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from environments_app.errors import InvalidField
from environments_app.tests.cast import Cast
from secrets_app.models import Secret
from secrets_app.models.tags import tags_text
from secrets_app.services import write
from secrets_app.types.registry import SecretType
from sync_app.backends.kubernetes.tests.world import KubernetesWorld
from sync_app.domain.reconciliation import Direction
from sync_app.models import Plan, PlanItem, Target
from sync_app.models.plan import PlanKind
from sync_app.planning.draft_items import AdoptMode
from sync_app.state.local_state import LEFT_OUT, SELECTED, UNPROVED
from sync_app.targets import service as targets
from sync_app.targets.lookup import overview_rows
from sync_app.tests.applying.stage import Stage, target_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def stage(cast: Cast, kubernetes: KubernetesWorld) -> Stage:
    return tagged(cast, kubernetes, deletion="recoverable", budget_percent=100)


def tagged(cast: Cast, world: KubernetesWorld, **rules: Any) -> Stage:
    return Stage(cast, world, only_tags=["deploy", "edge"], **rules)


def keep(stage: Stage, name: str, *tags: str, value: str = "first") -> Secret:
    secret, _ = write.put(
        actor=stage.alice,
        environment=stage.environment,
        name=name,
        value=value,
        secret_type=SecretType.TEXT,
        tags=tags,
    )
    return secret


def tag(stage: Stage, name: str, *tags: str) -> None:
    write.update(actor=stage.alice, secret=stage.secret(name), tags=tags)


def edited(stage: Stage, name: str, tags: Sequence[str], **columns: Any) -> None:
    """Change tags as a writer to the database does."""
    Secret.objects.filter(pk=stage.secret(name).pk).update(tags=tags_text(tags), **columns)


def line(plan: Plan, name: str) -> tuple[str, str]:
    return PlanItem.objects.filter(plan=plan, name=name).values_list("act", "reason").get()


def test_only_secrets_with_one_of_its_tags_enter(stage: Stage) -> None:
    keep(stage, "app/one", "deploy", "other")
    keep(stage, "app/two", "edge")
    keep(stage, "app/other", "other")
    keep(stage, "app/none")
    plan = stage.plan()
    assert plan.counts == {"create": 2}
    assert SELECTED in line(plan, "app/one")[1]
    stage.apply(plan)
    assert (stage.theirs("app/one"), stage.theirs("app/two")) == ("first", "first")
    assert stage.world.labels_or_none(stage.path("app/other")) is None
    tag(stage, "app/other", "deploy")
    assert stage.sync().counts == {"create": 1, "unchanged": 2}


def test_what_loses_its_tags_is_deleted_only_where_deletion_is_on_and_it_is_ours(
    cast: Cast, kubernetes: KubernetesWorld
) -> None:
    stage = tagged(cast, kubernetes)
    keep(stage, "app/stays", "deploy")
    keep(stage, "app/leaves", "deploy")
    stage.edit("app/adopted", "first")
    keep(stage, "app/adopted", "deploy")
    options = {"mode": AdoptMode.IF_EQUAL, "names": ["app/adopted"]}
    stage.apply(stage.plan(kind=PlanKind.ADOPT, options=options))
    stage.sync()
    for name in ("app/leaves", "app/adopted"):
        tag(stage, name, "other")
    plan = stage.sync()
    assert plan.counts == {"refused": 2, "unchanged": 1}
    assert line(plan, "app/leaves")[1].startswith(LEFT_OUT)
    stage.target = stage.fresh()
    stage.rules(deletion="recoverable", budget_percent=100)
    # A new value goes nowhere while the tags leave it out.
    keep(stage, "app/adopted", "other", value="second")
    plan = stage.plan()
    assert line(plan, "app/leaves") == ("delete", line(plan, "app/leaves")[1])
    assert line(plan, "app/leaves")[1].startswith(LEFT_OUT)
    assert line(plan, "app/adopted")[0] == "refused"
    # It was tagged again after the plan was made: nothing is deleted.
    tag(stage, "app/leaves", "edge")
    stage.apply(plan)
    assert stage.theirs("app/leaves") == "first"
    tag(stage, "app/leaves")
    stage.sync()
    assert stage.world.labels_or_none(stage.path("app/leaves")) is None
    assert stage.theirs("app/adopted") == "first"
    assert stage.value("app/leaves") == "first"


def test_tags_that_keeper_did_not_store_deliver_nothing_and_delete_nothing(stage: Stage) -> None:
    keep(stage, "app/ours", "deploy")
    keep(stage, "app/gone", "deploy")
    keep(stage, "app/private", "other")
    keep(stage, "app/bare")
    stage.sync()
    stage.drop("app/gone")
    edited(stage, "app/private", ["deploy"])
    edited(stage, "app/bare", ["deploy"])
    for columns in ({}, {"tags_mac": b""}):
        edited(stage, "app/ours", [], **columns)
        plan = stage.sync()
        assert line(plan, "app/ours") == ("refused", UNPROVED)
        assert line(plan, "app/private") == ("refused", UNPROVED)
        assert line(plan, "app/bare") == ("refused", UNPROVED)
        # What looks like a mistake on one side lets nothing be deleted at all.
        assert line(plan, "app/gone")[0] == "refused"
        assert stage.theirs("app/ours") == "first"
        assert stage.world.labels_or_none(stage.path("app/private")) is None
    # Whoever saves the tags has seen them.
    tag(stage, "app/ours", "deploy")
    tag(stage, "app/bare", "deploy")
    tag(stage, "app/private", "other")
    assert stage.sync().counts == {"create": 1, "delete": 1, "unchanged": 2}


def test_a_new_value_does_not_confirm_edited_tags(stage: Stage) -> None:
    keep(stage, "app/private", "other")
    edited(stage, "app/private", ["deploy"])
    write.update(actor=stage.alice, secret=stage.secret("app/private"), value="second")
    assert line(stage.sync(), "app/private") == ("refused", UNPROVED)


def test_a_tag_taken_away_after_the_plan_keeps_the_value_here(stage: Stage) -> None:
    keep(stage, "app/one", "deploy")
    keep(stage, "app/two", "deploy")
    plan = stage.plan()
    tag(stage, "app/one", "other")
    edited(stage, "app/two", ["deploy", "edge"])
    assert stage.items(stage.apply(plan)) == {
        "app/one": ("create", "skipped"),
        "app/two": ("create", "skipped"),
    }
    assert stage.world.labels_or_none(stage.path("app/two")) is None


def test_nothing_is_adopted_that_its_tags_leave_out(stage: Stage) -> None:
    for name in ("app/left-out", "app/unknown"):
        stage.edit(name, "theirs")
    keep(stage, "app/left-out", "other")
    for mode in AdoptMode:
        options = {"mode": mode, "names": ["app/left-out", "app/unknown"]}
        assert stage.plan(kind=PlanKind.ADOPT, options=options).counts == {"refused": 2}


def test_form_and_api_take_tags_and_show_them(
    cast: Cast, kubernetes: KubernetesWorld, signed_in: Callable[..., Client]
) -> None:
    client, given = signed_in(cast.alice), {"name": "by-form", "environment": cast.development.name}
    given |= {"direction": "push", "conflict": "ask", "deletion": "never", "interval_seconds": "300"}
    given |= {"budget_number": "10", "budget_percent": "10", "only_tags": "Edge, deploy"}
    given |= {f"destination-{name}": text for name, text in kubernetes.destination.items()}
    given |= {f"credential-{name}": text for name, text in kubernetes.credentials.items()}
    made = client.post(f"{reverse('target-new')}?backend=kubernetes", given, follow=True)
    assert Target.objects.get(name="by-form").tags == ["deploy", "edge"], made.context["form"].errors
    assert '<span class="tag">deploy</span>' in made.content.decode()
    body = {"name": "by-api", "backend": "kubernetes", "credentials": kubernetes.credentials}
    body |= {"destination": kubernetes.destination | {"prefix": "elsewhere"}, "only_tags": ["deploy"]}
    address = f"/api/environments/{cast.development.name}/targets"
    answer = client.post(address, json.dumps(body), content_type="application/json")
    assert (answer.status_code, answer.json()["only_tags"]) == (201, ["deploy"]), answer.content
    # A secret without the tags is not synced there.
    secret, _ = write.put(
        actor=cast.principal(cast.alice),
        environment=cast.development,
        name="app/other",
        value="x",
        secret_type=SecretType.TEXT,
    )
    targets_shown = overview_rows([secret], list(Target.objects.all()))[0].covered
    assert targets_shown == []


def test_tags_are_chosen_once_and_for_push(stage: Stage, kubernetes: KubernetesWorld) -> None:
    assert stage.fresh().tags == ["deploy", "edge"]
    with pytest.raises(InvalidField):
        targets.change(actor=stage.alice, target=stage.fresh(), only_tags=["more"])
    with pytest.raises(InvalidField):
        targets.change(actor=stage.alice, target=stage.fresh(), direction=Direction.BOTH)
    for tags in (["two words"], ["x" * 60 + str(number) for number in range(20)]):
        with pytest.raises(InvalidField):
            target_in(kubernetes, stage.environment, actor=stage.alice, only_tags=tags)
    Target.objects.filter(pk=stage.target.pk).update(only_tags="deploy")
    assert not stage.fresh().is_authentic()
