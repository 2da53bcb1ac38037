"""What an approver sees of a change: where a value is from, and what it refers to."""

from collections.abc import Callable

import pytest

from environments_app.environments import service as environments
from environments_app.errors import ApprovalNeeded
from environments_app.models import Approval, Membership, Role
from environments_app.tests.cast import Cast
from secrets_app.models import Secret
from secrets_app.services import bulk_create, transfer, write
from secrets_app.services.proposals import MASKED
from secrets_app.tests.kept import keep
from secrets_app.types.registry import SecretType

pytestmark = pytest.mark.django_db
OPEN = "unprotected environment: its value, and what is delivered, changes without approval"


@pytest.fixture
def sources(cast: Cast) -> tuple[Secret, Secret]:
    """One secret of protected production, which alice and erin manage, and one of unprotected development."""
    Membership.objects.create(environment=cast.production, user=cast.erin, role=Role.MANAGER)
    kept = keep(cast, "db/key", environment=cast.production), keep(cast, "shared/key")
    environments.update_environment(
        actor=cast.principal(cast.alice), environment=cast.production, protected=True
    )
    cast.production.refresh_from_db()
    return kept


def lines(act: Callable[[], object]) -> list[tuple[str, str, str]]:
    with pytest.raises(ApprovalNeeded) as raised:
        act()
    summary = Approval.objects.get(pk=raised.value.approval).summary
    return [(line["label"], line["before"], line["after"]) for line in summary]


def test_the_approver_sees_what_a_value_refers_to(cast: Cast, sources: tuple[Secret, Secret]) -> None:
    alice = cast.principal(cast.alice)
    value = "${production/db/key} ${development/shared/key}"
    wanted = [
        ("Refers to", "", "production/db/key"),
        ("Refers to", "", f"development/shared/key ({OPEN})"),
    ]
    found = lines(
        lambda: write.create(
            actor=alice, environment=cast.production, name="app/url", secret_type=SecretType.TEXT,
            value=value, uses_references=True,
        )
    )  # fmt: skip
    assert [line for line in found if line[0] == "Refers to"] == wanted
    stored = Secret.objects.select_related("environment").get(pk=sources[0].pk)
    value = value.replace("${production/db/key} ", "")
    found = lines(lambda: write.update(actor=alice, secret=stored, value=value, uses_references=True))
    assert [line for line in found if line[0] == "Refers to"] == wanted[1:]


def test_the_approver_of_a_copy_or_promotion_sees_both_environments(
    cast: Cast, sources: tuple[Secret, Secret]
) -> None:
    alice, (there, here) = cast.principal(cast.alice), sources
    copied = lines(lambda: transfer.copy(actor=alice, secret=here, environment=cast.production, name="a/b"))
    assert copied == [("Name", "a secret of development", "a/b")]
    there = Secret.objects.select_related("environment").get(pk=there.pk)
    moved = lines(lambda: transfer.move(actor=alice, secret=there, environment=cast.development, name="c/d"))
    assert moved == [("Name", "db/key", "moved to development, then deleted here")]
    write.update(actor=alice, secret=here, value="another-one")
    here = Secret.objects.select_related("environment").get(pk=here.pk)
    promoted = lines(lambda: transfer.overwrite(actor=alice, secret=here, onto=there, expected=there.etag))
    assert ("Value copied from", "", "a secret of development") in promoted


def test_the_approver_of_many_secrets_sees_how_many_there_are(
    cast: Cast, sources: tuple[Secret, Secret]
) -> None:
    items = [
        bulk_create.NewSecret(
            environment=cast.production, name=f"many/{number:02}", secret_type=SecretType.TEXT, value="v"
        )
        for number in range(52)
    ]
    found = lines(lambda: bulk_create.create_many(actor=cast.principal(cast.alice), items=items))
    assert [label for label, _, _ in found] == [*(item.name for item in items[:50]), "and 2 more"]
    assert {after for _, _, after in found} == {MASKED}


def test_the_approver_of_a_decoy_sees_that_it_is_one(cast: Cast, sources: tuple[Secret, Secret]) -> None:
    found = lines(
        lambda: write.create(
            actor=cast.principal(cast.alice), environment=cast.production, name="app/root",
            secret_type=SecretType.TEXT, value="bait", decoy=True,
        )
    )  # fmt: skip
    assert ("Uses", "", "each raises an alert: it is a decoy") in found
