"""The state of a list of secrets: different for different secrets, and the same for the same."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product

import pytest
from django.test import Client

from environments_app.errors import ConfirmationNeeded
from environments_app.models import User
from environments_app.tests.cast import Cast
from secrets_app.metrics import UNCHANGED_LISTS
from secrets_app.models import Secret
from secrets_app.queries.states import is_unchanged, state_of
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


def test_an_unchanged_state_needs_a_fresh_proof(cast: Cast) -> None:
    keep(cast)
    fresh = cast.principal(cast.alice)
    state = state_of(fresh, cast.development, form="manifest")
    counted = UNCHANGED_LISTS.labels("manifest")._value.get()
    assert is_unchanged(fresh, state, f'"{state}"', kind="manifest")
    assert UNCHANGED_LISTS.labels("manifest")._value.get() == counted + 1
    with pytest.raises(ConfirmationNeeded):
        is_unchanged(replace(fresh, confirmed=False), state, f'"{state}"', kind="manifest")
    assert UNCHANGED_LISTS.labels("manifest")._value.get() == counted + 1
    for known in ("", "*", '"0"', state):
        assert not is_unchanged(fresh, state, known, kind="manifest")
    assert not is_unchanged(fresh, "", '""', kind="manifest")


@pytest.mark.parametrize("path", ["manifest", "export"])
def test_a_session_that_was_left_open_learns_no_state(
    cast: Cast, signed_in: Callable[[User], Client], path: str
) -> None:
    keep(cast)
    alice = signed_in(cast.alice)
    address = f"/api/environments/development/{path}"
    etag = alice.get(address)["ETag"]
    assert alice.get(address, headers={"if-none-match": etag}).status_code == 304
    session = alice.session
    session["confirmed_at"] = 1
    session.save()
    answer = alice.get(address, headers={"if-none-match": etag})
    assert (answer.status_code, answer.headers.get("ETag")) == (403, None)
