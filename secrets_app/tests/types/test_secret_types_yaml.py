"""YAML values."""

from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from secrets_app.tests.refusals import refuse
from secrets_app.types.json_document import MAX_DEPTH
from secrets_app.types.registry import SecretType, inspect

KEYS = st.text("abc:#-!&*'\" \n", max_size=8) | st.integers() | st.booleans()
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | KEYS | st.dates(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


def alias_bomb(first: str, line: str) -> str:
    """A billion laughs: each of ten lines holds nine aliases of the line before."""
    lines = [f"a0: &a0 {first}"]
    for number in range(1, 11):
        aliases = ",".join([f"*a{number - 1}"] * 9)
        lines.append(f"a{number}: &a{number} " + line.replace("ALIASES", aliases))
    return "\n".join(lines)


def alias_ladder(length: int) -> str:
    """Aliases that nest ever deeper without multiplying."""
    return "\n".join(["- &a0 [x]"] + [f"- &a{number} [*a{number - 1}]" for number in range(1, length)])


@example({}, True)
@example([None], False)
@example({1: "a", "1": "b", False: "c"}, False)
@example("a: b\n- c", True)
@given(DOCUMENTS, st.booleans())
def test_it_takes_whatever_the_safe_dumper_writes(document: Any, flow: bool) -> None:
    facts = inspect(SecretType.YAML, yaml.safe_dump(document, default_flow_style=flow))
    assert facts.get("members") == (len(document) if isinstance(document, dict | list) else None)


@pytest.mark.parametrize(
    ("value", "facts"),
    [
        ("user: a\npassword: hunter2\n", {"documents": 1, "kind": "mapping", "members": 2}),
        ("- 1\n- 2\n", {"documents": 1, "kind": "sequence", "members": 2}),
        ("hunter2", {"documents": 1, "kind": "scalar"}),
        ("---\na: 1\n---\n- 2\n", {"documents": 2, "kind": "mapping", "members": 1}),
        (
            "a: &x {y: 1}\nb: {<<: *x, y: 2}\nc: *x\nd: {<<: [*x, *x]}",
            {"documents": 1, "kind": "mapping", "members": 4},
        ),
        ("a: &x {<<: {y: 1}, y: 2}\nb: *x", {"documents": 1, "kind": "mapping", "members": 2}),
        ("a: =", {"documents": 1, "kind": "mapping", "members": 1}),
        ("=: 1", {"documents": 1, "kind": "mapping", "members": 1}),
        ("a: |\n  -----BEGIN X-----\n  abc\n", {"documents": 1, "kind": "mapping", "members": 1}),
        ("a: '!important'", {"documents": 1, "kind": "mapping", "members": 1}),
        ('{"json": [true, null]}', {"documents": 1, "kind": "mapping", "members": 1}),
        ("1: a\n'1': b", {"documents": 1, "kind": "mapping", "members": 2}),
    ],
)
def test_it_counts_documents_and_members_and_names_none(value: str, facts: dict[str, object]) -> None:
    assert inspect(SecretType.YAML, value) == facts


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("a: [hunter2", "Invalid YAML at line "),
        ("a: &x 1\nb: &x hunter2", "Invalid YAML at line 2, column 4."),
        ("a: 1\n b: hunter2", "at line 2, column 3."),
        ("a: hunter2\x07", "Invalid YAML"),
        ("@hunter2", "Invalid YAML"),
        ("\thunter2: 1", "Invalid YAML"),
        ("a: *hunter2", "alias without a finished anchor"),
        ("# hunter2", "comments or blank lines"),
        ("\n\n", "comments or blank lines"),
        ("a: !!str hunter2", "has a tag"),
        ("!!python/object/apply:os.system [hunter2]", "has a tag"),
        ("- !hunter2 {}", "has a tag"),
        ("- ! hunter2", "has a tag"),
        ("%TAG !e! tag:hunter2,2000:\n---\n!e!x a", "has a tag"),
        ("hunter2: 1\nhunter2: 2", "repeats a key at line 2, column 1"),
        ("a: 1\n'a': 2", "repeats a key"),
        ("16: 1\n0x10: 2", "repeats a key"),
        ("- {x: {hunter2: 1, hunter2: 2}}", "repeats a key"),
        ("a: &x {y: 1}\nb: {<<: *x, <<: *x}", "repeats a key"),
        ("? [hunter2]\n: b", "not a plain word"),
        ("&a hunter2: 1\n*a : 2", "repeats a key"),
        ("a: 2024-13-45", "at line 1, column 4."),
        ("a: 0x_", "at line 1, column 4."),
        ("a: " + "9" * 60_000, "at line 1, column 4."),
        ("a: " + "1:" * 30_000 + "1", "at line 1, column 4."),
        ("a: {<<: hunter2}", "Invalid YAML"),
        ('"\\ud800 hunter2"', "Invalid YAML"),
    ],
)
def test_it_refuses_what_is_not_safe_yaml(value: str, hint: str) -> None:
    refuse(SecretType.YAML, value, hint)


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (alias_bomb("[x,x,x,x,x,x,x,x,x]", "[ALIASES]"), "more than 100,000 nodes"),
        (alias_bomb("{k: 1}", "{<<: [ALIASES]}"), "more than 100,000 nodes"),
        (alias_ladder(64), "deeper than 64"),
        ("&a [*a]", "alias without a finished anchor"),
        ("a: &a {b: *a}", "alias without a finished anchor"),
        ("- &a [1]\n- &a [*a]", "alias without a finished anchor"),
        ("- " * 32_000, "deeper than 64"),
        ("? " * 32_000, "deeper than 64"),
        ("{a: " * 16_000, "deeper than 64"),
        ("[" * 65 + "]" * 65, "deeper than 64"),
        ("[" * 65_536, "Invalid YAML"),
        ("*" * 60_000, "Invalid YAML"),
        ("&x " * 20_000, "Invalid YAML"),
    ],
)
def test_it_refuses_bombs_at_once(value: str, hint: str) -> None:
    refuse(SecretType.YAML, value, hint)


@pytest.mark.parametrize("value", ["[" * MAX_DEPTH + "]" * MAX_DEPTH, alias_ladder(MAX_DEPTH - 1)])
def test_it_takes_the_deepest_allowed_nesting(value: str) -> None:
    assert inspect(SecretType.YAML, value)["kind"] == "sequence"
