"""The section of privileged acts: each act is in it, or named as one of the others with a reason."""

from collections import Counter

import pytest

from audit_app.events.actions import Action
from audit_app.queries.reports import ORDINARY, PRIVILEGED


def test_each_act_is_privileged_or_named_as_ordinary_once() -> None:
    named = Counter([*PRIVILEGED, *(action for actions in ORDINARY.values() for action in actions)])
    assert set(Action) - named.keys() == set()
    assert {action: count for action, count in named.items() if count > 1} == {}


@pytest.mark.parametrize(
    "words", ["member.", "trust.", "target.", "group.", "saml", "token.", "environment."]
)
def test_what_gives_or_changes_is_privileged(words: str) -> None:
    ends = ("grant", "create", "change", "update", "revoke", "delete", "remove", "issue")
    acts = {action for action in Action if action.startswith(words) and action.endswith(ends)}
    assert acts
    assert acts <= PRIVILEGED


def test_no_look_is_privileged() -> None:
    assert not {action for action in PRIVILEGED if action.endswith((".view", ".test", ".reveal"))}
