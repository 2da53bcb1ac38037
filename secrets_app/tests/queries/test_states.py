"""The state of a list of secrets: different for different secrets, and the same for the same."""

from collections.abc import Iterator
from itertools import product

import pytest

from environments_app.tests.cast import Cast
from secrets_app.models import Secret
from secrets_app.queries.states import state_of
from secrets_app.tests.kept import keep

pytestmark = pytest.mark.every_database


def revised(names: list[str]) -> Iterator[tuple[int, ...]]:
    """Give the secrets each combination of some revisions; these add up to equal sums many times."""
    for revisions in product(range(1, 5), repeat=len(names)):
        for name, revision in zip(names, revisions, strict=True):
            Secret.objects.filter(name=name).update(revision=revision)
        yield revisions


@pytest.mark.parametrize("prefix", ["", "app"])
def test_no_two_sets_of_revisions_share_a_state(cast: Cast, prefix: str) -> None:
    names = ["app/a", "app/b", "app/c", "app/d"]
    for name in names:
        keep(cast, name)
    bob = cast.principal(cast.bob)
    states = {
        revisions: state_of(bob, cast.development, prefix=prefix, form="json") for revisions in revised(names)
    }
    assert len(set(states.values())) == len(states) == 4**4


def test_no_two_sets_of_secrets_share_a_state(cast: Cast) -> None:
    secrets = [keep(cast, f"s{number}") for number in range(6)]
    bob, states = cast.principal(cast.bob), set()
    for chosen in product([True, None], repeat=6):
        for secret, live in zip(secrets, chosen, strict=True):
            Secret.objects.filter(pk=secret.pk).update(live=live)
        states.add(state_of(bob, cast.development, form="json"))
    assert len(states) == 2**6
    assert "" in states


def test_one_state_is_one_text_whichever_way_it_is_asked(cast: Cast) -> None:
    keep(cast, "app/a")
    bob = cast.principal(cast.bob)
    one = state_of(bob, cast.development, form="json")
    assert one == state_of(bob, cast.development, form="json")
    others = {
        state_of(bob, cast.development, form="dotenv"),
        state_of(bob, cast.development, prefix="app", form="json"),
        state_of(cast.principal(cast.alice), cast.production, form="json"),
    }
    assert one not in others
