"""What is not ours in the target is never written to, deleted, marked, or even read to be pushed over."""

from itertools import product
from typing import Any

import pytest

from environments_app.errors import InvalidField
from environments_app.tests.cast import Cast
from sync_app.domain.reconciliation import Conflict, Deletion, Direction
from sync_app.tests.applying.stage import Stage
from sync_app.tests.systems import EVERY
from sync_app.tests.worlds import World

pytestmark = pytest.mark.every_database_weekly

FOREIGN = {"foreign/same-name": "theirs 1", "foreign/other-name": "theirs 2", "app/beside-ours": "theirs 3"}
RULES = list(product(Direction, Conflict, Deletion))
PLACES = [list(kind) for kind in (Direction, Conflict, Deletion)]


def cases() -> list[Any]:
    """Return every system with all rules; the suite plays half of them.

    Each system meets each two choices of different rules, and each combination is met by three systems or
    more: neighbours in the list play different halves.
    """
    found = []
    for number, name in enumerate(EVERY):
        for rules in RULES:
            place = sum(kinds.index(rule) for kinds, rule in zip(PLACES, rules, strict=True))
            marks = [pytest.mark.torture] if (place + number) % 2 else []
            found.append(pytest.param(name, *rules, marks=marks, id="-".join([name, *rules])))
    return found


@pytest.mark.parametrize(("world", "direction", "conflict", "deletion"), cases(), indirect=["world"])
def test_foreign_secrets_stay_under_every_combination_of_rules(
    cast: Cast, world: World, direction: Direction, conflict: Conflict, deletion: Deletion
) -> None:
    rules: dict[str, Any] = {"direction": direction, "conflict": conflict, "deletion": deletion}
    if direction is not Direction.PUSH and not world.reads_values:
        with pytest.raises(InvalidField):
            Stage(cast, world, **rules)
        return
    stage = Stage(cast, world, **rules, budget_number=1000, budget_percent=100)
    for name, value in FOREIGN.items():
        stage.edit(name, value)
    before = fingerprints(stage)
    # A name of ours in all four situations: new, changed, deleted, and one that collides.
    stage.keep("foreign/same-name", "ours")
    for name in ("app/kept", "app/changed", "app/deleted"):
        stage.keep(name, "first")
    stage.sync()
    stage.keep("app/changed", "second")
    stage.keep("foreign/same-name", "ours again")
    stage.drop("app/deleted")
    stage.sync(rest=True)
    stage.drop("foreign/same-name")
    stage.sync(rest=True)
    stage.plan()
    assert fingerprints(stage) == before


def fingerprints(stage: Stage) -> dict[str, Any]:
    """Return all that another client could tell of the foreign secrets."""
    with stage.world.backend() as backend:
        seen = {name: backend.get_metadata(name) for name in FOREIGN}
    return {name: (seen[name], stage.theirs(name), stage.world.labels(stage.path(name))) for name in FOREIGN}
