"""The system keys: opened once, pinned, made once, and never made anew over what they prove."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection, transaction
from pytest_django import DjangoAssertNumQueries, Settings

from audit_app.errors import KeyringUnavailable, NotSealedHere
from audit_app.events.actions import Action
from audit_app.interfaces import Place, Purpose, forget_keyring, keyring
from audit_app.models import AuditEvent, deployment_uuid
from environments_app.models import Environment
from secrets_app.keys import fingerprints
from secrets_app.keys import system_keyring as system_keys
from secrets_app.keys.providers.registry import forget_provider, provider
from secrets_app.keys.system_keyring import SystemKeyring
from secrets_app.keys.wrapping import wrap_new
from secrets_app.models import DataKey
from secrets_app.tests.keys.conftest import forget_process

Sql = Callable[..., None]

committed = pytest.mark.django_db(transaction=True)


def restarted() -> SystemKeyring:
    forget_process()
    return SystemKeyring()


def creations() -> list[str]:
    events = AuditEvent.objects.filter(action=Action.DATA_KEY_CREATE, stream="system")
    return sorted(events.values_list("object_name", flat=True))


class TestTags:
    @pytest.mark.every_database
    def test_a_tag_verifies_after_a_restart(self, db: None) -> None:
        tag = SystemKeyring().mac(Purpose.ROW_MAC, b"message")
        assert len(tag) == 48
        assert restarted().verify(Purpose.ROW_MAC, b"message", tag)

    def test_a_key_of_one_purpose_never_serves_another(self, db: None) -> None:
        keys = SystemKeyring()
        tags = {purpose: keys.mac(purpose, b"message") for purpose in Purpose}
        for purpose in Purpose:
            for other, tag in tags.items():
                assert keys.verify(purpose, b"message", tag) is (purpose == other)

    @pytest.mark.parametrize("place", [0, 15, 16, 47])
    def test_an_edited_tag_does_not_verify(self, db: None, place: int) -> None:
        keys = SystemKeyring()
        tag = bytearray(keys.mac(Purpose.ROW_MAC, b"message"))
        tag[place] ^= 1
        assert not keys.verify(Purpose.ROW_MAC, b"message", bytes(tag))

    def test_a_tag_of_another_length_does_not_verify(self, db: None) -> None:
        keys = SystemKeyring()
        tag = keys.mac(Purpose.ROW_MAC, b"message")
        for other in (b"", tag[:16], tag[:47], tag + b"x"):
            assert not keys.verify(Purpose.ROW_MAC, b"message", other)
            assert not keys.verify_all(Purpose.ROW_MAC, [(b"message", tag), (b"message", other)])
        assert keys.verify_all(Purpose.ROW_MAC, [(b"message", tag)] * 2)

    def test_an_older_key_still_verifies_and_no_longer_writes(self, db: None) -> None:
        old = SystemKeyring().mac(Purpose.ROW_MAC, b"message")
        DataKey.objects.filter(purpose=Purpose.ROW_MAC).update(active=None)
        with pytest.raises(KeyringUnavailable, match="gone from the data key table"):
            restarted().open_all()
        self.replace(Purpose.ROW_MAC)
        keys = restarted()
        assert keys.verify(Purpose.ROW_MAC, b"message", old)
        assert keys.mac(Purpose.ROW_MAC, b"message")[:16] != old[:16]

    def replace(self, purpose: Purpose) -> None:
        row, _ = wrap_new(environment=None, purpose=purpose, key_uri=provider().resolve(""))
        row.save()


class TestKeysThatAreNotThere:
    def test_nothing_is_signed_under_a_key_that_does_not_open(self, db: None) -> None:
        keys = SystemKeyring()
        own = keys.sign(b"message")
        assert keys.sign(b"message", key_id=own.key_id) == own
        with pytest.raises(KeyringUnavailable, match="not among those"):
            keys.sign(b"message", key_id=uuid4())
        assert keys.public_key(uuid4()) is None

    def test_what_is_sealed_for_one_purpose_or_place_opens_for_no_other(self, db: None) -> None:
        keys = SystemKeyring()
        place = Place(label="a", row=uuid4(), owner=uuid4())
        others = [
            Place(label="b", row=place.row, owner=place.owner),
            Place(label="a", row=uuid4(), owner=place.owner),
            Place(label="a", row=place.row, owner=uuid4()),
        ]
        for purpose in Purpose:
            envelope = keys.seal(purpose, b"content", place=place)
            assert keys.open(purpose, envelope, place=place) == b"content"
            refused = [(purpose, each) for each in others]
            refused += [(each, place) for each in Purpose if each is not purpose]
            for asked, where in refused:
                with pytest.raises(NotSealedHere):
                    keys.open(asked, envelope, place=where)


class TestOpeningThem:
    def test_they_are_opened_once(self, db: None, django_assert_num_queries: DjangoAssertNumQueries) -> None:
        keys = SystemKeyring()
        keys.open_all()
        with django_assert_num_queries(0):
            keys.open_all()
            keys.verify(Purpose.AUDIT_MAC, b"message", keys.mac(Purpose.AUDIT_MAC, b"message"))

    @committed
    def test_open_they_need_no_key_provider(self, monkeypatch: pytest.MonkeyPatch) -> None:
        keyring().open_all()

        def away(**_arguments: Any) -> None:
            pytest.fail("the provider was asked")

        monkeypatch.setattr(provider(), "unwrap", away)
        monkeypatch.setattr(provider(), "generate", away)
        Environment.objects.create(name="development")
        assert keyring().mac(Purpose.AUDIT_MAC, b"message")
        keyring().open_all()

    def test_kms_opens_each_once(self, db: None, kms_key: str) -> None:
        keyring().open_all()
        assert provider().calls["GenerateDataKey"] == len(Purpose)
        forget_process()
        for _ in range(5):
            keyring().mac(Purpose.ROW_MAC, b"message")
        assert dict(provider().calls) == {"Decrypt": len(Purpose)}

    @committed
    def test_kms_opens_them_inside_a_transaction_too_and_says_so(
        self, kms_key: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        with transaction.atomic():
            tag = keyring().mac(Purpose.ROW_MAC, b"message")
        assert "call open_all() first" in caplog.text
        assert restarted().verify(Purpose.ROW_MAC, b"message", tag)


class TestMakingThem:
    @committed
    @pytest.mark.every_database
    def test_each_is_made_once_and_recorded(self) -> None:
        keyring().open_all()
        restarted().open_all()
        assert DataKey.objects.filter(environment=None).count() == len(Purpose)
        assert creations() == sorted(Purpose)

    @committed
    def test_threads_that_start_together_make_one_set(self) -> None:
        keys = keyring()

        def start(_number: int) -> bytes:
            try:
                return keys.mac(Purpose.ROW_MAC, b"message")
            finally:
                connection.close()

        with ThreadPoolExecutor(8) as pool:
            tags = set(pool.map(start, range(8)))
        assert len(tags) == 1
        assert DataKey.objects.filter(environment=None).count() == len(Purpose)

    @committed
    @pytest.mark.every_database
    def test_the_process_that_comes_second_takes_the_winners(self, monkeypatch: pytest.MonkeyPatch) -> None:
        winner, make = SystemKeyring(), system_keys._make

        def slowly(missing: list[Purpose]) -> Any:
            monkeypatch.setattr(system_keys, "_make", make)
            winner.open_all()
            return make(missing)

        monkeypatch.setattr(system_keys, "_make", slowly)
        second = SystemKeyring().mac(Purpose.ROW_MAC, b"message")
        assert second == winner.mac(Purpose.ROW_MAC, b"message")
        assert DataKey.objects.filter(environment=None).count() == len(Purpose)

    @committed
    def test_inside_a_transaction_they_are_recorded_when_it_commits(self) -> None:
        with transaction.atomic():
            tag = keyring().mac(Purpose.ROW_MAC, b"message")
            assert keyring().mac(Purpose.ROW_MAC, b"message") == tag
            assert creations() == []
        assert creations() == sorted(Purpose)
        assert restarted().verify(Purpose.ROW_MAC, b"message", tag)

    @committed
    def test_those_of_a_rolled_back_transaction_are_used_no_more(self) -> None:
        keys = keyring()
        deployment_uuid()
        with transaction.atomic():
            lost = keys.mac(Purpose.ROW_MAC, b"message")
            transaction.set_rollback(True)
        assert not DataKey.objects.exists()
        kept = keys.mac(Purpose.ROW_MAC, b"message")
        assert kept[:16] != lost[:16]
        assert restarted().verify(Purpose.ROW_MAC, b"message", kept)

    @committed
    def test_what_a_process_left_unrecorded_the_next_one_records(self) -> None:
        with transaction.atomic():
            keyring().open_all()
            connection.run_on_commit.clear()
        assert creations() == []
        forget_keyring()
        keyring().open_all()
        assert creations() == sorted(Purpose)


class TestDamage:
    @committed
    def test_a_key_that_is_gone_is_not_replaced(self, sql: Sql) -> None:
        keyring().open_all()
        sql("DELETE FROM secrets_app_datakey WHERE purpose = 'audit-mac'")
        with pytest.raises(KeyringUnavailable, match=r"audit-mac.*restore it from its backup"):
            restarted().open_all()
        assert not DataKey.objects.filter(purpose="audit-mac").exists()

    @committed
    def test_a_planted_key_takes_no_part(self, sql: Sql) -> None:
        keyring().open_all()
        row = DataKey.objects.get(purpose="row-mac")
        DataKey.objects.create(
            purpose="audit-mac",
            provider="local",
            key_uri=row.key_uri,
            wrapped_key=row.wrapped_key,
            active=None,
        )
        forget_process()
        keyring().open_all()
        violation = AuditEvent.objects.get(action=Action.INTEGRITY_VIOLATION)
        assert violation.object_name == "audit-mac"

    def test_an_edited_one_that_writes_stops_the_process(self, db: None, sql: Sql) -> None:
        SystemKeyring().open_all()
        sql("UPDATE secrets_app_datakey SET wrapped_key = %s WHERE purpose = 'row-mac'", b"planted")
        with pytest.raises(KeyringUnavailable):
            restarted().open_all()

    def test_two_that_changed_places_stop_the_process(self, db: None, sql: Sql) -> None:
        SystemKeyring().open_all()
        sql("UPDATE secrets_app_datakey SET purpose = 'x' WHERE purpose = 'row-mac'")
        sql("UPDATE secrets_app_datakey SET purpose = 'row-mac' WHERE purpose = 'audit-mac'")
        sql("UPDATE secrets_app_datakey SET purpose = 'audit-mac' WHERE purpose = 'x'")
        with pytest.raises(KeyringUnavailable):
            restarted().open_all()


class TestFingerprints:
    def test_equal_values_are_told_from_changed_ones(self, db: None) -> None:
        one, same, other = (fingerprints.fingerprint(value) for value in (b"a", b"a", b"b"))
        assert fingerprints.same_value(one, same)
        assert not fingerprints.same_value(one, other)
        assert fingerprints.matches(b"a", one)
        assert not fingerprints.matches(b"b", one)

    def test_they_are_keyed(self, db: None, settings: Settings) -> None:
        one = fingerprints.fingerprint(b"a")
        DataKey.objects.all().delete()
        AuditEvent.objects.all()._raw_delete("default")
        forget_process()
        forget_provider()
        assert not fingerprints.same_value(one, fingerprints.fingerprint(b"a"))
