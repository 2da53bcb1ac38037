"""Rules of a target's own system: chosen in its form and by the API, and changed without new credentials."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from environments_app.environments import service as environments
from environments_app.errors import ApprovalNeeded
from environments_app.models import Approval, Membership, Role
from environments_app.tests.cast import Cast
from sync_app.backends.aws.tests.world import ParameterWorld
from sync_app.backends.kubernetes.tests.world import KubernetesWorld
from sync_app.backends.registry import BACKENDS
from sync_app.backends.vault.tests.world import VaultWorld
from sync_app.models import Target
from sync_app.targets import service as targets
from sync_app.tests.making import made

pytestmark = pytest.mark.django_db
Bearer = Callable[..., Client]


def stored(target: Target) -> dict[str, str]:
    return dict(Target.objects.get(pk=target.pk).destination)


def test_the_api_changes_a_rule_and_nothing_else_of_the_destination(
    cast: Cast, vault: VaultWorld, bearer: Bearer
) -> None:
    target = made(cast, vault)
    assert stored(target)["objects"] == "keys"
    manager = bearer("manager", cast.development)
    path = f"/api/environments/development/targets/{target.pk}"

    def change(destination: object) -> int:
        body = json.dumps({"destination": destination})
        return manager.patch(path, body, content_type="application/json").status_code

    assert change({"objects": "merge"}) == 200
    before = stored(target)
    assert before["objects"] == "merge"
    for wrong in ({"objects": "other"}, {"address": "https://x.example"}, {"mount": "y"}, "merge", ["merge"]):
        assert change(wrong) == 400, wrong
    assert stored(target) == before


def test_the_api_makes_targets_of_the_new_kinds(
    cast: Cast, ssm: ParameterWorld, kubernetes: KubernetesWorld, bearer: Bearer
) -> None:
    manager = bearer("manager", cast.development)
    for world in (ssm, kubernetes):
        body = {
            "name": world.kind.replace("_", "-"),
            "backend": world.kind,
            "destination": world.destination,
            "credentials": world.credentials,
        }
        path = "/api/environments/development/targets"
        for address, status in ((f"{path}/test", 200), (path, 201)):
            answer = manager.post(address, json.dumps(body), content_type="application/json")
            assert answer.status_code == status, answer.json()
            assert not any(text in answer.content.decode() for text in world.credentials.values())


def test_a_protected_environment_wants_an_approval_for_a_rule_of_an_automatic_target(
    cast: Cast, vault: VaultWorld
) -> None:
    alice = cast.principal(cast.alice)
    Membership.objects.create(environment=cast.development, user=cast.charlie, role=Role.MANAGER)
    target = targets.change(actor=alice, target=made(cast, vault), automatic=True)
    environments.update_environment(actor=alice, environment=cast.development, protected=True)
    target = Target.objects.select_related("environment").get(pk=target.pk)
    with pytest.raises(ApprovalNeeded):
        targets.change(actor=alice, target=target, destination={"objects": "value"})
    assert stored(target)["objects"] == "keys"
    assert "value" in str(Approval.objects.get().summary)


def test_whoever_approves_an_automatic_target_sees_where_it_goes(cast: Cast, vault: VaultWorld) -> None:
    alice = cast.principal(cast.alice)
    Membership.objects.create(environment=cast.development, user=cast.charlie, role=Role.MANAGER)
    target = made(cast, vault)
    targets.change_credentials(actor=alice, target=target, credentials=vault.credentials)
    # What was set before, which nobody approved, is approved now.
    early: dict[str, Any] = {
        "conflict": "keeper_wins",
        "deletion": "recoverable",
        "budget_number": 1000,
        "budget_percent": 100,
    }
    targets.change(actor=alice, target=target, interval_seconds=60, **early)
    environments.update_environment(actor=alice, environment=cast.development, protected=True)
    target = Target.objects.select_related("environment").get(pk=target.pk)
    with pytest.raises(ApprovalNeeded):
        targets.change(actor=alice, target=target, automatic=True)
    lines = {line["label"]: line["after"] for line in Approval.objects.get().summary}
    assert lines["Address"] == target.endpoint
    assert (lines["Direction"], lines["Automatic"]) == ("push", "True")
    assert (lines["Conflict"], lines["Deletion"], lines["Budget number"]) == (
        "keeper_wins",
        "recoverable",
        "1000",
    )
    assert (lines["Budget percent"], lines["Interval seconds"], lines["JSON objects"]) == (
        "100",
        "60",
        "keys",
    )
    assert lines["System"] == "not confirmed by another person: address and credentials are from alice"


def test_every_rule_has_a_label_for_each_choice() -> None:
    fields = [field for kind in BACKENDS.values() for field in kind.destination_fields if field.rule]
    assert {field.name for field in fields} == {
        "masking",
        "objects",
        "protected",
        "restart",
        "tier",
        "visibility",
    }
    for field in fields:
        assert not field.fixed
        assert len(field.choice_labels) == len(field.choices)
        assert {field.default, field.initial or field.default} <= set(field.choices)


def test_the_name_of_the_environment_is_filled_in(cast: Cast, kubernetes: KubernetesWorld) -> None:
    kubernetes.destination["prefix"] = "apps/{environment}"
    target = made(cast, kubernetes)
    assert (target.place, stored(target)["prefix"]) == ("apps/development", "apps/development")
