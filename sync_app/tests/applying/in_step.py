"""What each step of a pass finds out about a secret that is as it was synced: that there is nothing to do."""

import itertools

from sync_app.domain.reconciliation import (
    Conflict,
    Decision,
    Deletion,
    Direction,
    Outcome,
    Reason,
    Rules,
    reconcile,
)
from sync_app.models import Target
from sync_app.planning import discovery
from sync_app.planning.discovery import IN_STEP, Finding
from sync_app.planning.write_recovery import claimed_base
from sync_app.state.ownership import replaced_other_secret
from sync_app.state.value_forms import is_in_other_form

UNCHANGED = Decision(Outcome.UNCHANGED, Reason.IN_STEP)
RULES = [
    Rules(direction=direction, conflict=conflict, deletion=deletion)
    for direction, conflict, deletion in itertools.product(Direction, Conflict, Deletion)
]


def assert_in_step(target: Target, finding: Finding) -> None:
    """Fail unless all that a pass does with a finding comes to what is done with one in step."""
    assert not finding.in_step
    assert finding.entry is not None
    item = finding.to_item(target)
    assert (item.owned, item.was_owned, item.equal) == (IN_STEP.owned, False, None)
    assert {reconcile(item, rules) for rules in RULES} == {UNCHANGED}
    assert {reconcile(IN_STEP, rules) for rules in RULES} == {UNCHANGED}
    assert not discovery._is_doubtful(target, finding)
    assert not discovery.needs_value(target, finding)
    assert claimed_base(target, finding) is None
    assert not finding.entry.claimed_from
    assert not finding.entry.intended_target
    assert not replaced_other_secret(finding.entry) or not finding.was_owned(target)
    assert not is_in_other_form(target, finding.local, finding.entry)
    assert not (finding.lost)
    assert not (finding.left_out)
    assert not (finding.unproved)
    assert not (finding.problem)
