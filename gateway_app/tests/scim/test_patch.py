"""PATCH in the forms that providers send, and what is refused before anything is applied."""

from typing import Any

import pytest

from gateway_app.scim.patch import MAX_ADDED, MAX_REPLACED, patched
from gateway_app.scim.schema import GROUP, MESSAGES, USER, ScimError, cleaned, validated

ALICE = {
    "id": "a1",
    "externalId": "00u1",
    "userName": "alice@example.com",
    "name": {"givenName": "Alice", "familyName": "Berg"},
    "emails": [{"value": "alice@example.com", "type": "work", "primary": True}],
    "active": True,
}


def patch(*operations: Any, resource: dict[str, Any] = ALICE) -> dict[str, Any]:
    return patched(USER, resource, {"schemas": [f"{MESSAGES}PatchOp"], "Operations": list(operations)})


def refused(*operations: Any) -> str:
    with pytest.raises(ScimError) as caught:
        patch(*operations)
    return caught.value.kind


@pytest.mark.parametrize(
    ("operation", "name", "expected"),
    [
        ({"op": "replace", "value": {"active": False}}, "active", False),
        ({"op": "Replace", "path": "active", "value": "False"}, "active", False),
        ({"op": "replace", "path": "active", "value": [False]}, "active", False),
        ({"op": "REPLACE", "path": "ACTIVE", "value": "true"}, "active", True),
        ({"op": "Replace", "path": "userName", "value": "new@b.c"}, "userName", "new@b.c"),
        ({"op": "add", "value": {"name.givenName": "K"}}, "name", {"givenName": "K", "familyName": "Berg"}),
        ({"op": "remove", "path": "name.givenName"}, "name", {"familyName": "Berg"}),
        ({"op": "remove", "path": "name"}, "name", None),
        ({"op": "replace", "path": f"{USER.urn}:displayName", "value": "B"}, "displayName", "B"),
        ({"op": "add", "path": "displayName", "value": ["B"]}, "displayName", "B"),
        ({"op": "replace", "value": {"id": "a1", "displayName": "B"}}, "displayName", "B"),
    ],
)
def test_the_forms_that_providers_send(operation: dict[str, Any], name: str, expected: object) -> None:
    result = patch(operation)
    assert result.get(name) == expected
    untouched = {key: value for key, value in ALICE.items() if key not in {"id", name}}
    assert {key: result.get(key) for key in untouched} == untouched


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "Add", "path": "nickName", "value": "Babs"},
        {"op": "replace", "path": "password", "value": "let-me-in"},
        {"op": "add", "path": "roles", "value": [{"value": "admin"}]},
        {"op": "add", "path": "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department", "value": "x"},
        {"op": "replace", "value": {"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:employeeNumber": "1"}},
        {"op": "remove", "path": "displayName"},
    ],
)  # fmt: skip
def test_what_is_not_announced_is_dropped(operation: dict[str, Any]) -> None:
    assert patch(operation) == validated(USER, ALICE)


def test_emails_in_the_ways_of_entra() -> None:
    path = 'emails[type eq "work"].value'
    changed = patch({"op": "Replace", "path": path, "value": "a@b.c"})
    assert changed["emails"] == [{"value": "a@b.c", "type": "work", "primary": True}]
    none = {key: value for key, value in ALICE.items() if key != "emails"}
    made = patch({"op": "Replace", "path": path, "value": "a@b.c"}, resource=none)
    assert made["emails"] == [{"type": "work", "value": "a@b.c"}]
    assert "emails" not in patch({"op": "replace", "path": "emails", "value": [{"value": ""}]})
    home = {"value": "home@b.c", "type": "home", "primary": True}
    both = patch({"op": "add", "path": "emails", "value": [home]})
    assert [each["primary"] for each in both["emails"]] == [False, True]
    later = patch(
        {"op": "add", "path": "emails", "value": [{**home, "primary": False}]},
        {"op": "replace", "path": 'emails[type eq "home"].primary', "value": True},
    )
    assert later["emails"] == both["emails"]
    assert patch({"op": "remove", "path": 'emails[type eq "work"]'}).get("emails") is None
    assert (
        patch({"op": "remove", "path": "emails", "value": [{"value": "ALICE@example.com"}]}).get("emails")
        is None
    )


@pytest.mark.parametrize(
    ("operation", "kind"),
    [
        ({"op": "replace", "path": "active", "value": "no"}, "invalidValue"),
        ({"op": "replace", "path": "active", "value": 0}, "invalidValue"),
        ({"op": "replace", "path": "userName", "value": ""}, "invalidValue"),
        ({"op": "replace", "path": "userName", "value": "a\x00b"}, "invalidValue"),
        ({"op": "replace", "path": "userName", "value": "a" * 256}, "invalidValue"),
        ({"op": "replace", "path": "name", "value": "Alice"}, "invalidValue"),
        ({"op": "replace", "path": "displayName", "value": ["a", "b"]}, "invalidValue"),
        ({"op": "add", "path": "displayName"}, "invalidValue"),
        ({"op": "remove", "path": "userName"}, "mutability"),
        ({"op": "replace", "path": "id", "value": "another"}, "mutability"),
        ({"op": "remove", "path": "id"}, "mutability"),
        ({"op": "replace", "path": "meta", "value": {"created": "now"}}, "mutability"),
        ({"op": "remove"}, "noTarget"),
        ({"op": "replace", "path": "emails[", "value": "x"}, "invalidPath"),
        ({"op": "replace", "path": 'userName[value eq "x"]', "value": "x"}, "invalidPath"),
        ({"op": "replace", "path": "userName.first", "value": "x"}, "invalidPath"),
        ({"op": "replace", "path": 'emails[type eq "work"', "value": "x"}, "invalidPath"),
        ({"op": "replace", "path": "emails[type eq work].value", "value": "x"}, "invalidFilter"),
        ({"op": "replace", "path": {"a": 1}, "value": "x"}, "invalidPath"),
        ({"op": "replace", "value": "x"}, "invalidValue"),
        ({"op": "move", "path": "active", "value": True}, "invalidSyntax"),
        ("remove", "invalidSyntax"),
    ],
)  # fmt: skip
def test_what_is_refused(operation: Any, kind: str) -> None:
    assert refused({"op": "replace", "path": "displayName", "value": "B"}, operation) == kind


def test_operations_are_limited() -> None:
    one = {"op": "replace", "path": "displayName", "value": "B"}
    assert patch(*[one] * 200)["displayName"] == "B"
    assert refused(*[one] * 201) == "tooMany"
    assert refused() == "invalidSyntax"
    emails = [{"value": f"{number}@b.c"} for number in range(1001)]
    assert refused({"op": "add", "path": "emails", "value": emails}) == "tooMany"
    assert refused({"op": "add", "path": "emails", "value": emails[:21]}) == "invalidValue"


def test_a_put_takes_its_attributes_in_any_case_and_drops_the_rest() -> None:
    sent = {
        "schemas": [USER.urn], "USERNAME": "a", "password": "x", "groups": [], "roles": [], "id": "other",
        "meta": {"resourceType": "User"}, "emails": "a@b.c", "name": None,
    }  # fmt: skip
    assert cleaned(USER, sent) == {"userName": "a", "emails": [{"value": "a@b.c"}]}
    wrongs: list[Any] = [
        [],
        "x",
        {"userName": "a"},
        {"schemas": USER.urn, "userName": "a"},
        {"schemas": [USER.urn]},
    ]
    for wrong in wrongs:
        with pytest.raises(ScimError):
            cleaned(USER, wrong)


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        "text",
        {},
        {"Operations": [{"op": "remove", "path": "name"}]},
        {"schemas": [], "Operations": [{"op": "remove", "path": "name"}]},
        {"schemas": f"{MESSAGES}PatchOp", "Operations": [{"op": "remove", "path": "name"}]},
        {"schemas": [f"{MESSAGES}PatchOp"]},
        {"schemas": [f"{MESSAGES}PatchOp"], "Operations": []},
        {"schemas": [f"{MESSAGES}PatchOp"], "Operations": {"op": "remove", "path": "name"}},
    ],
    ids=str,
)
def test_what_is_no_list_of_operations_is_refused(body: Any) -> None:
    with pytest.raises(ScimError) as caught:
        patched(USER, ALICE, body)
    assert caught.value.kind == "invalidSyntax"


def test_names_count_in_any_case_and_with_blanks_around() -> None:
    assert patch({"OP": "replace", "Path": " displayName ", "VALUE": "B"})["displayName"] == "B"
    assert (
        patch({"op": "replace", "path": USER.urn.upper(), "value": {"displayName": "B"}})["displayName"]
        == "B"
    )
    assert patch({"op": "add", "path": "SCHEMAS", "value": ["x"]}) == validated(USER, ALICE)


def test_a_path_of_a_part_that_is_not_known_changes_nothing() -> None:
    assert patch({"op": "add", "path": "name.nickname", "value": "A"}) == validated(USER, ALICE)


def test_a_path_has_an_end() -> None:
    assert refused({"op": "add", "path": "displayName" + " " * 4_000, "value": "x"}) == "invalidPath"
    assert refused({"op": "add", "path": 5, "value": "x"}) == "invalidPath"


def test_an_object_keeps_the_parts_that_are_not_named() -> None:
    changed = patch({"op": "replace", "path": "name", "value": {"givenName": "K"}})
    assert changed["name"] == {"givenName": "K", "familyName": "Berg"}
    bare = {key: value for key, value in ALICE.items() if key != "name"}
    assert patch({"op": "add", "path": "name.givenName", "value": "K"}, resource=bare)["name"] == {
        "givenName": "K"
    }
    made = patch({"op": "add", "path": "name", "value": {"givenName": "K"}}, resource=bare)
    assert made["name"] == {"givenName": "K"}


def test_what_is_required_is_neither_removed_nor_emptied() -> None:
    for name in ("userName", "active"):
        assert refused({"op": "remove", "path": name}) == "mutability"
        assert refused({"op": "replace", "path": name, "value": None})


TWO: dict[str, Any] = {
    **ALICE,
    "emails": [
        {"value": "alice@example.com", "type": "work", "primary": True},
        {"value": "a@home.net", "type": "home"},
    ],
}


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        ({"op": "remove", "path": 'emails[type eq "home"]'}, {"work": "alice@example.com"}),
        (
            {"op": "remove", "path": 'emails[type eq "none"]'},
            {"work": "alice@example.com", "home": "a@home.net"},
        ),
        ({"op": "remove", "path": "emails"}, {}),
        (
            {"op": "remove", "path": "emails", "value": [{"value": "a@home.net"}]},
            {"work": "alice@example.com"},
        ),
        (
            {"op": "replace", "path": 'emails[type eq "home"].value', "value": "new@home.net"},
            {"work": "alice@example.com", "home": "new@home.net"},
        ),
        # Named by the filter, it is made.
        (
            {"op": "add", "path": 'emails[type eq "other"].value', "value": "o@b.c"},
            {"work": "alice@example.com", "home": "a@home.net", "other": "o@b.c"},
        ),
        (
            {"op": "replace", "path": "emails", "value": [{"value": "x@b.c", "type": "work"}]},
            {"work": "x@b.c"},
        ),
    ],
    ids=str,
)
def test_a_filter_chooses_the_elements(operation: dict[str, Any], expected: dict[str, str]) -> None:
    result = patch(operation, resource=TWO)
    assert {each["type"]: each["value"] for each in result.get("emails") or []} == expected


def test_one_element_is_the_primary_one() -> None:
    made = patch(
        {"op": "add", "path": "emails", "value": [{"value": "b@b.c", "type": "other", "primary": True}]},
        resource=TWO,
    )
    assert [each["value"] for each in made["emails"] if each.get("primary")] == ["b@b.c"]
    made = patch({"op": "replace", "path": 'emails[type eq "home"].primary', "value": True}, resource=TWO)
    assert [each["value"] for each in made["emails"] if each.get("primary")] == ["a@home.net"]


def test_what_is_not_required_is_emptied_by_null() -> None:
    named = {**ALICE, "displayName": "A"}
    assert (
        patch({"op": "replace", "path": "displayName", "value": None}, resource=named).get("displayName")
        is None
    )


def test_a_part_is_removed_of_the_elements_that_fit() -> None:
    result = patch({"op": "remove", "path": 'emails[type eq "home"].type'}, resource=TWO)
    assert [each.get("type") for each in result["emails"]] == ["work", None]
    result = patch({"op": "replace", "path": "emails.type", "value": "other"}, resource=TWO)
    assert [each.get("type") for each in result["emails"]] == ["other", "other"]


def test_to_take_the_primary_mark_from_one_leaves_the_other() -> None:
    result = patch({"op": "replace", "path": 'emails[type eq "home"].primary', "value": False}, resource=TWO)
    assert [each["value"] for each in result["emails"] if each.get("primary")] == ["alice@example.com"]


@pytest.mark.parametrize(("op", "most"), [("add", MAX_ADDED), ("replace", MAX_REPLACED)])
def test_an_operation_brings_so_many_members(op: str, most: int) -> None:
    group = {"id": "g1", "displayName": "ops", "members": []}

    def brought(count: int) -> Any:
        members = [{"value": f"u{number}"} for number in range(count)]
        body = {
            "schemas": [f"{MESSAGES}PatchOp"],
            "Operations": [{"op": op, "path": "members", "value": members}],
        }
        return patched(GROUP, group, body)

    assert len(brought(most)["members"]) == most
    with pytest.raises(ScimError) as caught:
        brought(most + 1)
    assert caught.value.kind == "tooMany"


def test_a_member_that_is_not_there_is_not_made_by_a_filter() -> None:
    group = {"id": "g1", "displayName": "ops", "members": [{"value": "u1"}]}
    operation = {"op": "replace", "path": 'members[value eq "u2"]', "value": {"value": "u2"}}
    with pytest.raises(ScimError) as caught:
        patched(GROUP, group, {"schemas": [f"{MESSAGES}PatchOp"], "Operations": [operation]})
    assert caught.value.kind == "noTarget"
