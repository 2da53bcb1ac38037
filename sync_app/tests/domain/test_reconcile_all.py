"""A whole pass deletes nothing where the picture is not complete, or where it would be too much."""

import pytest

from sync_app.domain.reconciliation import (
    Base,
    Deletion,
    DeletionBudget,
    Item,
    Outcome,
    Ownership,
    Presence,
    Reason,
    Rules,
    Side,
    reconcile_all,
)

RULES = Rules(deletion=Deletion.RECOVERABLE)
BASE = Base(keeper="1", target="1")
HERE = Side(presence=Presence.PRESENT, version="1")
GONE = Side(presence=Presence.ABSENT)
UNREADABLE = Side(presence=Presence.UNREADABLE)

KEPT = Item(base=BASE, keeper=HERE, target=HERE, ownership=Ownership.CREATED)
DELETED = Item(base=BASE, keeper=GONE, target=HERE, ownership=Ownership.CREATED)
FOREIGN = Item(keeper=GONE, target=HERE)
ACTED = {Outcome.DELETE, Outcome.REFUSED}


def outcomes(items: list[Item], *, budget: DeletionBudget | None = None) -> list[tuple[Outcome, Reason]]:
    decisions = reconcile_all(items, rules=RULES, budget=budget or DeletionBudget(number=5, percent=50))
    return [(decision.outcome, decision.reason) for decision in decisions if decision.outcome in ACTED]


def test_it_deletes_what_was_deleted_in_keeper() -> None:
    assert outcomes([KEPT, DELETED]) == [(Outcome.DELETE, Reason.DELETED_IN_KEEPER)]


@pytest.mark.parametrize(
    "unreadable",
    [
        Item(base=BASE, keeper=UNREADABLE, target=HERE, ownership=Ownership.CREATED),
        Item(base=BASE, keeper=HERE, target=UNREADABLE, ownership=Ownership.CREATED),
    ],
    ids=["keeper", "target"],
)
def test_it_deletes_nothing_where_something_is_unreadable(unreadable: Item) -> None:
    assert (Outcome.REFUSED, Reason.INCOMPLETE) in outcomes([KEPT, DELETED, unreadable])
    assert Outcome.DELETE not in {outcome for outcome, _ in outcomes([KEPT, DELETED, unreadable])}


def test_it_deletes_nothing_for_an_empty_environment() -> None:
    budget = DeletionBudget(number=100, percent=100)
    assert outcomes([DELETED, FOREIGN], budget=budget) == [(Outcome.REFUSED, Reason.EMPTY)]


def test_it_deletes_none_of_too_many() -> None:
    many = [KEPT] * 20 + [DELETED] * 6
    assert outcomes(many) == [(Outcome.REFUSED, Reason.OVER_BUDGET)] * 6


def test_it_deletes_none_of_too_large_a_share() -> None:
    assert outcomes([KEPT, DELETED, DELETED]) == [(Outcome.REFUSED, Reason.OVER_BUDGET)] * 2


def test_it_counts_the_share_of_what_is_owned_alone() -> None:
    assert outcomes([KEPT, DELETED, DELETED, *[FOREIGN] * 10]) == [(Outcome.REFUSED, Reason.OVER_BUDGET)] * 2


def test_it_deletes_up_to_the_budget() -> None:
    assert outcomes([*[KEPT] * 5, *[DELETED] * 5]) == [(Outcome.DELETE, Reason.DELETED_IN_KEEPER)] * 5


def test_it_goes_on_with_everything_but_deletions() -> None:
    changed = Item(
        base=BASE,
        keeper=Side(presence=Presence.PRESENT, version="2"),
        target=HERE,
        ownership=Ownership.CREATED,
    )
    decisions = reconcile_all([changed, DELETED], rules=RULES, budget=DeletionBudget(number=0))
    assert [decision.outcome for decision in decisions] == [Outcome.UPDATE, Outcome.REFUSED]


@pytest.mark.parametrize("percent", [1, 10, 100])
def test_it_deletes_one_of_few(percent: int) -> None:
    budget = DeletionBudget(number=10, percent=percent)
    assert outcomes([KEPT, DELETED], budget=budget) == [(Outcome.DELETE, Reason.DELETED_IN_KEEPER)]


@pytest.mark.parametrize(("number", "percent"), [(0, 10), (10, 0)])
def test_a_budget_of_nothing_lets_nothing_be_deleted(number: int, percent: int) -> None:
    budget = DeletionBudget(number=number, percent=percent)
    assert outcomes([KEPT, DELETED], budget=budget) == [(Outcome.REFUSED, Reason.OVER_BUDGET)]


def test_it_counts_what_was_deleted_before_within_the_window() -> None:
    items = [*[KEPT] * 20, DELETED]
    allowed = DeletionBudget(number=5, percent=100, withdrawn=4)
    assert outcomes(items, budget=allowed) == [(Outcome.DELETE, Reason.DELETED_IN_KEEPER)]
    spent = DeletionBudget(number=5, percent=100, withdrawn=5)
    assert outcomes(items, budget=spent) == [(Outcome.REFUSED, Reason.OVER_BUDGET)]
    assert spent.explain_excess(deleted=1, owned=21, hours=24).endswith(
        "1 to delete, 5 deleted in the last 24 hours, and at most 5 of 26 (5, or 100 %)"
    )


def test_the_share_is_of_what_was_owned_when_the_window_began() -> None:
    assert DeletionBudget(number=10, percent=10, withdrawn=2).allows(deleted=1, owned=28)
    assert not DeletionBudget(number=10, percent=10, withdrawn=3).allows(deleted=1, owned=27)
