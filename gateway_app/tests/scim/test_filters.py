"""Filters: the grammar of RFC 7644, and what a hostile one is refused for."""

import pytest

from gateway_app.scim.filters import MAX_LENGTH, fits, names, parsed, parsed_inside, terms
from gateway_app.scim.schema import USER, ScimError

ALICE = {
    "id": "A1",
    "externalId": "00u1",
    "userName": "Alice@Example.com",
    "name": {"givenName": "Alice"},
    "emails": [{"value": "alice@example.com", "type": "work"}, {"value": "a@home.net", "type": "home"}],
    "active": True,
    "meta": {"created": "2026-11-30T10:02:31.000Z"},
}


@pytest.mark.parametrize(
    "text",
    [
        'userName eq "alice@example.com"',
        'USERNAME EQ "ALICE@EXAMPLE.COM"',
        'externalId eq "00u1"',
        'urn:ietf:params:scim:schemas:core:2.0:User:userName sw "alice"',
        'emails[type eq "work"].value eq "alice@example.com"',
        'emails[type eq "work" and value co "@example"]',
        'emails.value ew "home.net"',
        'emails eq "a@home.net"',
        'emails.type pr and not (emails.type eq "other")',
        "active eq true",
        'active eq "True"',
        "displayName eq null",
        'displayName ne "B"',
        "not (displayName pr)",
        'userName eq "x" or name.givenName eq "alice" and active eq true',
        '(userName eq "x" or name.givenName eq "alice") and active eq true',
        'meta.created gt "2026-11-30T10:00:00Z" and meta.created le "2026-11-30T11:02:31+01:00"',
        'id eq "A1"',
        # The first of two that are joined by or, and a value that ends in blanks.
        'userName sw "alice" or userName sw "bob"  ',
        'urn:ietf:params:scim:schemas:core:2.0:User:USERNAME sw "alice"',
        "NOT (active eq false) AND active eq TRUE",
        # By the moment, however it is written.
        'meta.created eq "2026-11-30T11:02:31+01:00"',
        "emails pr",
        "meta.created ne null",
    ],
)
def test_it_fits(text: str) -> None:
    assert fits(parsed(text, USER), ALICE)


@pytest.mark.parametrize(
    "text",
    [
        'userName eq "alice"',
        'externalId eq "00U1"',
        'id eq "a1"',
        'emails[type eq "work" and value ew "home.net"]',
        "active eq false",
        "displayName pr",
        'displayName gt "a"',
        'userName ne "alice@example.com"',
        'meta.created lt "2026-11-30T10:00:00Z"',
        "emails.value eq null",
        "userName eq null",
        'userName sw "x" or userName sw "y"',
        'meta.created ne "2026-11-30T11:02:31+01:00"',
    ],
)
def test_it_does_not_fit(text: str) -> None:
    assert not fits(parsed(text, USER), ALICE)


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "userName", "userName eq", "userName eq alice", 'userName is "x"', 'eq "x"', 'userName eq "x',
        '(userName eq "x"', 'userName eq "x")', 'userName eq "x" and', 'not userName eq "x"', "password pr",
        'groups.password eq "x"', 'userName.first eq "x"', 'name eq "x"', 'userName[value eq "x"]',
        'emails[emails[type eq "x"]]', "active gt true", 'active eq "maybe"', 'meta.created eq "soon"',
        'meta.created co "2026"', "userName eq 1", 'userName eq "\\ud800"', 'userName eq "a\\u0000"',
        'urn:example:User:userName eq "x"', 'userName eq "x" userName eq "y"', "'; DROP TABLE users; --",
        "(" * 11 + 'userName eq "x"' + ")" * 11, "(" * 1900, 'userName eq "' + "x" * 2000 + '"',
        "not (" * 12 + "active eq true" + ")" * 12, "userName sw null", 'meta.created gt "2026-11-30T10:00:00"',
    ],
    ids=str.__len__,
)  # fmt: skip
def test_it_is_refused(text: str) -> None:
    with pytest.raises(ScimError) as caught:
        parsed(text, USER)
    assert caught.value.kind == "invalidFilter"


def test_brackets_beside_each_other_are_not_nested() -> None:
    assert fits(parsed(" and ".join(["(userName pr)"] * 20), USER), ALICE)


@pytest.mark.parametrize(
    "text", ['name[givenName eq "x"]', 'emails.value[type eq "x"]', 'emails[type[value eq "x"]]']
)
def test_what_has_no_elements_is_not_filtered_by_them(text: str) -> None:
    with pytest.raises(ScimError, match="no elements"):
        parsed(text, USER)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('urn:ietf:params:scim:schemas:core:2.0:Group:displayName eq "x"', "schema that is not announced"),
        ("userName eq maybe", "quotation marks"),
        ('(eq "x")', "no attribute where one is expected|no attribute that can"),
        ('"userName" eq "x"', "names no attribute where one is expected"),
        ("meta.created eq 5", "cannot be compared"),
        ('meta.created sw "2026-11-30T10:00:00Z"', "cannot be compared"),
        ('name eq "x"', "Name a part of name"),
    ],
)
def test_a_refusal_names_what_is_wrong(text: str, words: str) -> None:
    with pytest.raises(ScimError, match=words):
        parsed(text, USER)


def test_the_longest_and_the_deepest_filter_are_read() -> None:
    longest = 'userName eq "' + "x" * (MAX_LENGTH - 14) + '"'
    assert len(longest) == MAX_LENGTH
    assert not fits(parsed(longest, USER), ALICE)
    with pytest.raises(ScimError, match="at most"):
        parsed(f"{longest} ", USER)
    assert fits(parsed("(" * 9 + "active eq true" + ")" * 9, USER), ALICE)


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ('userName eq "x"', {"userName"}),
        ('userName eq "x" and externalId pr', {"userName", "externalId"}),
        ('not (userName eq "x") or active eq true', {"userName", "active"}),
    ],
)
def test_a_filter_names_each_attribute_that_it_asks_for(text: str, asked: set[str]) -> None:
    assert names(parsed(text, USER)) == asked


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('type eq "work"', {"type": "work"}),
        ('type eq "work" and value eq "a@b.c"', {"type": "work", "value": "a@b.c"}),
        # None of these says what an element is.
        ('type ne "work"', {}),
        ('type eq "work" or type eq "home"', {}),
        ("type eq null", {}),
        ("type pr", {}),
        ('not (type eq "work")', {}),
    ],
)
def test_an_element_is_made_of_what_a_filter_says_that_it_is(text: str, expected: dict[str, str]) -> None:
    emails = USER.attribute("emails")
    assert emails
    found = terms(parsed_inside(text, USER, emails))
    assert {attribute.name: value for attribute, value in found} == expected


def test_what_a_resource_does_not_have_fits_nothing() -> None:
    bare = {"userName": "bob"}
    assert not fits(parsed('emails[type eq "work"]', USER), bare)
    assert not fits(parsed('emails eq "x"', USER), bare)
    assert not fits(parsed('meta.created gt "2026-11-30T10:00:00Z"', USER), bare)
