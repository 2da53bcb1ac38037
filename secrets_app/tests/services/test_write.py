from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from django.test import Client

from audit_app.events.actions import Action
from audit_app.integrity.check_registry import run_checks
from audit_app.models import AuditEvent
from audit_app.verification.stream_verifier import verify
from environments_app.environments import service as environments
from environments_app.errors import ApprovalNeeded, Forbidden, Invisible
from environments_app.models import Membership, Role
from environments_app.tests.cast import Cast, make_cast
from secrets_app.errors import InvalidInput, InvalidValue, NameTaken, NoSuchVersion, StaleVersion
from secrets_app.exposure import known_to
from secrets_app.keys.data_keys import replace_key
from secrets_app.keys.models import VALUES
from secrets_app.models import DataKey, Secret, SecretVersion
from secrets_app.models.version_rules import VersionRules
from secrets_app.services import lifecycle, write
from secrets_app.services import read as read_service
from secrets_app.tests.at_once import at_once
from secrets_app.tests.kept import VALUE, change, keep
from secrets_app.types.registry import SecretType
from secrets_app.values.metadata import MAX_COMMENT, MAX_DESCRIPTION, MAX_OWNER

pytestmark = pytest.mark.every_database

Events = Callable[..., list[AuditEvent]]


def read(cast: Cast, secret: Secret) -> str:
    stored = Secret.objects.select_related("environment").get(pk=secret.pk)
    return read_service.reveal(actor=cast.principal(cast.alice), secret=stored).value


def stored(secret: Secret) -> Secret:
    return Secret.objects.select_related("environment").get(pk=secret.pk)


# --- One writer ----------------------------------------------------------------------------------


def test_a_secret_is_stored_sealed_with_its_event(cast: Cast, events: Events) -> None:
    secret = keep(cast, comment="first", tags=["B", "a"])
    (version,) = SecretVersion.objects.all()
    assert VALUE.encode() not in version.value.envelope
    assert (version.number, version.author, version.comment) == (1, "alice", "first")
    (event,) = events(Action.SECRET_CREATE)
    assert (event.object_uuid, event.object_name, event.actor_name) == (secret.uuid, "payments/key", "alice")
    assert str(version.uuid) in event.details
    assert VALUE not in event.details
    assert stored(secret).tags == ["a", "b"]
    assert not list(run_checks())


def test_a_value_after_a_rotation_of_the_data_key_is_sealed_under_the_new_one(cast: Cast) -> None:
    secret = keep(cast)
    new = replace_key(secret.environment)
    changed = change(cast, secret, "another")
    assert SecretVersion.objects.get(secret=secret, number=2).data_key_id == new.id
    assert read(cast, changed) == "another"


@pytest.mark.parametrize("key", ["of another environment", "of another purpose"])
def test_a_value_is_not_sealed_under_a_key_that_sql_gave_the_version_before(
    cast: Cast, sql: Callable[..., None], key: str
) -> None:
    secret, other = keep(cast), keep(cast, "other", environment=cast.production)
    if key == "of another environment":
        row = DataKey.objects.get(scope=other.environment.uuid, active=True)
    else:
        row = DataKey.objects.filter(active=True).exclude(purpose=VALUES).first() or DataKey()
        sql("UPDATE secrets_app_datakey SET scope = %s WHERE id = %s", secret.environment.uuid.hex, row.pk)
    SecretVersion.objects.filter(secret=secret).update(data_key=row)
    changed = change(cast, secret, "another")
    own = DataKey.objects.get(scope=secret.environment.uuid, purpose=VALUES, active=True)
    assert SecretVersion.objects.get(secret=secret, number=2).data_key_id == own.uuid
    assert read(cast, changed) == "another"


def test_an_equal_value_makes_no_version_and_is_recorded_as_a_read(cast: Cast, events: Events) -> None:
    kept = keep(cast)
    secret = write.update(actor=cast.principal(cast.erin), secret=kept, value=VALUE)
    assert (secret.current_number, secret.revision) == (1, 1)
    assert events(Action.SECRET_UPDATE) == []
    (event,) = events(Action.SECRET_COMPARE)
    assert (event.actor_name, event.object_uuid) == ("erin", kept.uuid)
    assert event.details == '{"number":1,"with":"a write"}'
    (known,) = known_to(cast.erin.uuid)
    assert (known.secret, known.numbers, known.stands) == (kept, (1,), True)


def test_an_equal_value_is_no_secret_where_a_second_person_decides(cast: Cast, events: Events) -> None:
    secret = keep(cast)
    Membership.objects.create(environment=cast.development, user=cast.charlie, role=Role.MANAGER)
    environments.update_environment(
        actor=cast.principal(cast.alice), environment=cast.development, protected=True
    )
    erin = cast.principal(cast.erin)
    with pytest.raises(ApprovalNeeded):
        write.update(actor=erin, secret=stored(secret), value="a wrong guess")
    assert events(Action.SECRET_COMPARE) == []
    write.update(actor=erin, secret=stored(secret), value=VALUE)
    assert len(events(Action.SECRET_COMPARE)) == 1


def test_a_changed_value_moves_the_current_and_previous_number(cast: Cast, events: Events) -> None:
    secret = change(cast, change(cast, keep(cast), "second"), "third")
    assert (secret.current_number, secret.previous_number, secret.revision) == (3, 2, 3)
    assert len(events(Action.SECRET_UPDATE)) == 2
    assert read(cast, secret) == "third"


def test_changed_metadata_names_its_fields_and_makes_no_version(cast: Cast, events: Events) -> None:
    secret = write.update(actor=cast.principal(cast.alice), secret=keep(cast), description="new", owner="")
    assert (secret.current_number, secret.revision) == (1, 2)
    (event,) = events(Action.SECRET_UPDATE)
    assert '"fields":["description"]' in event.details


def test_without_an_etag_the_last_writer_wins(cast: Cast) -> None:
    secret = keep(cast)
    early, late = stored(secret), stored(secret)
    actor = cast.principal(cast.alice)
    write.update(actor=actor, secret=early, value="early", description="of the early one")
    write.update(actor=actor, secret=late, value="late")
    assert read(cast, secret) == "late"
    # What the late writer did not speak of is not undone.
    assert stored(secret).description == "of the early one"
    assert SecretVersion.objects.filter(secret=secret).count() == 3


def test_with_an_etag_the_late_writer_is_refused(cast: Cast, events: Events) -> None:
    secret = keep(cast)
    early, late, etag = stored(secret), stored(secret), secret.etag
    actor = cast.principal(cast.alice)
    write.update(actor=actor, secret=early, value="early", expected=etag)
    with pytest.raises(StaleVersion):
        write.update(actor=actor, secret=late, value="late", expected=etag)
    assert read(cast, secret) == "early"
    assert len(events(Action.SECRET_UPDATE)) == 1


def test_a_writer_of_what_was_deleted_meanwhile_is_refused(
    cast: Cast, signed_in: Callable[[Any], Client]
) -> None:
    secret = keep(cast)
    late = stored(secret)
    signed_in(cast.alice).delete(f"/api/secrets/{secret.pk}")
    with pytest.raises(StaleVersion):
        write.update(actor=cast.principal(cast.alice), secret=late, value="late")
    assert SecretVersion.objects.count() == 1


def test_put_creates_and_then_changes(cast: Cast) -> None:
    put: dict[str, Any] = {"actor": cast.principal(cast.erin), "environment": cast.development, "name": "n"}
    with pytest.raises(InvalidValue):
        write.put(**put)
    secret, created = write.put(**put, value="one")
    assert (created, secret.secret_type) == (True, SecretType.TEXT)
    again, created = write.put(**put, value="two")
    assert (created, again.pk, again.current_number) == (False, secret.pk, 2)


def test_put_changes_the_type_as_well(cast: Cast) -> None:
    alice, secret = cast.principal(cast.alice), keep(cast)
    changed, made = write.put(
        actor=alice, environment=cast.development, name=secret.name, secret_type=SecretType.JSON, value="{}"
    )
    assert (changed.secret_type, made) == (SecretType.JSON, False)
    assert stored(secret).secret_type == SecretType.JSON


def test_a_taken_name_stores_nothing(cast: Cast) -> None:
    keep(cast)
    with pytest.raises(NameTaken):
        keep(cast)
    assert (Secret.objects.count(), SecretVersion.objects.count()) == (1, 1)


@pytest.mark.parametrize(("number", "may"), [(None, True), (3, True), (1, False), (2, False), (4, False)])
def test_a_secret_of_a_name_that_was_is_created_at_the_number_that_was_seen(
    cast: Cast, number: int | None, may: bool
) -> None:
    """Two versions of the name were deleted with their secret."""
    alice = cast.principal(cast.alice)
    old = keep(cast, "app/key")
    change(cast, old, "second")
    lifecycle.delete(actor=alice, secret=stored(old))

    if may:
        assert keep(cast, "app/key", number=number).current_number == 3
    else:
        with pytest.raises(StaleVersion):
            keep(cast, "app/key", number=number)
    assert SecretVersion.objects.count() == (3 if may else 2)
    assert Secret.objects.filter(live=True).exists() is may


def test_a_rollback_is_recorded_as_a_read_and_a_write(cast: Cast, events: Events) -> None:
    secret = change(cast, keep(cast), "second")
    write.rollback(actor=cast.principal(cast.alice), secret=stored(secret), number=1)
    assert read(cast, secret) == VALUE
    (rollback,) = events(Action.SECRET_ROLLBACK)
    assert '"restored":1' in rollback.details
    reveal = events(Action.SECRET_REVEAL)[0]
    assert ('"purpose":"rollback"' in reveal.details, '"number":1' in reveal.details) == (True, True)
    with pytest.raises(NoSuchVersion):
        write.rollback(actor=cast.principal(cast.alice), secret=stored(secret), number=7)


def test_a_rollback_takes_the_type_that_the_version_had(cast: Cast, events: Events) -> None:
    secret = keep(cast, value="no json")
    actor = cast.principal(cast.alice)
    write.update(actor=actor, secret=stored(secret), value="{}", secret_type=SecretType.JSON)
    for number, kind in ((1, SecretType.TEXT), (2, SecretType.JSON)):
        write.rollback(actor=actor, secret=stored(secret), number=number)
        assert stored(secret).secret_type == kind
        assert '"fields":["secret_type"]' in events(Action.SECRET_ROLLBACK)[0].details
    assert [stored(secret).type_of(number) for number in (1, 2, 3, 4)] == ["TEXT", "JSON", "TEXT", "JSON"]


def test_an_equal_value_is_another_version_where_the_present_one_ends(cast: Cast) -> None:
    secret, actor = keep(cast), cast.principal(cast.alice)
    write.update(actor=actor, secret=stored(secret), delete_version_after=3600)
    write.update(actor=actor, secret=stored(secret), value="next")
    ends = stored(secret).rules.deleted[2]
    write.update(actor=actor, secret=stored(secret), value="next")
    after = stored(secret)
    assert after.current_number == 3
    assert after.rules.deleted[3] > ends


def test_an_equal_value_that_becomes_json_is_another_version(cast: Cast) -> None:
    secret, actor = keep(cast, value='{"a":1}'), cast.principal(cast.alice)
    for number, kind in (
        (1, SecretType.PASSWORD),
        (2, SecretType.JSON),
        (2, SecretType.JSON),
        (3, SecretType.YAML),
    ):
        write.update(actor=actor, secret=stored(secret), value='{"a":1}', secret_type=kind)
        assert stored(secret).current_number == number
    assert [stored(secret).type_of(number) for number in (1, 2, 3)] == ["PASSWORD", "JSON", "YAML"]


def test_a_value_from_before_former_types_were_kept_is_not_rolled_back_to_unless_it_fits(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(VersionRules, "retyped", lambda rules, *_, **__: rules)
    secret = keep(cast, value="no json")
    actor = cast.principal(cast.alice)
    write.update(actor=actor, secret=stored(secret), value="{}", secret_type=SecretType.JSON)
    with pytest.raises(InvalidValue):
        write.rollback(actor=actor, secret=stored(secret), number=1)
    assert read(cast, secret) == "{}"


@pytest.mark.parametrize(
    ("name", "refusal"),
    [("bob", Forbidden), ("vera", Forbidden), ("root", Forbidden), ("charlie", Invisible)],
)
def test_who_may_not_write_is_refused_on_the_record(
    cast: Cast, name: str, refusal: type[Exception], events: Events
) -> None:
    secret = keep(cast)
    actor = cast.principal(getattr(cast, name))
    with pytest.raises(refusal):
        keep(cast, "other", actor=getattr(cast, name))
    with pytest.raises(refusal):
        write.update(actor=actor, secret=stored(secret), value="v")
    with pytest.raises(refusal):
        write.rollback(actor=actor, secret=stored(secret), number=1)
    with pytest.raises(refusal):
        write.put(actor=actor, environment=cast.development, name="payments/key", value="v")
    denied = AuditEvent.objects.filter(outcome="denied", actor_name=name)
    assert denied.count() == 4
    assert SecretVersion.objects.count() == 1


def test_a_prefix_limits_what_is_written(cast: Cast) -> None:
    Membership.objects.create(environment=cast.development, user=cast.charlie, role="editor", prefix="pay")
    keep(cast, "pay/a", actor=cast.charlie)
    with pytest.raises(Invisible):
        keep(cast, "pay-out", actor=cast.charlie)


@pytest.mark.parametrize(
    ("metadata", "field"),
    [
        ({"tags": ["no tag!"]}, "tags"),
        ({"description": "d" * (MAX_DESCRIPTION + 1)}, "description"),
        ({"description": "a\x00b"}, "description"),
        ({"owner": "o" * (MAX_OWNER + 1)}, "owner"),
        ({"owner": "\x00"}, "owner"),
        ({"comment": "c" * (MAX_COMMENT + 1)}, "comment"),
        ({"comment": "\x00"}, "comment"),
        ({"expires_at": datetime(2027, 1, 1)}, "expires_at"),  # noqa: DTZ001 - has no zone
    ],
)
def test_bad_metadata_changes_nothing(cast: Cast, metadata: dict[str, Any], field: str) -> None:
    secret = keep(cast)
    with pytest.raises(InvalidInput) as refused:
        write.update(actor=cast.principal(cast.alice), secret=stored(secret), value="second", **metadata)
    assert refused.value.field == field
    with pytest.raises(InvalidInput):
        keep(cast, "another", **metadata)
    assert Secret.objects.count() == SecretVersion.objects.count() == 1
    assert stored(secret).revision == 1


def test_metadata_of_the_greatest_length_is_stored(cast: Cast) -> None:
    given: dict[str, Any] = {"description": "d" * MAX_DESCRIPTION, "owner": "o" * MAX_OWNER}
    secret = keep(cast, comment="c" * MAX_COMMENT, **given)
    assert {name: getattr(stored(secret), name) for name in given} == given
    assert len(SecretVersion.objects.get().comment) == MAX_COMMENT


def test_no_stored_version_is_written_over(cast: Cast) -> None:
    keep(cast)
    version = SecretVersion.objects.get()
    version.comment = "written over"
    with pytest.raises(TypeError, match="write a new one"):
        version.save()
    assert SecretVersion.objects.get().comment == ""


# --- Many at once --------------------------------------------------------------------------------


@pytest.fixture
def crowd(transactional_db: None) -> Cast:
    return make_cast()


def in_order(secret: Secret) -> bool:
    numbers = sorted(SecretVersion.objects.filter(secret=secret).values_list("number", flat=True))
    return numbers == list(range(1, len(numbers) + 1)) and stored(secret).current_number == numbers[-1]


def test_of_two_writers_with_the_same_etag_one_wins(crowd: Cast) -> None:
    secret = keep(crowd)
    actor = crowd.principal(crowd.alice)
    works = [
        lambda value=value: write.update(actor=actor, secret=stored(secret), value=value, expected="1-1")
        for value in ("left", "right")
    ]
    results = at_once(*works)
    assert sorted(type(result).__name__ for result in results) == ["Secret", "StaleVersion"]
    winner = next(
        value for value, result in zip(("left", "right"), results, strict=True) if isinstance(result, Secret)
    )
    assert read(crowd, secret) == winner
    assert in_order(secret)
    assert AuditEvent.objects.filter(action=Action.SECRET_UPDATE).count() == 1


def test_writers_without_an_etag_all_get_through(crowd: Cast) -> None:
    secret = keep(crowd)
    actor = crowd.principal(crowd.alice)
    works = [
        lambda value=value: write.update(actor=actor, secret=stored(secret), value=f"value {value}")
        for value in range(4)
    ]
    results = at_once(*works)
    assert [type(result).__name__ for result in results] == ["Secret"] * 4
    assert in_order(secret)
    assert SecretVersion.objects.count() == 5
    assert not [*verify(), *run_checks()]


def test_of_two_creators_of_a_name_one_wins_and_two_putters_both_do(crowd: Cast) -> None:
    results = at_once(lambda: keep(crowd, "one"), lambda: keep(crowd, "one"))
    assert sorted(type(result).__name__ for result in results) == ["NameTaken", "Secret"]
    actor = crowd.principal(crowd.alice)
    works = [
        lambda value=value: write.put(actor=actor, environment=crowd.development, name="two", value=value)
        for value in ("left", "right")
    ]
    results = at_once(*works)
    assert sorted(created for _, created in results) == [False, True]
    secret = Secret.objects.get(name="two")
    assert in_order(secret)
    assert SecretVersion.objects.filter(secret=secret).count() == 2
    assert not [*verify(), *run_checks()]


def test_a_deletion_and_a_write_leave_no_half(crowd: Cast) -> None:
    from secrets_app.services.lifecycle import delete

    secret = keep(crowd)
    actor = crowd.principal(crowd.alice)
    results = at_once(
        lambda: delete(actor=actor, secret=stored(secret), expected="1-1"),
        lambda: write.update(actor=actor, secret=stored(secret), value="v", expected="1-1"),
    )
    assert sorted(type(result).__name__ for result in results) == ["Secret", "StaleVersion"]
    assert in_order(secret)
    assert not [*verify(), *run_checks()]
