"""What a secret may be called."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secrets_app.errors import InvalidName, InvalidTag
from secrets_app.values.names import validate_prefix, validate_secret_name, validate_tags

SEGMENTS = st.text(string.ascii_letters + string.digits + "_.+=@-", min_size=1, max_size=20).filter(
    lambda segment: segment not in {".", ".."}
)


@given(st.lists(SEGMENTS, min_size=1, max_size=10))
def test_it_takes_paths_unchanged(segments: list[str]) -> None:
    name = "/".join(segments)
    assert validate_secret_name(name) == name
    assert validate_prefix(name) == name


@pytest.mark.parametrize(
    "name", ["a", "a" * 512, "db/primary/password", "...", "a..b", "user@example.com", "-x", "A=B+C"]
)
def test_it_takes_unusual_names(name: str) -> None:
    assert validate_secret_name(name) == name


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        (None, "must be text"),
        (7, "must be text"),
        (b"name", "must be text"),
        ("", "Enter a name"),
        ("a" * 513, "max 512 characters"),
        (" a", "space"),
        ("a ", "space"),
        ("a\n", "space"),
        ("\u3000a", "space"),
        ("/a", "slash"),
        ("a/", "slash"),
        ("/", "slash"),
        ("a//b", "two slashes"),
        ("a/./b", "dots only"),
        ("..", "dots only"),
        ("a/..", "dots only"),
        ("a b", "Use only A-Z"),
        ("a%2eb", "Use only A-Z"),
        ("a?b", "Use only A-Z"),
        ("a#b", "Use only A-Z"),
        ("a\\b", "Use only A-Z"),
        ("a\0b", "Use only A-Z"),
        ("a\nb", "Use only A-Z"),
        ("p\u0430ssword", "Use only A-Z"),  # a Cyrillic letter
        ("naïve", "Use only A-Z"),
        ("\u0661", "Use only A-Z"),  # a digit, but not an ASCII one
        ("\ud800", "Use only A-Z"),
    ],
)
def test_it_refuses_a_bad_name_and_says_why(name: object, hint: str) -> None:
    with pytest.raises(InvalidName, match=hint) as caught:
        validate_secret_name(name)
    assert caught.value.field == "name"


def test_it_does_not_repeat_a_name_that_may_be_a_pasted_secret() -> None:
    with pytest.raises(InvalidName) as caught:
        validate_secret_name("hunter2 is my password")
    assert "hunter2" not in str(caught.value)


def test_it_takes_the_empty_prefix() -> None:
    assert validate_prefix("") == ""


@pytest.mark.parametrize("prefix", [None, "a/", "/a", "a//b", "..", "a%", "x" * 513])
def test_it_refuses_a_bad_prefix(prefix: object) -> None:
    with pytest.raises(InvalidName) as caught:
        validate_prefix(prefix)
    assert caught.value.field == "prefix"


def test_it_normalises_tags() -> None:
    assert validate_tags(["Prod", "db", "PROD", "team:payments", "a/b.c_d-e"]) == [
        "a/b.c_d-e",
        "db",
        "prod",
        "team:payments",
    ]


def test_it_takes_no_tags_and_fifty_tags() -> None:
    assert validate_tags([]) == []
    assert len(validate_tags([f"t{number}" for number in range(50)] + ["T1"])) == 50


@pytest.mark.parametrize(
    "tags",
    [
        None,
        "prod",
        {"prod"},
        [1],
        [None],
        [""],
        ["-a"],
        ["a b"],
        [" a"],
        ["a\n"],
        ["x" * 64],
        ["é"],
        ["\u212aeeper"],  # the Kelvin sign, whose lower case is k
        [f"t{number}" for number in range(51)],
    ],
)
def test_it_refuses_bad_tags(tags: object) -> None:
    with pytest.raises(InvalidTag) as caught:
        validate_tags(tags)
    assert caught.value.field == "tags"


@given(st.text("aZ0_.+=@-/ \n\x00é", max_size=8))
def test_it_takes_what_its_rule_says_and_nothing_else(name: str) -> None:
    allowed = set(string.ascii_letters + string.digits + "_.+=@-")
    if all(part and part not in {".", ".."} and set(part) <= allowed for part in name.split("/")):
        assert validate_secret_name(name) == name
    else:
        with pytest.raises(InvalidName):
            validate_secret_name(name)
