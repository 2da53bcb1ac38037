"""docs/roles.md states what the table of permissions decides, for each action once."""

import re
from collections.abc import Iterator
from pathlib import Path

from environments_app.authorization.permissions import ADMIN_ACTIONS, AUDITOR_ACTIONS, ROLE_ACTIONS
from environments_app.models import Role

PAGE = Path(__file__).resolve().parents[2] / "docs/roles.md"
ROLES = (*(ROLE_ACTIONS[role] for role in Role), ADMIN_ACTIONS, AUDITOR_ACTIONS)


def rows() -> Iterator[tuple[list[str], list[str]]]:
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == len(ROLES) + 2 and (actions := re.findall(r"`([a-z._]+)`", cells[-1])):
            yield cells[1:-1], actions


def test_each_cell_is_as_the_policy_decides() -> None:
    assert list(Role) == ["viewer", "reader", "editor", "manager"]
    for cells, actions in rows():
        having = [sum(action in role for action in actions) for role in ROLES]
        expected = ["yes" if n == len(actions) else "some" if n else "" for n in having]
        assert cells == expected, actions


def test_each_right_of_a_manager_is_named_once() -> None:
    named = [action for _, actions in rows() for action in actions]
    assert sorted(named) == sorted(ROLE_ACTIONS[Role.MANAGER])
