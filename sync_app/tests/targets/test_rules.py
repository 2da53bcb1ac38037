"""Which names and rules a target may have, and what follows from the system that it is in."""

from typing import Any

import pytest

from environments_app.errors import InvalidField
from sync_app.errors import BadDestination
from sync_app.models import Target
from sync_app.models.target import MAX_TAGS_TEXT
from sync_app.targets.rules import CHANGEABLE, CHOSEN_ONCE, apply_rules, changed_backend_rules, clean_name


def ruled(backend: str = "vault_kv2", **rules: Any) -> Target:
    target = Target(backend=backend)
    apply_rules(target, rules, allowed=(*CHANGEABLE, *CHOSEN_ONCE))
    return target


@pytest.mark.parametrize("name", ["a", "9", "eu-1.vault_kv", "x" * 63])
def test_a_name_is_short_and_plain(name: str) -> None:
    assert clean_name(name) == name


@pytest.mark.parametrize("name", ["", "x" * 64, "-a", ".a", "_a", "A", "a b", "a\n", "ä"])
def test_a_name_that_is_not_is_refused(name: str) -> None:
    with pytest.raises(InvalidField) as caught:
        clean_name(name)
    assert caught.value.field == "name"


@pytest.mark.parametrize("backend", ["vault_kv2", "github_actions"])
def test_tags_select_what_is_pushed(backend: str) -> None:
    assert ruled(backend, direction="push", only_tags=["B", "a"]).only_tags == "a,b"


@pytest.mark.parametrize(
    ("backend", "rules", "field"),
    [
        ("vault_kv2", {"direction": "pull", "only_tags": ["a"]}, "only_tags"),
        ("vault_kv2", {"direction": "both", "only_tags": ["a"]}, "only_tags"),
        ("vault_kv2", {"only_tags": ["no tag!"]}, "only_tags"),
        # A system that shows no value gives none.
        ("github_actions", {"direction": "pull"}, "direction"),
        ("github_actions", {"direction": "both"}, "direction"),
    ],
)
def test_rules_that_contradict_each_other_or_the_system_are_refused(
    backend: str, rules: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidField) as caught:
        ruled(backend, **rules)
    assert caught.value.field == field


def test_tags_are_as_many_as_a_row_holds() -> None:
    tags = [f"{number:063}" for number in range(MAX_TAGS_TEXT // 64 + 1)]
    assert len(ruled(only_tags=tags[:-1]).only_tags) == MAX_TAGS_TEXT - 1
    with pytest.raises(InvalidField, match="Use fewer tags"):
        ruled(only_tags=tags)


def test_what_is_chosen_once_is_not_changed() -> None:
    for name in CHOSEN_ONCE:
        with pytest.raises(InvalidField) as caught:
            apply_rules(Target(backend="vault_kv2"), {name: ""}, allowed=CHANGEABLE)
        assert caught.value.field == name


@pytest.mark.parametrize(
    ("kept", "given", "changed"),
    [
        ({"objects": "keys"}, {"objects": "merge"}, {"objects": "merge"}),
        ({"objects": "keys"}, {"objects": "keys"}, {}),
        # A row that is older than the rule has the default.
        ({}, {"objects": "value"}, {}),
        ({}, {"objects": "keys"}, {"objects": "keys"}),
    ],
)
def test_a_rule_of_the_system_is_changed_where_it_differs(
    kept: dict[str, str], given: dict[str, str], changed: dict[str, str]
) -> None:
    assert changed_backend_rules(Target(backend="vault_kv2", destination=kept), given) == changed


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"address": "https://elsewhere.example"}, "only together with new credentials"),
        ({"mount": ""}, "only together with new credentials"),
        ({"unknown": "x"}, "only together with new credentials"),
        ({"objects": "other"}, "choose one of keys, merge, value"),
    ],
)
def test_a_place_is_no_rule_of_the_system(given: dict[str, str], told: str) -> None:
    with pytest.raises(BadDestination, match=told) as caught:
        changed_backend_rules(Target(backend="vault_kv2"), given)
    assert {caught.value.field} == given.keys()
