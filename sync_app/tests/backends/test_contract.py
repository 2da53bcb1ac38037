"""What every backend of the sync does alike."""

from collections.abc import Iterator
from dataclasses import replace
from uuid import UUID, uuid4

import pytest
from pytest_django import Settings

from sync_app.backends.base import Backend
from sync_app.backends.observations import Mark, version_matches
from sync_app.backends.registry import BACKENDS
from sync_app.domain.reconciliation import Presence
from sync_app.errors import (
    BadDestination,
    ChangedSinceRead,
    NameReserved,
    NameUnusable,
    QuotaExceeded,
    TargetUnreachable,
    ValueUnusable,
)
from sync_app.tests.worlds import World

EVERY_SYSTEM = True
pytestmark = pytest.mark.django_db
TOKEN = "0123456789abcdef0123456789abcdef"
OTHER_TOKEN = "fedcba9876543210fedcba9876543210"
MARK = Mark(deployment=UUID(int=1), target=UUID(int=2), secret=UUID(int=3))


@pytest.fixture
def backend(world: World) -> Iterator[Backend]:
    with world.backend() as made:
        yield made


class TestBackend:
    """The contract."""

    def test_it_creates_with_its_mark(self, world: World, backend: Backend) -> None:
        made = backend.create("app/password", "first", mark=MARK, token=TOKEN)
        assert world.value(f"{world.prefix}/app/password") == "first"
        assert made == backend.get_metadata("app/password")
        assert made.presence is Presence.PRESENT
        assert made.mark == (MARK if world.keeps_marks else None)
        assert made.remote_id
        assert made.version

    def test_it_keeps_values_byte_for_byte(self, world: World, backend: Backend) -> None:
        value = '  \'quotes\' "both" \\ \r\n\t {"json": 1} ${reference} Ünïcödé 鍵 \U0001f511  \n'
        value = value.translate(dict.fromkeys(map(ord, world.alters)))
        backend.create("literal", value, mark=MARK, token=TOKEN)
        assert world.value(f"{world.prefix}/literal") == value
        if world.reads_values:
            copy = backend.read_value("literal")
            assert copy is not None
            assert copy.value == value

    def test_it_carries_the_largest_value(self, world: World, backend: Backend) -> None:
        assert backend.max_value_bytes == world.largest
        backend.create("large", "x" * world.largest, mark=MARK, token=TOKEN)
        assert len(world.value(f"{world.prefix}/large")) == world.largest

    def test_a_value_that_is_too_large_changes_nothing(self, world: World, backend: Backend) -> None:
        made = backend.create("large", "first", mark=MARK, token=TOKEN)
        if world.largest < 65_536:
            with pytest.raises(QuotaExceeded) as caught:
                backend.update(made, "x" * (world.largest + 1), token=OTHER_TOKEN)
            assert caught.value.permanent
        assert backend.get_metadata("large") == made

    def test_it_creates_nothing_over_what_is_there(self, world: World, backend: Backend) -> None:
        world.write(f"{world.prefix}/theirs", "foreign")
        with pytest.raises(ChangedSinceRead):
            backend.create("theirs", "ours", mark=MARK, token=TOKEN)
        assert world.value(f"{world.prefix}/theirs") == "foreign"
        assert world.labels(f"{world.prefix}/theirs") == {}

    def test_it_creates_nothing_over_what_is_deleted(self, world: World, backend: Backend) -> None:
        world.write(f"{world.prefix}/theirs", "foreign")
        world.remove(f"{world.prefix}/theirs")
        if not world.deletes_recoverably:
            backend.create("theirs", "ours", mark=MARK, token=TOKEN)
            assert world.value(f"{world.prefix}/theirs") == "ours"
            return
        with pytest.raises(NameReserved):
            backend.create("theirs", "ours", mark=MARK, token=TOKEN)

    def test_it_updates_the_version_that_was_read(self, world: World, backend: Backend) -> None:
        made = backend.create("password", "first", mark=MARK, token=TOKEN)
        after = backend.update(made, "second", token=OTHER_TOKEN)
        assert world.value(f"{world.prefix}/password") == "second"
        assert (after.version != made.version) is world.shows_writes
        assert after.remote_id == made.remote_id
        assert backend.get_metadata("password") == after
        assert after.mark == made.mark

    def test_it_tells_beforehand_which_version_it_makes(self, backend: Backend) -> None:
        made = backend.create("password", "first", mark=MARK, token=TOKEN)
        if not backend.predict_version("", token=TOKEN):
            # Then a write of unknown outcome counts as another client's.
            return
        assert version_matches(made.version, backend.predict_version("", token=TOKEN))
        after = backend.update(made, "second", token=OTHER_TOKEN)
        assert version_matches(after.version, backend.predict_version(made.version, token=OTHER_TOKEN))

    def test_it_updates_again_and_again(self, world: World, backend: Backend) -> None:
        seen = backend.create("password", "0", mark=MARK, token=TOKEN)
        for number in range(1, 4):
            seen = backend.update(seen, str(number), token=f"{number}{TOKEN}")
        assert world.value(f"{world.prefix}/password") == "3"

    def test_it_keeps_what_somebody_else_wrote_since(self, world: World, backend: Backend) -> None:
        made = backend.create("password", "first", mark=MARK, token=TOKEN)
        world.overwrite(f"{world.prefix}/password", "theirs")
        changed = backend.get_metadata("password")
        with pytest.raises(ChangedSinceRead) as caught:
            backend.update(made, "ours", token=OTHER_TOKEN)
        assert not caught.value.permanent
        assert world.value(f"{world.prefix}/password") == "theirs"
        assert backend.get_metadata("password").version == changed.version != made.version

    def test_it_deletes_nothing_that_another_keeper_marked_since(
        self, world: World, backend: Backend
    ) -> None:
        made = backend.create("password", "first", mark=MARK, token=TOKEN)
        if not world.keeps_marks:
            # Keeper's entry is its mark.
            return
        other = replace(MARK, deployment=UUID(int=9))
        backend.mark(made, other)
        with pytest.raises(ChangedSinceRead):
            backend.delete(made)
        assert world.value(f"{world.prefix}/password") == "first"
        assert backend.get_metadata("password").mark == other

    def test_it_repeats_an_update_without_a_second_version(self, world: World, backend: Backend) -> None:
        made = backend.create("password", "first", mark=MARK, token=TOKEN)
        once = backend.update(made, "second", token=OTHER_TOKEN)
        if not world.shows_writes or backend.predict_version("", token=TOKEN):
            assert backend.update(made, "second", token=OTHER_TOKEN) == once
        else:
            with pytest.raises(ChangedSinceRead):
                backend.update(made, "second", token=OTHER_TOKEN)
        assert backend.get_metadata("password").version == once.version

    def test_it_does_not_update_what_was_deleted_since(self, world: World, backend: Backend) -> None:
        made = backend.create("password", "first", mark=MARK, token=TOKEN)
        world.remove(f"{world.prefix}/password")
        with pytest.raises(ChangedSinceRead):
            backend.update(made, "second", token=OTHER_TOKEN)
        assert backend.get_metadata("password").presence is _gone(world)

    def test_it_deletes(self, world: World, backend: Backend) -> None:
        made = backend.create("password", "first", mark=MARK, token=TOKEN)
        backend.delete(made)
        assert backend.get_metadata("password").presence is _gone(world)
        assert backend.read_value("password") is None
        assert backend.capabilities.deletes_recoverably is world.deletes_recoverably
        if not world.deletes_recoverably:
            assert backend.restore("password").presence is Presence.ABSENT
            return
        restored = backend.restore("password")
        assert restored == made
        assert world.value(f"{world.prefix}/password") == "first"

    def test_it_does_not_delete_what_changed_since(self, world: World, backend: Backend) -> None:
        made = backend.create("password", "first", mark=MARK, token=TOKEN)
        world.overwrite(f"{world.prefix}/password", "theirs")
        with pytest.raises(ChangedSinceRead):
            backend.delete(made)
        assert world.value(f"{world.prefix}/password") == "theirs"

    def test_it_sees_what_is_absent(self, backend: Backend) -> None:
        assert backend.get_metadata("nothing").presence is Presence.ABSENT
        assert backend.read_value("nothing") is None

    def test_it_reads_value_and_version_together(self, world: World, backend: Backend) -> None:
        world.write(f"{world.prefix}/theirs", "foreign")
        assert backend.capabilities.reads_values is world.reads_values
        if not world.reads_values:
            with pytest.raises(ValueUnusable):
                backend.read_value("theirs")
            return
        copy = backend.read_value("theirs")
        assert copy is not None
        assert copy.value == "foreign"
        assert copy.metadata.version == backend.get_metadata("theirs").version
        assert "foreign" not in repr(copy)

    def test_it_lists_everything_below_its_prefix(self, world: World, backend: Backend) -> None:
        ours = backend.create("deep/in/there", "1", mark=MARK, token=TOKEN)
        world.write(f"{world.prefix}/theirs", "2")
        # Without folders a variable shows no end of the prefix: such targets overlap.
        world.write(f"{world.prefix}-other/theirs" if world.has_folders else f"x{world.prefix}/theirs", "3")
        world.write(f"{world.prefix}/gone", "4")
        world.remove(f"{world.prefix}/gone")
        listed = {seen.name: seen for seen in backend.list_secrets()}
        if not world.deletes_recoverably:
            assert listed.keys() == {world.listed("deep/in/there"), "theirs"}
            return
        assert listed.keys() == {"deep/in/there", "theirs", "gone"}
        assert listed["deep/in/there"] == ours
        assert listed["theirs"].mark is None
        assert listed["gone"].presence is Presence.DELETED

    def test_a_glance_shows_many_as_a_look_shows_each(self, world: World, backend: Backend) -> None:
        names = [f"app/{number:02}" for number in range(6)]
        for name in names[:5]:
            backend.create(name, "x", mark=MARK, token=TOKEN)
        world.write(f"{world.prefix}/app/00/deeper", "another's")
        shown = backend.batch_get_metadata([*names, "elsewhere"])
        assert shown == {name: backend.get_metadata(name) for name in names[:5]}

    def test_it_updates_what_is_known_without_reading(self, world: World, backend: Backend) -> None:
        made = backend.create("password", "first", mark=MARK, token=TOKEN)
        after = backend.update(made, "second", token=OTHER_TOKEN, known=True)
        assert backend.get_metadata("password") == after
        assert world.value(f"{world.prefix}/password") == "second"
        if not world.shows_writes:
            return
        with pytest.raises(ChangedSinceRead):
            backend.update(made, "third", token=f"3{TOKEN}", known=True)
        assert world.value(f"{world.prefix}/password") == "second"

    def test_it_lists_an_empty_prefix(self, backend: Backend) -> None:
        assert list(backend.list_secrets()) == []

    def test_it_adopts_and_withdraws_without_touching_the_rest(self, world: World, backend: Backend) -> None:
        path = f"{world.prefix}/theirs"
        world.write(path, "foreign")
        world.label(path, "owner", "somebody")
        found = backend.get_metadata("theirs")
        before = world.labels(path)
        backend.mark(found, MARK)
        adopted = backend.get_metadata("theirs")
        assert adopted.mark == (MARK if world.keeps_marks else None)
        assert adopted.version == backend.settled(found).version
        backend.unmark(adopted)
        assert world.labels(path) == before
        assert world.value(path) == "foreign"

    @pytest.mark.parametrize(
        "name", ["..", "../x", "a/../../x", "a//b", "/a", "a/", ".", "a/./b", "a%2f..", "a?b", ""]
    )
    def test_no_name_leaves_the_prefix(self, world: World, backend: Backend, name: str) -> None:
        with pytest.raises(NameUnusable):
            backend.get_metadata(name)
        with pytest.raises(NameUnusable):
            backend.create(name, "x", mark=MARK, token=TOKEN)

    @pytest.mark.parametrize("prefix", ["..", "a/../b", "a//b", "a b"])
    def test_no_prefix_leads_elsewhere(self, world: World, prefix: str) -> None:
        with pytest.raises(BadDestination) as caught:
            world.backend(prefix=prefix)
        assert caught.value.field == "prefix"

    def test_it_works_without_a_prefix(self, world: World) -> None:
        name = f"root-{uuid4().hex}"
        with world.backend(prefix="") as backend:
            made = backend.create(name, "x", mark=MARK, token=TOKEN)
            assert replace(made, name=world.listed(name)) in list(backend.list_secrets())
        assert world.value(name) == "x"

    def test_it_checks_the_way_there(self, backend: Backend) -> None:
        backend.check_connection()

    def test_it_connects_nowhere_that_is_not_allowed(self, world: World, settings: Settings) -> None:
        settings.KEEPER_OUTBOUND_ALLOWED = []
        with world.backend() as backend, pytest.raises(TargetUnreachable, match="KEEPER_OUTBOUND_ALLOWED"):
            backend.check_connection()

    def test_it_says_that_nobody_answers(self, world: World) -> None:
        place = "endpoint" if "endpoint" in world.backend().destination else "address"
        with (
            world.backend(**{place: "http://127.0.0.1:9"}) as backend,
            pytest.raises(TargetUnreachable) as caught,
        ):
            backend.check_connection()
        assert not caught.value.permanent


def _gone(world: World) -> Presence:
    return Presence.DELETED if world.deletes_recoverably else Presence.ABSENT


@pytest.mark.parametrize("backend", BACKENDS.values(), ids=BACKENDS.keys())
def test_it_declares_what_is_sensitive(backend: type[Backend]) -> None:
    assert backend.label
    assert all(field.sensitive for field in backend.credential_fields)
    assert not any(field.sensitive for field in backend.destination_fields)
    names = [field.name for field in (*backend.destination_fields, *backend.credential_fields)]
    assert len(names) == len(set(names))
