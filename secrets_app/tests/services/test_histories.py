"""Secrets that come with all their versions."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from audit_app.events.actions import Action
from audit_app.integrity.check_registry import run_checks
from audit_app.models import AuditEvent
from audit_app.verification.stream_verifier import verify
from core.canonical_json import parsed_details
from environments_app.approvals.gate import unneeded_approval
from environments_app.errors import ApprovalVoid, Forbidden, Invisible
from environments_app.models import Environment, Membership
from environments_app.tests.cast import Cast
from secrets_app.errors import InvalidInput, NameTaken, NoSuchVersion, StaleVersion
from secrets_app.exposure import known_to
from secrets_app.models import Secret, SecretVersion, VersionOrigin
from secrets_app.models.version_rules import DELETED, DESTROYED
from secrets_app.services import histories, lifecycle, read, versions, write
from secrets_app.services.histories import CarriedVersion, Carrier, History
from secrets_app.types.registry import SecretType

pytestmark = pytest.mark.every_database

Events = Callable[..., list[AuditEvent]]
THEN = datetime(2024, 3, 12, 8, 0, 0, 123456, UTC)


def version(number: int, value: str | None = "", **given: Any) -> CarriedVersion:
    text = f"value {number}" if value == "" else value
    return CarriedVersion(
        number=number, value=text, written_at=THEN.replace(day=number), number_there=number, **given
    )


def history(name: str = "app/db", numbers: tuple[int, ...] = (3, 4, 7), **given: Any) -> History:
    found: dict[str, Any] = {
        "place": "secret",
        "path": f"prod/{name}",
        "secret_type": SecretType.TEXT,
        "versions": [version(number) for number in numbers],
        "current": numbers[-1],
        "previous": numbers[-2] if len(numbers) > 1 else None,
        **given,
    }
    return History(name=name, **found)


def carry(cast: Cast, *given: History, who: Any = None, **more: Any) -> None:
    actor = cast.principal(who or cast.erin)
    grant = unneeded_approval(actor, cast.development)
    assert grant
    carrier = Carrier(actor=actor, system="vault", migration=uuid4())
    histories.carry(carrier=carrier, environment=cast.development, histories=given, grant=grant, **more)


def test_numbers_times_and_origins_are_those_of_the_source(cast: Cast, events: Events) -> None:
    carry(cast, history(), history("other", (1,)))
    secret = Secret.objects.get(name="app/db")
    assert (secret.current_number, secret.previous_number) == (7, 4)
    assert secret.rotated_at == THEN.replace(day=7)
    stored = {row.number: row for row in SecretVersion.objects.filter(secret=secret)}
    assert {number: row.written_at for number, row in stored.items()} == {
        number: THEN.replace(day=number) for number in (3, 4, 7)
    }
    actor = cast.principal(cast.bob)
    for number in (3, 4, 7):
        assert read.reveal(actor=actor, secret=secret, number=number).value == f"value {number}"
    with pytest.raises(NoSuchVersion):
        read.reveal(actor=actor, secret=secret, number=5)
    origins = VersionOrigin.objects.all()
    assert len(origins) == 4
    assert all(origin.is_authentic() for origin in origins)
    (event,) = events(Action.SECRET_MIGRATE)
    assert event.manifest
    assert event.manifest.items.count() == 4
    assert parsed_details(event.details)["versions"] == 4
    assert not [*verify(), *run_checks()]


def test_a_time_that_sql_changed_is_no_origin(cast: Cast) -> None:
    carry(cast, history())
    VersionOrigin.objects.filter(version__number=7).update(written_at=THEN)
    assert not VersionOrigin.objects.get(version__number=7).is_authentic()
    assert VersionOrigin.objects.get(version__number=4).is_authentic()


def test_what_is_gone_there_is_gone_here_and_cannot_be_restored(cast: Cast) -> None:
    gone = [
        version(1, None, state=DELETED, deleted_at=THEN),
        version(2, None, state=DESTROYED),
        version(3),
    ]
    carry(cast, history(versions=gone, current=3, previous=None))
    secret = Secret.objects.get()
    assert [secret.rules.state(number) for number in (1, 2, 3)] == [DESTROYED, DESTROYED, ""]
    assert secret.rules.deleted == {1: THEN}
    versions.restore_versions(actor=cast.principal(cast.alice), secret=secret, numbers=[1, 2])
    assert Secret.objects.get().rules.state(1) == DESTROYED
    assert not [*verify(), *run_checks()]


def test_further_versions_follow_those_that_are_there(cast: Cast, events: Events) -> None:
    carry(cast, history())
    secret = Secret.objects.get()
    more = history(numbers=(8, 9), secret=secret, expected=secret.etag)
    carry(cast, more)
    secret = Secret.objects.get()
    assert (secret.current_number, secret.previous_number) == (9, 8)
    assert secret.is_authentic()
    assert [event.manifest.items.count() for event in events(Action.SECRET_MIGRATE) if event.manifest] == [
        3,
        2,
    ]
    assert not [*verify(), *run_checks()]


def test_versions_that_are_there_keep_their_type(cast: Cast) -> None:
    carry(cast, history())
    secret = Secret.objects.get()
    more = [version(8, '{"a":1}'), version(9, '{"a":2}')]
    kind = SecretType.JSON
    carry(cast, history(versions=more, current=9, secret_type=kind, secret=secret, expected=secret.etag))
    secret = Secret.objects.get()
    assert [secret.type_of(number) for number in (3, 7, 8, 9)] == ["TEXT", "TEXT", "JSON", "JSON"]
    assert not [*verify(), *run_checks()]


def test_a_secret_changed_meanwhile_is_left(cast: Cast) -> None:
    carry(cast, history())
    secret = Secret.objects.get()
    seen = secret.etag
    write.update(actor=cast.principal(cast.alice), secret=Secret.objects.get(), value="mine")
    with pytest.raises(StaleVersion):
        carry(cast, history(numbers=(9,), secret=Secret.objects.get(), expected=seen))
    # Read before the change, and stored after it.
    with pytest.raises(StaleVersion):
        carry(cast, history(numbers=(9,), secret=secret, expected=seen), history("new"))
    assert Secret.objects.get().current_number == 8


def test_a_secret_whose_references_are_filled_in_takes_no_version_from_elsewhere(cast: Cast) -> None:
    carry(cast, history())
    write.update(
        actor=cast.principal(cast.alice), secret=Secret.objects.get(), value="mine", uses_references=True
    )
    stored = Secret.objects.get()
    with pytest.raises(InvalidInput, match="references"):
        carry(cast, history(numbers=(9,), secret=stored, expected=stored.etag))


def test_a_name_taken_meanwhile_stores_nothing(cast: Cast, events: Events) -> None:
    carry(cast, history())
    with pytest.raises(NameTaken):
        carry(cast, history(), history("other"))
    assert Secret.objects.count() == 1
    assert len(events(Action.SECRET_MIGRATE)) == 1


def test_numbers_of_a_deleted_secret_are_not_used_again(cast: Cast) -> None:
    carry(cast, history())
    lifecycle.delete(actor=cast.principal(cast.alice), secret=Secret.objects.get())
    with pytest.raises(StaleVersion):
        carry(cast, history())
    carry(cast, history(numbers=(8,)))


def test_a_right_that_is_lost_carries_nothing(cast: Cast) -> None:
    actor = cast.principal(cast.erin)
    grant = unneeded_approval(actor, cast.development)
    assert grant
    Membership.objects.filter(user=cast.erin, environment=cast.development)._raw_delete("default")
    carrier = Carrier(actor=actor, system="vault", migration=uuid4())
    with pytest.raises((Forbidden, Invisible)):
        histories.carry(carrier=carrier, environment=cast.development, histories=[history()], grant=grant)
    assert not Secret.objects.exists()


def test_who_may_not_create_carries_nothing(cast: Cast) -> None:
    with pytest.raises(Forbidden):
        carry(cast, history(), who=cast.bob)


def test_protected_meanwhile_carries_nothing(cast: Cast) -> None:
    actor = cast.principal(cast.erin)
    grant = unneeded_approval(actor, cast.development)
    assert grant
    place = Environment.objects.get(pk=cast.development.pk)
    place.protected = True
    place.save()
    carrier = Carrier(actor=actor, system="vault", migration=uuid4())
    with pytest.raises(ApprovalVoid):
        histories.carry(carrier=carrier, environment=cast.development, histories=[history()], grant=grant)
    assert not Secret.objects.exists()


def test_what_fails_along_with_it_stores_nothing(cast: Cast, events: Events) -> None:
    def fail() -> None:
        raise StaleVersion("another worker")

    with pytest.raises(StaleVersion):
        carry(cast, history(), in_transaction=fail)
    assert not Secret.objects.exists()
    assert not VersionOrigin.objects.exists()
    assert not events(Action.SECRET_MIGRATE)


@pytest.mark.parametrize("value", ["", "a\0b", "x" * 65_537])
def test_no_value_that_keeper_refuses_is_carried(cast: Cast, value: str) -> None:
    with pytest.raises(InvalidInput):
        carry(cast, history(versions=[CarriedVersion(number=1, value=value), version(2)], current=2))


def test_carried_values_are_known_to_nobody(cast: Cast) -> None:
    carry(cast, history())
    assert not known_to(cast.erin.uuid)
