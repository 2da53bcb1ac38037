"""A new value for a secret that is deleted because its current version is, whichever way it comes."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from environments_app.approvals import service as approvals
from environments_app.environments import service as environments
from environments_app.environments.memberships import grant
from environments_app.errors import ApprovalNeeded, ApprovalVoid
from environments_app.models import Approval, Role
from environments_app.tests.cast import Cast
from secrets_app.errors import ManagedValue, StaleVersion, TamperedSecret
from secrets_app.importing.formats.registry import Entry
from secrets_app.importing.plan import PlanChanged, plan_import
from secrets_app.importing.service import import_entries
from secrets_app.models import Secret, SecretVersion
from secrets_app.queries.lookup import find_withdrawn
from secrets_app.services import transfer, versions, write
from secrets_app.services.read import reveal
from secrets_app.tests.kept import change, keep
from secrets_app.types.registry import SecretType

pytestmark = [pytest.mark.django_db]

RULES = {"cas_required": True, "max_versions": 5, "custom_metadata": {"team": "a"}}
SignedIn = Callable[[Any], Client]


def stored(secret: Secret) -> Secret:
    return Secret.objects.select_related("environment").get(pk=secret.pk)


@pytest.fixture
def withdrawn(cast: Cast) -> Secret:
    """Return a secret of two versions and rules whose current version was deleted."""
    return withdraw(cast, change(cast, keep(cast, "a", "one", description="kept"), "two", **RULES))


def withdraw(cast: Cast, secret: Secret) -> Secret:
    found = stored(secret)
    return versions.delete_versions(
        actor=cast.principal(cast.alice), secret=found, numbers=[found.current_number]
    )


def by_put(cast: Cast, _: SignedIn) -> None:
    write.put(actor=cast.principal(cast.alice), environment=cast.development, name="a", value="new")


def by_name(cast: Cast, signed_in: SignedIn) -> None:
    path = f"/api/environments/{cast.development.name}/secrets/a"
    answer = signed_in(cast.alice).put(path, {"value": "new"}, content_type="application/json")
    assert answer.status_code == 201


def by_name_if_new(cast: Cast, signed_in: SignedIn) -> None:
    path = f"/api/environments/{cast.development.name}/secrets/a"
    answer = signed_in(cast.alice).put(
        path, {"value": "new"}, content_type="application/json", headers={"If-None-Match": "*"}
    )
    assert answer.status_code == 201


def by_post(cast: Cast, signed_in: SignedIn) -> None:
    sent = {"environment": cast.development.name, "name": "a", "secret_type": "TEXT", "value": "new"}
    answer = signed_in(cast.alice).post("/api/secrets", sent, content_type="application/json")
    assert answer.status_code == 201


def by_page(cast: Cast, signed_in: SignedIn) -> None:
    sent = {
        "environment": cast.development.name,
        "name": "a",
        "secret_type": SecretType.TEXT,
        "value": "new",
        "description": "kept",
        "expires_at": "",
        "tags": "",
        "owner": "",
        "comment": "",
    }
    assert signed_in(cast.alice).post(reverse("secret-new"), sent).status_code == 302


def by_copy(cast: Cast, _: SignedIn) -> None:
    source = keep(cast, "source", "new", environment=cast.production, description="kept")
    transfer.copy(actor=cast.principal(cast.alice), secret=source, environment=cast.development, name="a")


WAYS = {
    "put": by_put, "by name": by_name, "only new": by_name_if_new, "post": by_post, "page": by_page,
    "copy": by_copy,
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_a_new_value_brings_the_same_secret_back(
    cast: Cast, withdrawn: Secret, signed_in: SignedIn, way: str
) -> None:
    WAYS[way](cast, signed_in)
    found = Secret.objects.select_related("environment").get(environment=cast.development, name="a")
    assert (found.pk, found.live, found.deleted_at, found.current_number) == (withdrawn.pk, True, None, 3)
    assert {name: getattr(found, name) for name in RULES} == RULES
    assert (found.description, [*found.rules.deleted]) == ("kept", [2])
    alice = cast.principal(cast.alice)
    assert reveal(actor=alice, secret=found).value == "new"
    assert reveal(actor=alice, secret=found, number=1).value == "one"


def test_it_keeps_its_type_unless_one_is_given(cast: Cast) -> None:
    alice = cast.principal(cast.alice)
    for kind, expected in ((None, SecretType.PASSWORD), (SecretType.API_KEY, SecretType.API_KEY)):
        name = f"typed/{expected}"
        withdraw(cast, keep(cast, name, secret_type=SecretType.PASSWORD))
        secret, _ = write.put(
            actor=alice, environment=cast.development, name=name, secret_type=kind, value="new"
        )
        assert secret.secret_type == expected


def test_a_copy_stays_literal_where_the_secret_resolved_references(cast: Cast, signed_in: SignedIn) -> None:
    keep(cast, "source/of", environment=cast.development)
    text = f"${{{cast.development.name}/source/of}}"
    withdraw(cast, keep(cast, "a", text, uses_references=True))
    by_copy(cast, signed_in)
    assert not Secret.objects.get(environment=cast.development, name="a").uses_references


def test_what_is_deleted_with_all_its_versions_stays_and_another_is_made(
    cast: Cast, withdrawn: Secret
) -> None:
    alice = cast.principal(cast.alice)
    versions.delete_all(actor=alice, secret=stored(withdrawn))
    secret, _ = write.put(actor=alice, environment=cast.development, name="a", value="new")
    assert (secret.pk != withdrawn.pk, secret.current_number) == (True, 3)


def test_an_edited_one_is_not_brought_back(cast: Cast, withdrawn: Secret, signed_in: SignedIn) -> None:
    Secret.objects.filter(pk=withdrawn.pk).update(version_rules={"deleted": {"2": "2026-01-01T00:00:00Z"}})
    with pytest.raises(TamperedSecret):
        by_put(cast, signed_in)
    assert SecretVersion.objects.count() == 2


def test_the_guards_of_writes_are_asked(
    cast: Cast, withdrawn: Secret, signed_in: SignedIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    def guard(**_: Any) -> Any:
        raise ManagedValue("A rotation policy answers for this secret.")

    monkeypatch.setattr(write, "run_write_guards", guard)
    with pytest.raises(ManagedValue):
        by_put(cast, signed_in)
    assert stored(withdrawn).live is None


@pytest.fixture
def restored_meanwhile(cast: Cast, withdrawn: Secret, monkeypatch: pytest.MonkeyPatch) -> Secret:
    """Return a secret that another writer restores between the look and the write."""
    look = find_withdrawn

    def meanwhile(*given: Any) -> Any:
        found = look(*given)
        versions.restore_versions(actor=cast.principal(cast.alice), secret=stored(withdrawn), numbers=[2])
        return found

    monkeypatch.setattr(write, "find_withdrawn", meanwhile)
    return withdrawn


def test_of_one_that_is_restored_meanwhile_a_put_writes_the_next_version(
    cast: Cast, restored_meanwhile: Secret, signed_in: SignedIn
) -> None:
    by_put(cast, signed_in)
    assert (stored(restored_meanwhile).live, stored(restored_meanwhile).current_number) == (True, 3)


def test_of_one_that_is_restored_meanwhile_nothing_is_created(cast: Cast, restored_meanwhile: Secret) -> None:
    with pytest.raises(StaleVersion, match="exists already"):
        write.put(
            actor=cast.principal(cast.alice),
            environment=cast.development,
            name="a",
            value="new",
            only_new=True,
        )
    assert stored(restored_meanwhile).current_number == 2


def test_a_creation_of_one_that_is_restored_meanwhile_is_refused(
    cast: Cast, restored_meanwhile: Secret
) -> None:
    with pytest.raises(StaleVersion):
        keep(cast, "a", "new")
    assert stored(restored_meanwhile).current_number == 2


@pytest.fixture
def guarded(cast: Cast, withdrawn: Secret) -> Secret:
    """The same in a protected environment, which alice and charlie manage."""
    alice = cast.principal(cast.alice)
    grant(actor=alice, environment=cast.development, user=cast.charlie, role=Role.MANAGER)
    environments.update_environment(actor=alice, environment=cast.development, protected=True)
    cast.development.refresh_from_db()
    return stored(withdrawn)


def ask(cast: Cast, signed_in: SignedIn) -> Approval:
    with pytest.raises(ApprovalNeeded) as raised:
        by_put(cast, signed_in)
    return Approval.objects.select_related("environment").get(pk=raised.value.approval)


def test_two_people_bring_back_a_guarded_one(cast: Cast, guarded: Secret, signed_in: SignedIn) -> None:
    asked = ask(cast, signed_in)
    assert {"label": "Secret", "before": "deleted", "after": "restored"} in asked.summary
    assert stored(guarded).live is None
    agreed = approvals.approve(actor=cast.principal(cast.charlie), approval=asked)
    approvals.carry_out(actor=cast.principal(cast.alice), approval=agreed)
    found = stored(guarded)
    assert (found.live, found.current_number, found.cas_required) == (True, 3, True)


def test_an_approved_creation_brings_nothing_back_that_was_withdrawn_since(
    cast: Cast, guarded: Secret, signed_in: SignedIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        # While it is asked for there is none; the withdrawal comes before the approval.
        patch.setattr(write, "find_withdrawn", lambda *_: None)
        asked = ask(cast, signed_in)
    assert asked.action == "secret.create"
    agreed = approvals.approve(actor=cast.principal(cast.charlie), approval=asked)
    with pytest.raises(ApprovalVoid):
        approvals.carry_out(actor=cast.principal(cast.alice), approval=agreed)
    assert (stored(guarded).live, SecretVersion.objects.count()) == (None, 2)


def entries(**values: str) -> list[Entry]:
    return [
        Entry(place=place, name=name, value=value) for place, (name, value) in enumerate(values.items(), 1)
    ]


def test_an_import_is_the_next_version(cast: Cast, withdrawn: Secret) -> None:
    for name in ("b", "c"):
        keep(cast, name, "old")
    withdraw(cast, change(cast, Secret.objects.get(name="b"), "newer"))
    place, alice = cast.development, cast.principal(cast.alice)
    given = entries(a="new", b="newer", c="old", d="first")
    plan = plan_import(actor=alice, environment=place, entries=given, keep_existing=True)
    assert [line.verdict for line in plan.lines] == ["changed", "changed", "kept", "new"]
    _, results = import_entries(
        actor=alice, environment=place, entries=given, keep_existing=True, digest=plan.digest
    )
    assert all(result.done for result in results)
    back = stored(withdrawn)
    assert (back.live, back.current_number, back.description) == (True, 3, "kept")
    assert (back.cas_required, back.max_versions, back.custom_metadata) == (True, 5, {"team": "a"})
    assert reveal(actor=alice, secret=back, number=1).value == "one"
    assert Secret.objects.get(name="b").current_number == 3
    assert Secret.objects.filter(name__in="abcd").count() == 4


def test_an_import_is_planned_again_if_the_secret_comes_back_meanwhile(cast: Cast, withdrawn: Secret) -> None:
    alice, given = cast.principal(cast.alice), entries(a="new")
    plan = plan_import(actor=alice, environment=cast.development, entries=given)
    versions.restore_versions(actor=alice, secret=stored(withdrawn), numbers=[2])
    with pytest.raises(PlanChanged):
        import_entries(actor=alice, environment=cast.development, entries=given, digest=plan.digest)
    assert stored(withdrawn).current_number == 2


def test_an_import_leaves_an_edited_one_alone(
    cast: Cast, withdrawn: Secret, sql: Callable[..., None]
) -> None:
    sql("UPDATE secrets_app_secret SET current_number = 1 WHERE id = %s", withdrawn.pk)
    sql("UPDATE secrets_app_secret SET version_rules = %s WHERE id = %s", '{"destroyed":[1]}', withdrawn.pk)
    plan = plan_import(actor=cast.principal(cast.alice), environment=cast.development, entries=entries(a="x"))
    assert [(line.verdict, "outside Keeper" in line.reason) for line in plan.lines] == [("refused", True)]
