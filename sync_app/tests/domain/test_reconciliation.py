"""`reconcile` never harms what is not ours or what changed, and always comes to rest."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sync_app.domain.reconciliation import (
    WRITES,
    Base,
    Conflict,
    Decision,
    Deletion,
    Direction,
    Item,
    Outcome,
    Ownership,
    Presence,
    Reason,
    Rules,
    Side,
    needs_value_comparison,
    reconcile,
)
from sync_app.tests import decision_table

# Versions come from a small alphabet, so that sides meet the base and miss it equally often.
versions = st.sampled_from(["1", "2", "3"])
keeper_sides = st.builds(
    Side, presence=st.sampled_from([Presence.PRESENT, Presence.ABSENT, Presence.UNREADABLE]), version=versions
)
target_sides = st.builds(Side, presence=st.sampled_from(Presence), version=versions, expired=st.booleans())
rules_space = st.builds(
    Rules,
    direction=st.sampled_from(Direction),
    conflict=st.sampled_from(Conflict),
    deletion=st.sampled_from(Deletion),
)
items = st.builds(
    Item,
    keeper=keeper_sides,
    target=target_sides,
    base=st.none() | st.builds(Base, keeper=versions, target=versions),
    ownership=st.sampled_from(Ownership),
    equal=st.sampled_from([True, False, None]),
)
SETTLED = frozenset(Outcome) - WRITES
HERE, GONE = Side(presence=Presence.PRESENT, version="1"), Side(presence=Presence.ABSENT, version="1")
# Both appeared without a base; both deleted; deleted here and changed there; deleted there by a recoverable deletion.
EXAMPLES = (
    Item(keeper=HERE, target=HERE, base=None, ownership=Ownership.NONE, equal=None),
    Item(
        keeper=GONE, target=GONE, base=Base(keeper="1", target="1"), ownership=Ownership.CREATED, equal=None
    ),
    Item(
        keeper=GONE,
        target=replace(HERE, version="2"),
        base=Base(keeper="1", target="1"),
        ownership=Ownership.CREATED,
        equal=False,
    ),
    Item(
        keeper=HERE,
        target=replace(HERE, presence=Presence.DELETED),
        base=Base(keeper="1", target="1"),
        ownership=Ownership.CREATED,
        equal=None,
    ),
)
CAREFUL = Rules(direction=Direction.PUSH, conflict=Conflict.ASK, deletion=Deletion.NEVER)
BOLD = Rules(direction=Direction.BOTH, conflict=Conflict.KEEPER_WINS, deletion=Deletion.RECOVERABLE)


def with_edges(test: Any) -> Any:
    """Play each of EXAMPLES under careful and bold rules as well."""
    for item in EXAMPLES:
        for rules in (CAREFUL, BOLD):
            test = example(item, rules)(test)
    return test


def applied(item: Item, decision: Decision) -> Item:
    """Return both sides as they are after the decision was carried out and seen again."""
    target = Side(presence=Presence.PRESENT, version="written")
    match decision.outcome:
        case Outcome.CREATE:
            base = Base(keeper=item.keeper.version, target="written")
            return replace(item, target=target, base=base, ownership=Ownership.CREATED, equal=None)
        case Outcome.UPDATE:
            base = Base(keeper=item.keeper.version, target="written")
            return replace(item, target=target, base=base, equal=None)
        case Outcome.PULL:
            keeper = Side(presence=Presence.PRESENT, version="pulled")
            base = Base(keeper="pulled", target=item.target.version)
            return replace(item, keeper=keeper, base=base, equal=None)
        case Outcome.DELETE:
            return replace(item, target=Side(presence=Presence.DELETED))
        case Outcome.UNCHANGED if decision.reason is Reason.EQUAL:
            base = Base(keeper=item.keeper.version, target=item.target.version)
            return replace(item, base=base, equal=None)
        case _:
            return item


@with_edges
@given(items, rules_space)
def test_it_writes_only_to_what_is_owned(item: Item, rules: Rules) -> None:
    outcome = reconcile(item, rules).outcome
    if outcome in {Outcome.UPDATE, Outcome.DELETE}:
        assert item.ownership is not Ownership.NONE
    if outcome is Outcome.CREATE:
        assert item.target.presence is Presence.ABSENT


@with_edges
@given(items, rules_space)
def test_it_deletes_only_what_it_created_and_nobody_changed(item: Item, rules: Rules) -> None:
    if reconcile(item, rules).outcome is not Outcome.DELETE:
        return
    assert rules.deletion is Deletion.RECOVERABLE
    assert rules.direction is not Direction.PULL
    assert item.ownership is Ownership.CREATED
    assert item.keeper.presence is Presence.ABSENT
    assert item.base is not None
    assert item.target == Side(presence=Presence.PRESENT, version=item.base.target)


@with_edges
@given(items, rules_space)
def test_it_overwrites_a_changed_side_only_where_a_rule_says_so(item: Item, rules: Rules) -> None:
    outcome = reconcile(item, rules).outcome
    if item.target.presence is Presence.PRESENT and outcome is Outcome.UPDATE:
        assert item.base is not None
        assert not item.target_changed or rules.conflict is Conflict.KEEPER_WINS
    if item.keeper.presence is Presence.PRESENT and outcome is Outcome.PULL:
        assert item.base is not None
        assert not item.keeper_changed or rules.conflict is Conflict.TARGET_WINS


@with_edges
@given(items, rules_space)
def test_it_writes_only_in_the_direction_of_the_target(item: Item, rules: Rules) -> None:
    outcome = reconcile(item, rules).outcome
    if rules.direction is Direction.PUSH:
        assert outcome is not Outcome.PULL
    if rules.direction is Direction.PULL:
        assert outcome not in {Outcome.CREATE, Outcome.UPDATE, Outcome.DELETE}


@with_edges
@given(items, rules_space)
def test_it_acts_on_nothing_that_could_not_be_read(item: Item, rules: Rules) -> None:
    if Presence.UNREADABLE in {item.keeper.presence, item.target.presence}:
        assert reconcile(item, rules).outcome is Outcome.REFUSED
    if item.target.presence is Presence.UNLISTED:
        assert reconcile(item, rules).outcome not in WRITES


@with_edges
@given(items, rules_space)
def test_it_never_writes_an_equal_value(item: Item, rules: Rules) -> None:
    both = item.keeper.presence is item.target.presence is Presence.PRESENT
    if both and item.equal:
        assert reconcile(item, rules).outcome in {Outcome.UNCHANGED, Outcome.UNMANAGED}


@with_edges
@given(items, rules_space)
def test_it_comes_to_rest_after_one_pass(item: Item, rules: Rules) -> None:
    decision = reconcile(item, rules)
    after = reconcile(applied(item, decision), rules)
    if decision.outcome in WRITES or decision.outcome is Outcome.UNCHANGED:
        assert after.outcome is Outcome.UNCHANGED
    else:
        assert after == decision


@with_edges
@given(items, rules_space)
def test_it_settles_everything_without_a_question_where_one_side_wins(item: Item, rules: Rules) -> None:
    """A known base and a winner leave no conflict but that of a deletion with a change."""
    decision = reconcile(item, rules)
    if decision.outcome is Outcome.CONFLICT and rules.conflict is not Conflict.ASK and item.base:
        assert decision.reason in {Reason.DELETED_AND_CHANGED, Reason.WRONG_BASE}


@with_edges
@given(items, rules_space)
def test_it_asks_for_a_comparison_wherever_one_could_settle_something(item: Item, rules: Rules) -> None:
    """A comparison that is not asked for could only spare a write that was going to happen."""
    item = replace(item, equal=None)
    compared = reconcile(replace(item, equal=True), rules)
    if not needs_value_comparison(item) and compared.outcome is not reconcile(item, rules).outcome:
        assert item.keeper_changed
        assert not item.target_changed


@with_edges
@given(items, rules_space)
def test_it_calls_nothing_missing_without_a_direct_read(item: Item, rules: Rules) -> None:
    if reconcile(item, rules).outcome is Outcome.MISSING:
        assert item.target.presence in {Presence.ABSENT, Presence.DELETED}


@pytest.mark.parametrize("rules", decision_table.rule_space(), ids=str)
def test_it_covers_the_documented_space_without_an_exception(rules: Rules) -> None:
    for item in decision_table.items().values():
        first = reconcile(item, rules)
        assert reconcile(applied(item, first), rules).outcome in SETTLED
