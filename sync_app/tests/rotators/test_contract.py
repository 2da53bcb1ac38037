"""What every rotator does alike, each against the real system and with the documented rights only."""

import pytest
from pytest_django import Settings

from sync_app.errors import CredentialInUse, LeaseLost, TargetUnreachable, ValueUnusable
from sync_app.rotators.base import LoginAnswer, Rotator
from sync_app.rotators.registry import ROTATORS
from sync_app.tests.rotators.worlds import World, fence


def rotated(rotator: Rotator, current: str) -> str:
    return rotator.set(rotator.prepare(current), current=current, fence=fence())


class TestRotator:
    """The contract."""

    def test_a_dry_run_finds_nothing_missing_and_changes_nothing(self, world: World) -> None:
        world.rotator().check_setup(world.current)
        assert world.works(world.current)

    def test_preparing_changes_nothing(self, world: World) -> None:
        pending = world.rotator().prepare(world.current)
        assert world.works(world.current)
        assert pending.value is None or pending.value not in repr(pending)

    def test_the_new_value_works_and_the_current_one_goes_on(self, world: World) -> None:
        new = rotated(world.rotator(), world.current)
        assert new != world.current
        assert world.works(new)
        assert world.works(world.current)

    def test_setting_again_comes_to_the_same_end(self, world: World) -> None:
        pending = world.rotator().prepare(world.current)
        values = [world.rotator().set(pending, current=world.current, fence=fence()) for _ in range(3)]
        assert world.works(values[-1])
        assert world.works(world.current)

    def test_it_rotates_many_times(self, world: World) -> None:
        rotator, current, seen = world.rotator(), world.current, {world.current}
        for _ in range(4):
            new = rotated(rotator, current)
            assert world.works(current)
            rotator.retire(current, current=new, fence=fence())
            current = new
            assert world.works(current)
            seen.add(current)
        assert len(seen) == 5

    def test_a_worker_that_lost_its_lease_changes_nothing(self, world: World) -> None:
        rotator = world.rotator()
        pending = rotator.prepare(world.current)
        lost = fence(lambda: False)
        with pytest.raises(LeaseLost):
            rotator.set(pending, current=world.current, fence=lost)
        new = rotated(rotator, world.current)
        with pytest.raises(LeaseLost):
            rotator.retire(world.current, current=new, fence=lost)
        with pytest.raises(LeaseLost):
            rotator.revoke_unserved(pending, current=world.current, fence=lost)
        assert world.works(new)
        assert world.works(world.current)

    def test_a_login_tells_what_works(self, logins: World) -> None:
        rotator = logins.rotator()
        assert rotator.probe(logins.current).answer is LoginAnswer.ACCEPTED
        assert rotator.probe(logins.spoiled(logins.current)).answer is LoginAnswer.REFUSED
        new = rotated(rotator, logins.current)
        assert rotator.probe(new).answer is LoginAnswer.ACCEPTED

    def test_what_cannot_be_reached_is_unknown(self, logins: World, settings: Settings) -> None:
        settings.KEEPER_OUTBOUND_ALLOWED = []
        probed = logins.rotator().probe(logins.current)
        assert probed.answer is LoginAnswer.UNKNOWN
        assert "KEEPER_OUTBOUND_ALLOWED" in probed.why

    def test_it_connects_nowhere_that_is_not_allowed(self, logins: World, settings: Settings) -> None:
        settings.KEEPER_OUTBOUND_ALLOWED = []
        rotator = logins.rotator()
        with pytest.raises(TargetUnreachable, match="KEEPER_OUTBOUND_ALLOWED"):
            rotator.check_setup(logins.current)

    def test_what_is_retired_is_refused_and_the_current_one_is_not(self, logins: World) -> None:
        rotator = logins.rotator()
        new = rotated(rotator, logins.current)
        for _ in range(2):
            rotator.retire(logins.current, current=new, fence=fence())
            assert not logins.works(logins.current)
            assert logins.works(new)
        assert rotator.probe(logins.current).answer is LoginAnswer.REFUSED

    def test_it_retires_nothing_that_is_current(self, logins: World) -> None:
        rotator = logins.rotator()
        with pytest.raises(CredentialInUse):
            rotator.retire(logins.current, current=logins.current, fence=fence())
        assert logins.works(logins.current)

    def test_it_sets_nothing_that_is_current(self, logins: World) -> None:
        rotator = logins.rotator()
        pending = rotator.prepare(logins.current)
        new = rotator.set(pending, current=logins.current, fence=fence())
        # Late, by a worker that has slept through the promotion and does not know it.
        with pytest.raises(CredentialInUse):
            rotator.set(pending, current=new, fence=fence())
        assert logins.works(new)

    @pytest.mark.parametrize("was_set", [True, False])
    def test_what_is_withdrawn_does_not_work(self, logins: World, was_set: bool) -> None:
        rotator = logins.rotator()
        pending = rotator.prepare(logins.current)
        new = rotator.set(pending, current=logins.current, fence=fence()) if was_set else pending.value
        rotator.revoke_unserved(pending, current=logins.current, fence=fence())
        assert new is None or not logins.works(new)
        assert logins.works(logins.current)

    def test_logins_that_are_alike_do_not_differ(self, world: World) -> None:
        rotator = world.rotator()
        assert rotator.compare_logins(world.current) == ()
        new = rotated(rotator, world.current)
        assert rotator.compare_logins(world.current) == ()
        # The other way round, as after the promotion and the retirement.
        rotator.retire(world.current, current=new, fence=fence())
        assert rotator.compare_logins(new) == ()

    @pytest.mark.parametrize(
        "value", ["", "secret-text", "[]", '"secret-text"', '{"username": "secret-text"}']
    )
    def test_it_takes_no_value_of_another_kind(self, logins: World, value: str) -> None:
        rotator = logins.rotator()
        for use in (rotator.check_setup, rotator.idle_login, rotator.prepare, rotator.probe):
            with pytest.raises(ValueUnusable) as caught:
                use(value)
            assert "secret-text" not in str(caught.value)
        with pytest.raises(ValueUnusable):
            rotator.set(rotator.prepare(logins.current), current=value, fence=fence())


@pytest.mark.parametrize("rotator", ROTATORS.values(), ids=ROTATORS.keys())
def test_it_declares_what_is_sensitive(rotator: type[Rotator]) -> None:
    assert rotator.label
    assert all(field.sensitive for field in rotator.admin_fields)
    assert not any(field.sensitive for field in rotator.settings_fields)
    names = [field.name for field in (*rotator.settings_fields, *rotator.admin_fields)]
    assert len(names) == len(set(names))
