from collections.abc import Callable
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError

from audit_app.events.actions import Action
from audit_app.events.streams import environment_stream
from audit_app.integrity.check_registry import run_checks
from audit_app.models import AuditEvent
from audit_app.recording import event_store
from audit_app.tests.trail import take_away
from audit_app.verification.stream_verifier import verify
from core.canonical_json import parsed_details
from environments_app.approvals import service as approvals
from environments_app.environments import service as environments
from environments_app.errors import ApprovalNeeded, Forbidden, Invisible
from environments_app.models import Approval, Membership, Role
from environments_app.tests.cast import Cast
from secrets_app.errors import NameTaken, StaleVersion, TooManyItems
from secrets_app.models import Secret, SecretVersion
from secrets_app.services import bulk_create, lifecycle, read, versions
from secrets_app.services.bulk_create import InvalidItems, NewSecret
from secrets_app.tests.kept import VALUE, keep
from secrets_app.types.registry import SecretType
from secrets_app.values.metadata import Metadata

pytestmark = pytest.mark.every_database

Events = Callable[..., list[AuditEvent]]


def new(cast: Cast, name: str, value: str = VALUE, **fields: Any) -> NewSecret:
    given: dict[str, Any] = {"environment": cast.development, "secret_type": SecretType.TEXT, **fields}
    return NewSecret(name=name, value=value, **given)


def nothing_was_stored() -> bool:
    return not Secret.objects.exists() and not SecretVersion.objects.exists()


def test_of_several_deleted_secrets_of_a_name_the_last_one_would_come_back(cast: Cast) -> None:
    alice = cast.principal(cast.alice)
    lifecycle.delete(actor=alice, secret=keep(cast, "a"))
    secret = keep(cast, "a")
    versions.delete_versions(actor=alice, secret=secret, numbers=[secret.current_number])
    with pytest.raises(InvalidItems) as refused:
        bulk_create.create_many(actor=alice, items=[new(cast, "a"), new(cast, "b")])
    assert [(item.index, item.field) for item in refused.value.items] == [(0, "name")]
    assert not Secret.objects.filter(live=True).exists()


def test_one_event_lists_each_secret_and_each_opens(cast: Cast, events: Events) -> None:
    items = [
        new(cast, f"n{number}", f"value {number}", comment="c", metadata=Metadata(tags=["t"]))
        for number in range(5)
    ]
    secrets = bulk_create.create_many(actor=cast.principal(cast.erin), items=items)
    assert [secret.name for secret in secrets] == [item.name for item in items]
    (event,) = events(Action.SECRET_CREATE)
    assert (event.object_kind, event.object_uuid) == ("environment", cast.development.uuid)
    assert parsed_details(event.details) == {"bulk": True, "count": 5}
    assert event.manifest
    listed = [(item.secret_uuid, item.number, item.name) for item in event.manifest.items.order_by("id")]
    assert listed == [(secret.uuid, 1, secret.name) for secret in secrets]
    revealed = read.reveal_environment(actor=cast.principal(cast.bob), environment=cast.development)
    assert {item.name: item.value for item in revealed} == {item.name: item.value for item in items}
    assert {version.comment for version in SecretVersion.objects.all()} == {"c"}
    assert [secret.tags for secret in Secret.objects.all()] == [["t"]] * 5
    assert all(secret.proves_tags() for secret in Secret.objects.all())
    assert not [*verify(), *run_checks()]


def test_several_environments_are_written_at_once(cast: Cast, events: Events) -> None:
    items = [new(cast, "a"), new(cast, "a", environment=cast.production), new(cast, "b")]
    bulk_create.create_many(actor=cast.principal(cast.alice), items=items)
    streams = sorted(event.stream for event in events(Action.SECRET_CREATE))
    development, production = (
        environment_stream(cast.development.uuid),
        environment_stream(cast.production.uuid),
    )
    assert streams == sorted([development, production])
    assert not [*verify(), *run_checks()]


def test_every_fault_is_named_by_its_place(cast: Cast) -> None:
    items = [
        new(cast, "good"),
        new(cast, "bad//name"),
        new(cast, "bad-value", ""),
        new(cast, "bad-json", "{", secret_type=SecretType.JSON),
        new(cast, "good"),
        new(cast, "bad-tags", metadata=Metadata(tags=["no tag!"])),
        new(cast, "bad-comment", comment="x" * 501),
    ]
    with pytest.raises(InvalidItems) as refused:
        bulk_create.create_many(actor=cast.principal(cast.alice), items=items)
    told = [(fault.index, fault.field) for fault in refused.value.items]
    assert told == [(1, "name"), (2, "value"), (3, "value"), (4, "name"), (5, "tags"), (6, "comment")]
    assert nothing_was_stored()


def test_a_name_that_lives_stores_none(cast: Cast, events: Events) -> None:
    keep(cast, "n3")
    with pytest.raises(NameTaken) as refused:
        bulk_create.create_many(
            actor=cast.principal(cast.alice), items=[new(cast, f"n{number}") for number in range(5)]
        )
    assert "Item 3" in str(refused.value)
    assert Secret.objects.count() == SecretVersion.objects.count() == len(events(Action.SECRET_CREATE)) == 1
    assert not [*verify(), *run_checks()]


def test_one_item_that_one_may_not_write_stores_none(cast: Cast) -> None:
    items = [new(cast, "a"), new(cast, "b", environment=cast.production)]
    with pytest.raises(Invisible):
        bulk_create.create_many(actor=cast.principal(cast.erin), items=items)
    with pytest.raises(Forbidden):
        bulk_create.create_many(actor=cast.principal(cast.bob), items=items[:1])
    Membership.objects.create(environment=cast.development, user=cast.charlie, role="editor", prefix="pay")
    with pytest.raises(Invisible):
        bulk_create.create_many(
            actor=cast.principal(cast.charlie), items=[new(cast, "pay/a"), new(cast, "pay-out")]
        )
    assert nothing_was_stored()


def test_more_than_a_thousand_are_refused(cast: Cast) -> None:
    with pytest.raises(TooManyItems):
        bulk_create.create_many(actor=cast.principal(cast.alice), items=[new(cast, "n")] * 1001)
    assert nothing_was_stored()


def test_without_a_record_none_is_stored(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(cast, "warm").versions.all()
    before = Secret.objects.count()

    def fail(*_: object, **__: object) -> None:
        raise DatabaseError("the disk is full")

    monkeypatch.setattr(event_store, "append", fail)
    with pytest.raises(DatabaseError):
        bulk_create.create_many(actor=cast.principal(cast.alice), items=[new(cast, "a"), new(cast, "b")])
    assert Secret.objects.count() == SecretVersion.objects.count() == before


def test_values_are_in_no_repr(cast: Cast) -> None:
    assert VALUE not in repr(new(cast, "a"))


@pytest.mark.parametrize("what", ["the right", "the name", "an older secret"])
def test_what_changes_while_values_are_sealed_stores_none(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Sealing a thousand takes a while, and others go on meanwhile."""
    refusal = {"the right": Invisible, "the name": NameTaken, "an older secret": StaleVersion}[what]
    sealed = bulk_create._sealed

    def meanwhile(*given: Any) -> Any:
        made = sealed(*given)
        if what == "the right":
            take_away(Membership.objects.filter(user=cast.erin))
        else:
            kept = keep(cast, "n1", actor=cast.alice)
            if what == "an older secret":
                lifecycle.delete(actor=cast.principal(cast.alice), secret=kept)
        return made

    monkeypatch.setattr(bulk_create, "_sealed", meanwhile)
    with pytest.raises(refusal, match="Item 1" if what == "the name" else None):
        bulk_create.create_many(actor=cast.principal(cast.erin), items=[new(cast, "n0"), new(cast, "n1")])
    assert not Secret.objects.filter(name="n0").exists()
    assert Secret.objects.count() == SecretVersion.objects.count() == (0 if what == "the right" else 1)


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_a_secret_that_a_new_value_brings_back_is_not_made_twice(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    alice, sealed = cast.principal(cast.alice), bulk_create._sealed
    kept = keep(cast, "n1")
    lifecycle.delete(actor=alice, secret=kept)

    def withdraw() -> None:
        lifecycle.restore(actor=alice, secret=fresh(kept))
        versions.delete_versions(actor=alice, secret=fresh(kept), numbers=[1])

    def meanwhile(*given: Any) -> Any:
        withdraw()
        return sealed(*given)

    if when == "before":
        withdraw()
    else:
        monkeypatch.setattr(bulk_create, "_sealed", meanwhile)
    with pytest.raises(InvalidItems if when == "before" else StaleVersion) as refused:
        bulk_create.create_many(actor=alice, items=[new(cast, "n0"), new(cast, "n1")])
    if isinstance(refused.value, InvalidItems):
        assert [(each.index, each.field) for each in refused.value.items] == [(1, "name")]
    assert (Secret.objects.get().pk, Secret.objects.filter(live=True).exists()) == (kept.pk, False)


def fresh(secret: Secret) -> Secret:
    return Secret.objects.select_related("environment").get(pk=secret.pk)


def test_a_fault_of_the_database_is_not_called_a_taken_name(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_given: object) -> None:
        raise IntegrityError("another constraint")

    monkeypatch.setattr(bulk_create, "_insert", fails)
    with pytest.raises(IntegrityError, match="another constraint"):
        bulk_create.create_many(actor=cast.principal(cast.alice), items=[new(cast, "a")])


def test_what_is_created_in_bulk_never_becomes_a_reference(cast: Cast) -> None:
    item = new(cast, "a", "${development/b}", metadata=Metadata(uses_references=True))
    with pytest.raises(InvalidItems) as refused:
        bulk_create.create_many(actor=cast.principal(cast.alice), items=[item])
    assert [fault.field for fault in refused.value.items] == ["uses_references"]
    assert nothing_was_stored()


def test_what_a_second_person_could_not_approve_is_refused_before(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(cast, "taken")
    take_away(Membership.objects.filter(user=cast.erin))
    Membership.objects.create(environment=cast.development, user=cast.erin, role=Role.MANAGER)
    alice = cast.principal(cast.alice)
    environments.update_environment(actor=alice, environment=cast.development, protected=True)
    cast.development.refresh_from_db()
    monkeypatch.setattr(bulk_create, "MAX_PENDING_BYTES", 20)
    for items, refusal in (
        ([new(cast, "free"), new(cast, "taken")], NameTaken),
        # Characters are counted as the bytes that they are kept in.
        ([new(cast, "a", "ä" * 5), new(cast, "b", "12345678901")], TooManyItems),
    ):
        with pytest.raises(refusal):
            bulk_create.create_many(actor=cast.principal(cast.alice), items=items)
        assert not Approval.objects.exists()
    with pytest.raises(ApprovalNeeded):
        bulk_create.create_many(
            actor=cast.principal(cast.alice),
            # What goes elsewhere does not count.
            items=[
                new(cast, "a", "ä" * 5),
                new(cast, "b", "1234567890"),
                new(cast, "c", environment=cast.production),
            ],
        )
    assert Secret.objects.count() == 1


def test_who_may_not_write_asks_no_second_person(cast: Cast) -> None:
    Membership.objects.create(environment=cast.development, user=cast.charlie, role=Role.MANAGER)
    environments.update_environment(
        actor=cast.principal(cast.alice), environment=cast.development, protected=True
    )
    cast.development.refresh_from_db()
    with pytest.raises(Forbidden):
        bulk_create.create_many(actor=cast.principal(cast.bob), items=[new(cast, "a")])
    assert not Approval.objects.exists()
    assert nothing_was_stored()


def test_other_values_than_were_approved_need_another_approval(cast: Cast) -> None:
    """Also of the same names and lengths: the approval is of the values."""
    Membership.objects.update_or_create(
        environment=cast.production, user=cast.erin, defaults={"role": Role.MANAGER}
    )
    cast.production.protected = True
    cast.production.save()
    alice = cast.principal(cast.alice)

    def asked(*values: str) -> Approval:
        names = ("a", "b")
        items = [
            new(cast, name, value, environment=cast.production)
            for name, value in zip(names, values, strict=True)
        ]
        with pytest.raises(ApprovalNeeded) as raised:
            bulk_create.create_many(actor=alice, items=items)
        return Approval.objects.select_related("environment").get(pk=raised.value.approval)

    approval = asked("first", "value")
    assert asked("first", "value") == approval
    approvals.approve(actor=cast.principal(cast.erin), approval=approval)
    assert asked("first", "other") != approval
    assert asked("value", "first") != approval
    assert nothing_was_stored()


def test_of_many_faults_fifty_are_told(cast: Cast) -> None:
    with pytest.raises(InvalidItems) as refused:
        bulk_create.create_many(
            actor=cast.principal(cast.alice), items=[new(cast, f"bad name {number}") for number in range(60)]
        )
    assert [fault.index for fault in refused.value.items] == list(range(50))
