"""docs/sync.md shows what `reconcile` decides, and every reason and decision has its place."""

from sync_app.reconcile import Outcome, reconcile
from sync_app.tests import decision_table


def test_it_shows_in_the_documentation_what_the_function_decides() -> None:
    assert decision_table.table() in decision_table.DOCUMENT.read_text(), (
        "run: python -m sync_app.tests.decision_table"
    )


def test_it_explains_every_outcome_in_the_documentation() -> None:
    text = decision_table.DOCUMENT.read_text()
    assert all(f"| `{outcome}` |" in text for outcome in Outcome)


def test_it_reaches_every_outcome() -> None:
    space = decision_table.items().values()
    reached = {reconcile(item, rules).outcome for item in space for rules in decision_table.rule_space()}
    assert reached == set(Outcome)
