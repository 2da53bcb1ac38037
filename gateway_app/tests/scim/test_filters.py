"""Filters: the grammar of RFC 7644, and what a hostile one is refused for."""

import pytest

from gateway_app.scim.filters import fits, parsed
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
