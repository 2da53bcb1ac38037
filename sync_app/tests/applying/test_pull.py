"""A pulled value is written over what the plan saw in Keeper alone."""

from collections.abc import Callable
from typing import Any

import pytest

from environments_app.approvals.gate import system_approval
from environments_app.tests.cast import Cast
from secrets_app.models import Secret
from secrets_app.queries.lookup import find_active
from secrets_app.services import guarded, lifecycle, write
from secrets_app.services.read import current_version_of, reveal
from secrets_app.tests.kept import keep
from secrets_app.types.registry import SecretType
from sync_app.applying import pull
from sync_app.applying.preconditions import PlanOutdated
from sync_app.models import PlanItem, Target
from sync_app.tests.shown import make_target

pytestmark = pytest.mark.django_db


def kept(cast: Cast, value: str, **given: Any) -> Secret:
    secret, _ = write.put(
        actor=cast.principal(cast.alice),
        environment=cast.development,
        name="one",
        value=value,
        secret_type=SecretType.TEXT,
        **given,
    )
    return secret


def pulled(cast: Cast, version: str, value: str = "theirs") -> pull.PulledVersion:
    alice = cast.principal(cast.alice)
    return pull.store_pulled_value(
        actor=alice,
        target=make_target(cast.development, direction="both"),
        item=PlanItem(name="one", keeper_version=version),
        value=value,
        approval=system_approval(alice, cast.development),
    )


def held(cast: Cast) -> tuple[str, int] | None:
    secret = find_active(cast.development, "one")
    if secret is None:
        return None
    return reveal(actor=cast.principal(cast.alice), secret=secret).value, secret.current_number


def edit(cast: Cast) -> None:
    kept(cast, "edited")


def drop(cast: Cast) -> None:
    secret = find_active(cast.development, "one")
    assert secret is not None
    lifecycle.delete(actor=cast.principal(cast.alice), secret=secret)


def drop_and_make_another(cast: Cast) -> None:
    drop(cast)
    kept(cast, "another")


@pytest.mark.parametrize("meanwhile", [edit, drop, drop_and_make_another])
def test_what_changed_in_keeper_since_the_plan_stays(cast: Cast, meanwhile: Callable[[Cast], None]) -> None:
    version = current_version_of(kept(cast, "first")).uuid.hex
    meanwhile(cast)
    before = held(cast)
    with pytest.raises(PlanOutdated):
        pulled(cast, version)
    assert held(cast) == before


def test_what_was_made_in_keeper_since_the_plan_stays(cast: Cast) -> None:
    kept(cast, "first")
    with pytest.raises(PlanOutdated):
        pulled(cast, "")
    assert held(cast) == ("first", 1)


@pytest.mark.parametrize(("meanwhile", "error"), [(edit, PlanOutdated), (drop, Exception)])
def test_what_changes_in_keeper_while_it_is_written_stays(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[Cast], None], error: type[Exception]
) -> None:
    version = current_version_of(kept(cast, "first")).uuid.hex
    updates = write.update

    def then(**given: Any) -> Secret:
        with monkeypatch.context() as by_somebody_else:
            by_somebody_else.setattr(write, "update", updates)
            meanwhile(cast)
            before.append(held(cast))
        return updates(**given)

    before = list[Any]()
    monkeypatch.setattr(write, "update", then)
    with pytest.raises(error, match=r"changed|deleted|Not found|exist"):
        pulled(cast, version)
    assert [held(cast)] == before


def test_nothing_is_pulled_over_references(cast: Cast) -> None:
    keep(cast, "other")
    value = "${development/other}"
    secret = kept(cast, value, uses_references=True)
    with pytest.raises(PlanOutdated):
        pulled(cast, current_version_of(secret).uuid.hex)
    assert held(cast) == (value, 1)


def test_a_secret_that_comes_back_by_it_refers_to_nothing(cast: Cast) -> None:
    keep(cast, "other")
    value = "${development/other}"
    kept(cast, value, uses_references=True)
    drop(cast)
    pulled(cast, "", value)
    back = find_active(cast.development, "one")
    assert back is not None
    assert (back.uses_references, held(cast)) == (False, (value, back.current_number))


@pytest.mark.parametrize("value", ["other", "first"])
def test_a_pull_tells_not_what_a_guarded_secret_holds(cast: Cast, value: str) -> None:
    secret = guarded.guard(actor=cast.principal(cast.alice), secret=kept(cast, "first"))
    # An equal value is written as another one is.
    assert pulled(cast, current_version_of(secret).uuid.hex, value).number == 2


def test_what_is_as_it_was_planned_is_written_once(cast: Cast) -> None:
    version = current_version_of(kept(cast, "first")).uuid.hex
    first = pulled(cast, version)
    assert (held(cast), first.number) == (("theirs", 2), 2)
    # The attempt before wrote it, and died: the plan knows the version of before.
    Target.objects.update(name="gone", place="gone")
    assert pulled(cast, version) == first
    assert held(cast) == ("theirs", 2)
