"""docs/internals/sync-tables.md shows what `reconcile` decides, and every reason and decision has its place."""

from dataclasses import replace
from itertools import product

from sync_app.domain.reconciliation import Outcome, Ownership, reconcile
from sync_app.tests import decision_table

EQUAL = (True, False, None)


def test_it_shows_in_the_documentation_what_the_function_decides() -> None:
    assert decision_table.table() in decision_table.DOCUMENT.read_text(), (
        "run: python -m sync_app.tests.decision_table"
    )


def test_it_shows_in_the_documentation_what_each_answer_means() -> None:
    assert decision_table.answer_tables() in decision_table.DOCUMENT.read_text(), (
        "run: python -m sync_app.tests.decision_table"
    )


def test_it_explains_every_outcome_in_the_documentation() -> None:
    text = (decision_table.DOCUMENT.parents[1] / "sync.md").read_text()
    assert all(f"| `{outcome}` |" in text for outcome in Outcome)


def test_it_reaches_every_outcome() -> None:
    space = decision_table.items().values()
    reached = {reconcile(item, rules).outcome for item in space for rules in decision_table.rule_space()}
    assert reached == set(Outcome)


def test_in_the_whole_space_nothing_is_written_over_or_deleted_that_is_not_owned() -> None:
    # Drawn examples seldom hit the few cells where ownership alone decides: here is each of them.
    touched = [
        (item.ownership, outcome)
        for item, rules, equal in product(decision_table.items().values(), decision_table.rule_space(), EQUAL)
        if (outcome := reconcile(replace(item, equal=equal), rules).outcome)
        in {Outcome.UPDATE, Outcome.DELETE}
    ]
    assert set(touched) == {
        (Ownership.CREATED, Outcome.UPDATE),
        (Ownership.CREATED, Outcome.DELETE),
        (Ownership.ADOPTED, Outcome.UPDATE),
    }
