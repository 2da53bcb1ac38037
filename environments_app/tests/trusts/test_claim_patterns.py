"""Patterns of claims: exact values, and stars that stay between delimiters."""

import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from environments_app.trusts.jwt.rules import (
    BadPattern,
    claim_texts,
    matches,
    require_claim_name,
    require_pattern,
)

WORDS = st.text("ab/:*", max_size=12)


@pytest.mark.parametrize(
    ("pattern", "value", "fits"),
    [
        ("repo:shop/web:ref:refs/heads/main", "repo:shop/web:ref:refs/heads/main", True),
        ("repo:shop/*:ref:refs/heads/main", "repo:shop/web:ref:refs/heads/main", True),
        ("repo:shop/*:ref:refs/heads/main", "repo:shop/a:ref:refs/heads/x/b:ref:refs/heads/main", False),
        ("repo:shop/*", "repo:shop/web:ref:refs/heads/main", False),
        ("repo:shop/*", "repo:shop/", True),
        ("release-*", "release-1.0", True),
        ("release-*", "release-1/0", False),
        ("rel*-1*x", "release-1-0-x", True),
        ("aba*ba", "aba", False),
        ("a*b*c", "axxc", False),
        ("a*b*c", "axbxc", True),
        ("a*b*b*c", "axbxc", False),
        ("a*bc*c", "abc", False),
        ("main", "Main", False),
        ("main", "main ", False),
    ],
)
def test_a_star_stays_between_delimiters(pattern: str, value: str, fits: bool) -> None:
    assert matches(pattern, value) is fits


@example("", "")
@example("*", "")
@example("*", "a/b")
@example("a**b", "ab")
@example("a*b*a", "aba")
@given(WORDS, WORDS)
def test_it_agrees_with_a_regular_expression(pattern: str, value: str) -> None:
    expression = "[^/:]*".join(map(re.escape, pattern.split("*")))

    assert matches(pattern, value) is bool(re.fullmatch(expression, value))


def test_it_takes_linear_time() -> None:
    begun = time.thread_time()

    assert not matches("aaa*a*a*b", "a" * 100_000)
    # It takes milliseconds; by going back at each star it would take hours.
    assert time.thread_time() - begun < 10


@pytest.mark.parametrize("pattern", ["", "*", "ab*", "abc****", "a\nb", "x" * 1001])
def test_bad_patterns_are_refused(pattern: str) -> None:
    with pytest.raises(BadPattern):
        require_pattern(pattern)


@pytest.mark.parametrize("name", ["", "a b", "é", "x" * 201])
def test_bad_names_are_refused(name: str) -> None:
    with pytest.raises(BadPattern):
        require_claim_name(name)


def test_claims_are_found_by_name_and_by_pointer() -> None:
    claims = {
        "ref_protected": True, "id": 7, "groups": ["a", "b", {}], "a/b": "c", "long": "x" * 1001,
        "kubernetes.io": {"namespace": "shop", "pod": {"name": "web"}},
    }  # fmt: skip

    assert claim_texts(claims, "ref_protected") == ["true"]
    assert claim_texts(claims, "id") == ["7"]
    assert claim_texts(claims, "groups") == ["a", "b"]
    assert claim_texts(claims, "/kubernetes.io/namespace") == ["shop"]
    assert claim_texts(claims, "/kubernetes.io/pod/name") == ["web"]
    assert claim_texts(claims, "/a~1b") == ["c"]
    assert claim_texts(claims, "/id/x") == claim_texts(claims, "none") == claim_texts(claims, "long") == []
