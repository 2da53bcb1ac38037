"""A name keeps its guard: whatever gets the name of a guarded secret that was deleted is guarded as well."""

from collections.abc import Callable
from datetime import timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from environments_app.approvals import service as approvals
from environments_app.approvals.gate import system_approval
from environments_app.errors import ApprovalNeeded
from environments_app.models import Approval, Membership, Role
from environments_app.tests.cast import Cast
from secrets_app.errors import StaleVersion
from secrets_app.importing.formats.registry import Entry
from secrets_app.importing.service import import_entries
from secrets_app.models import Secret
from secrets_app.rows import store
from secrets_app.services import bulk_create, guarded, histories, lifecycle, transfer, versions, write
from secrets_app.services.histories import CarriedVersion, Carrier, History
from secrets_app.tests.kept import keep
from secrets_app.types.registry import SecretType

pytestmark = [pytest.mark.django_db, pytest.mark.every_database]
NAME = "app/db"


@pytest.fixture
def secret(cast: Cast) -> Secret:
    """Return a secret of development that alice guarded; charlie is a manager there as well."""
    Membership.objects.create(environment=cast.development, user=cast.charlie, role=Role.MANAGER)
    kept = keep(cast, NAME)
    guarded.guard(actor=cast.principal(cast.alice), secret=kept)
    return stored(kept)


def stored(secret: Secret) -> Secret:
    return Secret.objects.select_related("environment").get(pk=secret.pk)


def living(cast: Cast) -> Secret:
    return Secret.objects.select_related("environment").get(
        environment=cast.development, name=NAME, live=True
    )


def put(cast: Cast) -> None:
    write.put(actor=cast.principal(cast.erin), environment=cast.development, name=NAME, value="new")


def bulk(cast: Cast) -> None:
    item = bulk_create.NewSecret(
        environment=cast.development, name=NAME, secret_type=SecretType.TEXT, value="new"
    )
    (created,) = bulk_create.create_many(actor=cast.principal(cast.erin), items=[item])
    assert created.guarded


def bring_in(cast: Cast) -> None:
    entries = [Entry(place=1, name=NAME, value="new")]
    actor = cast.principal(cast.alice)
    _, (result,) = import_entries(actor=actor, environment=cast.development, entries=entries)
    if not result.done:
        raise StaleVersion(result.reason)


def describe(cast: Cast) -> None:
    erin = cast.principal(cast.erin)
    write.describe(actor=erin, environment=cast.development, name=NAME, description="new")
    put(cast)


def copy(cast: Cast) -> None:
    other = keep(cast, "other")
    transfer.copy(actor=cast.principal(cast.erin), secret=other, environment=cast.development, name=NAME)


def rename(cast: Cast) -> None:
    lifecycle.rename(actor=cast.principal(cast.erin), secret=stored(keep(cast, "other")), name=NAME)


def carry(cast: Cast) -> None:
    alice, place = cast.principal(cast.alice), cast.development
    history = History(
        name=NAME,
        place="kv",
        path=NAME,
        secret_type=SecretType.TEXT,
        versions=[CarriedVersion(number=5, value="new")],
        current=5,
    )
    histories.carry(
        carrier=Carrier(actor=alice, system="vault_kv2", migration=uuid4()),
        environment=place,
        histories=[history],
        grant=system_approval(alice, place),
    )


WAYS: dict[str, Callable[[Cast], None]] = {
    "put": put,
    "bulk": bulk,
    "import": bring_in,
    "describe": describe,
    "copy": copy,
    "rename": rename,
    "migrate": carry,
}


@pytest.mark.parametrize("way", WAYS)
def test_a_new_secret_of_the_name_is_guarded(cast: Cast, secret: Secret, way: str) -> None:
    lifecycle.delete(actor=cast.principal(cast.erin), secret=secret)
    WAYS[way](cast)
    new = living(cast)
    assert new.pk != secret.pk
    assert new.guarded
    assert new.is_authentic()
    # Another name is none of it.
    assert not stored(keep(cast, "another")).guarded


def test_a_secret_that_vault_clients_removed_leaves_its_guard(cast: Cast, secret: Secret) -> None:
    erin = cast.principal(cast.erin)
    versions.delete_versions(actor=erin, secret=secret, numbers=[1])
    put(cast)
    assert living(cast).guarded
    versions.delete_all(actor=erin, secret=living(cast))
    put(cast)
    assert living(cast).guarded


def test_an_older_secret_that_is_restored_is_guarded(cast: Cast) -> None:
    erin = cast.principal(cast.erin)
    older = lifecycle.delete(actor=erin, secret=keep(cast, NAME))
    newer = guarded.guard(actor=cast.principal(cast.alice), secret=stored(keep(cast, NAME)))
    lifecycle.delete(actor=erin, secret=newer)
    lifecycle.restore(actor=erin, secret=stored(older))
    assert living(cast).pk == older.pk
    assert living(cast).guarded


@pytest.mark.parametrize("act", ["rename", "purge"])
def test_what_frees_its_name_takes_a_second_person(cast: Cast, secret: Secret, act: str) -> None:
    alice = cast.principal(cast.alice)
    if act == "purge":
        secret = lifecycle.delete(actor=alice, secret=secret)

    def free() -> None:
        if act == "rename":
            lifecycle.rename(actor=alice, secret=stored(secret), name="elsewhere")
        else:
            lifecycle.purge(actor=alice, secret=stored(secret))

    with pytest.raises(ApprovalNeeded, match="second person"):
        free()
    assert stored(secret).name == NAME
    approval = Approval.objects.select_related("environment").get(object_uuid=secret.uuid)
    approved = approvals.approve(actor=cast.principal(cast.charlie), approval=approval)
    approvals.carry_out(actor=alice, approval=approved)
    assert not Secret.objects.filter(environment=cast.development, name=NAME).exists()
    put(cast)
    assert not living(cast).guarded


def test_the_end_of_the_retention_takes_nobody(cast: Cast, secret: Secret) -> None:
    lifecycle.delete(actor=cast.principal(cast.erin), secret=secret)
    Secret.objects.update(deleted_at=timezone.now() - timedelta(days=4000))
    assert lifecycle.purge_expired() == 1


@pytest.mark.parametrize("way", WAYS)
def test_a_guarded_secret_that_is_deleted_meanwhile_is_not_missed(
    cast: Cast, secret: Secret, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lifecycle.delete(actor=cast.principal(cast.erin), secret=secret)
    # What was looked at before it happened.
    monkeypatch.setattr(store, "inherits_guard", lambda *_: False)
    for module in (bulk_create, histories):
        answers = [set[str]()]
        asked = module.guarded_names
        monkeypatch.setattr(
            module,
            "guarded_names",
            lambda *args, answers=answers, asked=asked: answers.pop() if answers else asked(*args),
        )
    with pytest.raises(StaleVersion):
        WAYS[way](cast)
    assert not Secret.objects.filter(environment=cast.development, name=NAME, live=True).exists()
