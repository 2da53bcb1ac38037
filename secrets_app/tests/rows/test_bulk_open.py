"""Many values opened at once: as `Sealed.open` opens each of them, and refused as it refuses."""

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from audit_app.events.actions import Action
from audit_app.events.streams import environment_stream
from audit_app.models import AuditEvent
from audit_app.recording.drafts import AuditObject, Receipt
from audit_app.recording.recorder import commit_record, record
from environments_app.tests.cast import Cast
from secrets_app.envelope import SECRET_VERSION_VALUE, Context, VersionAad, version_parent
from secrets_app.errors import GuardedValue, NotCommitted, SecretError
from secrets_app.key_operations import reencrypt
from secrets_app.key_operations.reencrypt import next_batch
from secrets_app.keys import data_keys
from secrets_app.keys.encrypted_field import Sealed
from secrets_app.models import SecretVersion, version_context
from secrets_app.rows import current_versions
from secrets_app.rows.current_versions import EnvironmentValues, current_version_rows
from secrets_app.tests.kept import VALUE, keep, version

pytestmark = pytest.mark.django_db


@example(UUID(int=0), UUID(int=0), UUID(int=0), UUID(int=0), 0)
@example(UUID(int=1), UUID(int=2), UUID(int=3), UUID(int=4), 2**63 - 1)
# The first number of two digits, and the first of two bytes.
@example(UUID(int=1), UUID(int=1), UUID(int=1), UUID(int=1), 10)
@example(UUID(int=1), UUID(int=1), UUID(int=1), UUID(int=1), 256)
@given(st.uuids(), st.uuids(), st.uuids(), st.uuids(), st.integers(0, 2**63 - 1))
def test_a_binding_is_that_of_the_version_s_context(
    deployment: UUID, environment: UUID, row: UUID, secret: UUID, number: int
) -> None:
    context = Context(
        deployment=deployment,
        label=SECRET_VERSION_VALUE,
        row=row,
        environment=environment,
        parent=version_parent(secret=secret, number=number),
    )
    bindings = VersionAad(deployment=deployment, environment=environment)
    assert bindings.of(row.bytes, secret.bytes, number) == context.binding


def place(stored: SecretVersion) -> dict[str, Any]:
    return {
        "version": stored.uuid,
        "secret": stored.secret.uuid,
        "number": stored.number,
        "guarded": bool(stored.secret.guarded),
    }


def receipt(cast: Cast, *covers: UUID, writer: Callable[..., Receipt] = commit_record) -> Receipt:
    return writer(
        actor=cast.principal(cast.alice),
        action=Action.SECRET_EXPORT,
        stream=environment_stream(cast.development.uuid),
        object=AuditObject("environment", cast.development.uuid, "development"),
        covers=frozenset(uuid.bytes for uuid in covers),
    )


@pytest.mark.every_database
def test_values_open_with_one_look_at_each_data_key(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [version(keep(cast, name, f"value of {name}")) for name in ("a", "b")]
    data_keys.replace_key(cast.development)
    rows.append(version(keep(cast, "c", "value of c")))
    asked: list[UUID] = []

    def counted(key: UUID, **options: Any) -> Any:
        asked.append(key)
        return data_keys.plain_key(key, **options)

    monkeypatch.setattr(current_versions, "plain_key", counted)
    values = EnvironmentValues(cast.development.uuid, receipt(cast, *(row.uuid for row in rows)))
    found = [values.opened(row.value.envelope, **place(row)) for row in rows]
    assert found == [b"value of a", b"value of b", b"value of c"]
    assert len(asked) == len(set(asked)) == 2


def test_what_is_sealed_again_opens_by_the_general_way(cast: Cast) -> None:
    row = version(keep(cast))
    shown = receipt(cast, row.uuid)
    where = {name: part for name, part in place(row).items() if name != "guarded"}
    envelope = EnvironmentValues(cast.development.uuid, shown).sealed(
        b"again", data_key=data_keys.active_key(cast.development), **where
    )
    assert Sealed(envelope, row.sealing_context()).open(shown) == b"again"


SPOILT: dict[str, Callable[[bytes, bytes], bytes]] = {
    "empty": lambda *_: b"",
    "plain": lambda *_: VALUE.encode(),
    "short": lambda own, _: own[:113],
    "cut off": lambda own, _: own[:-1],
    "other version": lambda own, _: own[:3] + b"\x02" + own[4:],
    "other key": lambda own, _: own[:5] + uuid4().bytes + own[21:],
    "salt": lambda own, _: own[:21] + bytes(32) + own[53:],
    "commitment": lambda own, _: own[:53] + bytes(32) + own[85:],
    "text": lambda own, _: own[:97] + bytes([own[97] ^ 1]) + own[98:],
    "another row's": lambda _, other: other,
    "a token": lambda *_: b"gAAAAA" + bytes(100),
}


@pytest.mark.parametrize("how", SPOILT)
def test_what_sealed_refuses_is_refused_with_the_same_error_and_reported(cast: Cast, how: str) -> None:
    row, other = version(keep(cast)), version(keep(cast, "other"))
    envelope = SPOILT[how](row.value.envelope, other.value.envelope)
    shown = receipt(cast, row.uuid)
    with pytest.raises(SecretError) as general:
        Sealed(envelope, row.sealing_context()).open(shown)
    with pytest.raises(type(general.value)) as refused:
        EnvironmentValues(cast.development.uuid, shown).opened(envelope, **place(row))
    assert str(refused.value) == str(general.value)
    violations = AuditEvent.objects.filter(action=Action.INTEGRITY_VIOLATION, object_uuid=row.uuid)
    assert violations.count() == 1


def test_a_data_key_of_another_environment_opens_nothing(cast: Cast) -> None:
    row = version(keep(cast, environment=cast.production))
    with pytest.raises(SecretError, match="not a key of the value's environment"):
        EnvironmentValues(cast.development.uuid, receipt(cast, row.uuid)).opened(
            row.value.envelope, **place(row)
        )


def test_a_value_is_bound_to_each_part_of_its_place(cast: Cast) -> None:
    row, other = version(keep(cast)), version(keep(cast, "other"))
    values = EnvironmentValues(cast.development.uuid, receipt(cast, row.uuid, other.uuid))
    assert values.opened(row.value.envelope, **place(row)) == VALUE.encode()
    for wrong in ({"version": other.uuid}, {"secret": other.secret.uuid}, {"number": 2}):
        with pytest.raises(SecretError):
            values.opened(row.value.envelope, **(place(row) | wrong))


def test_nothing_opens_without_the_receipt_of_its_committed_record(cast: Cast) -> None:
    row, other = version(keep(cast)), version(keep(cast, "other"))
    uncommitted = receipt(cast, row.uuid, writer=record)
    assert not uncommitted.committed
    proofs: list[Any] = [receipt(cast, other.uuid), receipt(cast), None, "receipt", uncommitted]
    for proof in proofs:
        with pytest.raises(NotCommitted):
            EnvironmentValues(cast.development.uuid, proof).opened(row.value.envelope, **place(row))


def test_a_guarded_value_is_not_opened_along_with_others(cast: Cast) -> None:
    row, other = version(keep(cast)), version(keep(cast, "other"))
    values = EnvironmentValues(cast.development.uuid, receipt(cast, row.uuid, other.uuid))
    with pytest.raises(GuardedValue):
        values.opened(row.value.envelope, **(place(row) | {"guarded": True}))
    rows = list(current_version_rows(cast.development, ""))
    assert len(values.opened_all(rows)) == 2
    with pytest.raises(GuardedValue):
        values.opened_all([rows[0], rows[1]._replace(guarded=True)])


def test_a_context_and_a_place_are_the_same(cast: Cast) -> None:
    row = version(keep(cast))
    assert version_context(**place(row), environment=cast.development.uuid) == row.sealing_context()


@pytest.mark.every_database
def test_a_batch_ends_by_number_or_by_bytes_and_holds_one_at_least(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    pks = [version(keep(cast, f"n{number}", "x" * 1_000)).pk for number in range(5)]
    rows = SecretVersion.objects.all()

    def batches(size: int) -> list[int]:
        found, last = [], 0
        while batch := list(next_batch(rows, after=last, size=size)):
            found.append(len(batch))
            last = batch[-1].pk
        assert last == pks[-1]
        return found

    assert batches(2) == [2, 2, 1]
    monkeypatch.setattr(reencrypt, "MAX_BATCH_BYTES", 3_500)
    assert batches(10) == [3, 2]
    monkeypatch.setattr(reencrypt, "MAX_BATCH_BYTES", 10)
    assert batches(10) == [1] * 5
