"""JSON values."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from secrets_app.tests.refusals import refuse
from secrets_app.types.json_document import MAX_DEPTH
from secrets_app.types.registry import SecretType, inspect

KEYS = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=10)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | KEYS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


@example({}, False, None)
@example([[]], True, 2)
# More digits than Python turns into a number by itself, and a character of two UTF-16 units.
@example(10**4000, False, None)
@example({"": "\U0001f511"}, True, None)
@given(DOCUMENTS, st.booleans(), st.sampled_from([None, 2]))
def test_it_takes_whatever_json_writes(document: object, ascii_only: bool, indent: int | None) -> None:
    facts = inspect(SecretType.JSON, json.dumps(document, ensure_ascii=ascii_only, indent=indent))
    assert facts.get("members") == (len(document) if isinstance(document, dict | list) else None)


@pytest.mark.parametrize(
    ("value", "facts"),
    [
        ('{"user": "a", "password": "hunter2"}', {"kind": "object", "members": 2}),
        ("[1, 2, 3]", {"kind": "array", "members": 3}),
        ('"hunter2"', {"kind": "string"}),
        ("1.5e3", {"kind": "number"}),
        ("-12", {"kind": "number"}),
        ("true", {"kind": "boolean"}),
        ("null", {"kind": "null"}),
        ("{}", {"kind": "object", "members": 0}),
        ('["[[[[\\"", "]"]', {"kind": "array", "members": 2}),
        ("9" * 60_000, {"kind": "number"}),
        ('"\\ud83d\\ude00"', {"kind": "string"}),
        ('{"a": {"x": 1}, "b": {"x": 1}}', {"kind": "object", "members": 2}),
    ],
)
def test_it_counts_members_and_names_none(value: str, facts: dict[str, object]) -> None:
    assert inspect(SecretType.JSON, value) == facts


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("hunter2", "at line 1, column 1"),
        ('{\n  "a": hunter2\n}', "at line 2, column 8"),
        ('{"hunter2": 1,}', "Invalid JSON"),
        ('["hunter2"', "Invalid JSON"),
        ('["hunter2"] x', "Invalid JSON"),
        ("['hunter2']", "Invalid JSON"),
        ('"hunter2\n"', "Invalid JSON"),
        ('"\\x hunter2"', "Invalid JSON"),
        ("]", "Invalid JSON"),
        ("\ufeff{}", "Invalid JSON"),
        ('"' + '\\"' * 32_000, "Invalid JSON"),
        ('{"hunter2": 1, "hunter2": 2}', "a key is repeated"),
        ('{"a": [{"x": 1, "\\u0078": 2}]}', "a key is repeated"),
        ("[NaN]", "NaN"),
        ("Infinity", "Infinity"),
        ("-Infinity", "Infinity"),
        ('"hunter2\\ud800"', "surrogate"),
        ('{"\\udc00": 1}', "surrogate"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "deeper than 64"),
        ("[[],[" * 20_000 + "hunter2", "too large"),
        ('{"a":' * 10_000 + "1" + "}" * 10_000, "deeper than 64"),
    ],
)
def test_it_refuses_what_is_not_strict_json(value: str, hint: str) -> None:
    refuse(SecretType.JSON, value, hint)


def test_it_takes_the_deepest_allowed_nesting() -> None:
    assert inspect(SecretType.JSON, "[" * MAX_DEPTH + "]" * MAX_DEPTH) == {"kind": "array", "members": 1}
