"""A plan promises no pull that cannot work: what Keeper cannot store is refused in the plan, with the reason."""

import pytest

from environments_app.tests.cast import Cast
from sync_app.backends.aws.tests.world import AwsWorld
from sync_app.backends.vault.tests.world import VaultWorld
from sync_app.models import PlanItem
from sync_app.tests.applying.stage import Stage

pytestmark = pytest.mark.every_database_weekly


def refusals(stage: Stage, **options: object) -> dict[str, str]:
    """Plan, and return the reason of each refused line; every other line is not counted."""
    items = PlanItem.objects.filter(plan=stage.plan(**options))
    return {item.name: item.reason for item in items if item.act == "refused"}


@pytest.fixture
def binary(cast: Cast, aws: AwsWorld) -> Stage:
    stage = Stage(cast, aws, direction="pull")
    aws.client.create_secret(Name=stage.path("app/binary"), SecretBinary=b"\x00\x01")
    return stage


def test_binary_data_is_refused_and_the_text_beside_it_is_pulled(binary: Stage) -> None:
    binary.edit("app/text", "plain")
    assert refusals(binary) == {"app/binary": "the secret holds binary data, which Keeper does not sync"}
    plan = binary.sync()
    assert plan.counts == {"pull": 1, "refused": 1}
    assert binary.items(plan) == {"app/binary": ("refused", "skipped"), "app/text": ("pull", "done")}
    assert binary.value("app/text") == "plain"


def test_binary_data_is_not_adopted_with_its_value(binary: Stage) -> None:
    options = {"names": ["app/binary"], "mode": "keep_theirs"}
    assert refusals(binary, kind="adopt", options=options).keys() == {"app/binary"}


def test_an_object_with_a_number_that_was_rounded_is_refused(cast: Cast, vault: VaultWorld) -> None:
    stage = Stage(cast, vault, direction="pull")
    content = {"number": 2**60 + 1, "password": "canary-value"}
    vault.kv.create_or_update_secret(stage.path("app/login"), content, mount_point="secret")
    reasons = refusals(stage)
    assert reasons == {"app/login": "a number in the object is larger than the target keeps exactly"}


def test_a_value_of_another_type_than_that_of_keepers_secret_is_refused(stage: Stage) -> None:
    stage.rules(direction="both")
    stage.keep("app/json", '{"user": "u"}')
    stage.sync()
    secret = stage.secret("app/json")
    secret.secret_type = "JSON"
    secret.save()
    stage.edit("app/json", "canary-value")
    reasons = refusals(stage)
    assert reasons["app/json"].startswith("Keeper does not take the target's value: ")
    assert "canary-value" not in str(reasons)


def test_a_choice_of_the_targets_value_is_refused_as_well(stage: Stage) -> None:
    stage.rules(direction="pull")
    stage.edit("app/nul", "a\0b")
    assert "NUL" in refusals(stage)["app/nul"]
