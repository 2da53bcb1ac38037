"""What Okta and Entra send, word by word as their documents show it, and what it leads to here."""

from typing import Any
from urllib.parse import urlencode

import pytest
from django.test import Client

from environments_app.models import Departure, GroupMember, ProvisionedUser, User
from environments_app.tests.cast import Cast
from gateway_app.scim.schema import GROUP as GROUP_KIND
from gateway_app.scim.schema import MESSAGES
from tests.people.test_scim import Scim

pytestmark = pytest.mark.django_db

ID, GROUP, BASE = "{id}", "{group}", "/scim/v2"
OKTA_USER = (
    '{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"test.user@okta.local",'
    '"name":{"givenName":"Test","familyName":"User"},"emails":[{"primary":true,"value":"test.user@okta.local",'
    '"type":"work"}],"displayName":"Test User","locale":"en-US","externalId":"00ujl29u0le5T6Aj10h7","groups":[],'
    '"password":"1mz050nq","active":true}'
)
OKTA_PUT = (
    '{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"id":"{id}","userName":"%s",'
    '"name":{"givenName":"Another","middleName":"","familyName":"User"},"emails":[{"primary":true,'
    '"value":"test.user@okta.local","type":"work","display":"test.user@okta.local"}],"active":%s,"groups":[],'
    '"meta":{"resourceType":"User"}}'
)
OKTA_PATCH = '{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[%s]}'
OKTA_GROUP = (
    '{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"Test SCIMv2","members":'
    '[{"value":"{id}","display":"test.user@okta.local"}]}'
)
# A custom application is created without an external ID by PUT, and the whole of it is sent each time.
OKTA_AIW = [
    ("get", "/Users?startIndex=1&count=2", None, 200),
    ("get", "/Users?filter=userName%20eq%20%22test.user%40okta.local%22&startIndex=1&count=100", None, 200),
    ("post", "/Users", OKTA_USER, 201),
    ("put", "/Users/{id}", OKTA_PUT % ("test.user@okta.local", "true"), 200),
    ("put", "/Users/{id}", OKTA_PUT % ("renamed.user@okta.local", "true"), 200),
    ("get", "/Groups?startIndex=1&count=100", None, 200),
    ("post", "/Groups", OKTA_GROUP, 201),
    ("patch", "/Groups/{group}", OKTA_PATCH % '{"op":"replace","value":{"id":"{group}","displayName":"Platform"}}', 200),
    ("patch", "/Groups/{group}", OKTA_PATCH % '{"op":"remove","path":"members[value eq \\"{id}\\"]"}', 200),
    ("patch", "/Groups/{group}",
     OKTA_PATCH % '{"op":"add","path":"members","value":[{"value":"{id}","display":"test.user@okta.local"}]}', 200),
    ("put", "/Users/{id}", OKTA_PUT % ("renamed.user@okta.local", "false"), 200),
]  # fmt: skip
OKTA_OIN = [
    *OKTA_AIW[:3],
    ("get", "/Users/{id}", None, 200),
    *OKTA_AIW[4:-1],
    ("patch", "/Users/{id}", OKTA_PATCH % '{"op":"replace","value":{"active":false}}', 200),
]
ENTRA_USER = (
    '{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User",'
    '"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"],"externalId":"0a21f0f2-8d2a-4f8e-bf98-7363c4aed4ef",'
    '"userName":"Test_User_ab6490ee-1e48-479e-a20b-2d77186b5dd1","active":true,"emails":[{"primary":true,'
    '"type":"work","value":"Test_User_fd0ea19b-0777-472c-9f96-4f70d2226f2e@testuser.com"}],'
    '"meta":{"resourceType":"User"},"name":{"formatted":"givenName familyName","familyName":"familyName",'
    '"givenName":"givenName"},"roles":[]}'
)
ENTRA_GROUP = (
    '{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group",'
    '"http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group"],'
    '"externalId":"8aa1a0c0-c4c3-4bc0-b4a5-2ef676900159","displayName":"displayName","meta":{"resourceType":"Group"}}'
)
_UPDATE = (
    '{"op":"Replace","path":"emails[type eq \\"work\\"].value","value":"updatedEmail@microsoft.com"},'
    '{"op":"Replace","path":"name.familyName","value":"updatedFamilyName"},'
    '{"op":"Add","path":"nickName","value":"Babs"},'
    '{"op":"Add","path":"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department","value":"R"}'
)


def entra(rename: str, disable: str) -> list[tuple[str, str, str | None, int]]:
    return [
        ("get", "/Users?filter=externalId%20eq%20%22jyoung%22", None, 200),
        ("get", "/Users?filter=userName+eq+%22Test_User_dfeef4c5-5681-4387-b016-bdf221e82081%22", None, 200),
        ("post", "/Users", ENTRA_USER, 201),
        ("get", "/Users/{id}", None, 200),
        ("get", "/Users?filter=emails%5Btype%20eq%20%22work%22%5D.value%20eq%20%22x%40y.z%22", None, 200),
        ("patch", "/Users/{id}", OKTA_PATCH % _UPDATE, 200),
        ("patch", "/Users/{id}", OKTA_PATCH % rename, 200),
        ("post", "/Groups", ENTRA_GROUP, 201),
        ("get", "/Groups/{group}?excludedAttributes=members", None, 200),
        ("get", "/Groups?excludedAttributes=members&filter=displayName%20eq%20%22displayName%22", None, 200),
        ("patch", "/Groups/{group}",
         OKTA_PATCH % '{"op":"Replace","path":"displayName","value":"1879db59-3bdf-4490-ad68-ab880a269474"}', 204),
        ("patch", "/Groups/{group}",
         OKTA_PATCH % '{"op":"Add","path":"members","value":[{"$ref":null,"value":"{id}"}]}', 204),
        ("get", "/Groups?filter=id%20eq%20%22{group}%22%20and%20members%20eq%20%22{id}%22", None, 200),
        ("patch", "/Groups/{group}",
         OKTA_PATCH % '{"op":"Remove","path":"members","value":[{"$ref":null,"value":"{id}"}]}', 204),
        ("patch", "/Groups/{group}",
         OKTA_PATCH % '{"op":"Add","path":"members","value":[{"$ref":null,"value":"{id}"}]}', 204),
        ("patch", "/Users/{id}", OKTA_PATCH % disable, 200),
    ]  # fmt: skip


ENTRA_DEFAULT = entra(
    '{"op":"Replace","path":"userName","value":"5b50642d-79fc-4410-9e90-4c077cdd1a59@testuser.com"}',
    '{"op":"Replace","path":"active","value":"False"}',
)
# With ?aadOptscim062020 at the tenant URL.
ENTRA_FLAG = entra(
    '{"op":"replace","value":{"userName":"5b50642d-79fc-4410-9e90-4c077cdd1a59@testuser.com","name.givenName":"K",'
    '"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:employeeNumber":"1"}}',
    '{"op":"replace","path":"active","value":false}',
)


@pytest.mark.parametrize(
    ("preset", "conversation", "user_name"),
    [
        pytest.param("okta", OKTA_OIN, "renamed.user@okta.local", id="okta-catalogue"),
        pytest.param("okta", OKTA_AIW, "renamed.user@okta.local", id="okta-custom"),
        pytest.param("entra", ENTRA_DEFAULT, "5b50642d-79fc-4410-9e90-4c077cdd1a59@testuser.com", id="entra"),
        pytest.param(
            "entra", ENTRA_FLAG, "5b50642d-79fc-4410-9e90-4c077cdd1a59@testuser.com", id="entra-flag"
        ),
    ],
)
def test_a_conversation_ends_in_the_expected_rows(
    cast: Cast, preset: str, conversation: list[tuple[str, str, str | None, int]], user_name: str
) -> None:
    scim = Scim(cast, name=preset.title(), preset=preset)
    known = {"id": "", "group": ""}

    def said(text: str) -> str:
        return text.replace("{id}", known["id"]).replace("{group}", known["group"])

    def call(method: str, path: str, body: str | None) -> Any:
        flag = ("&" if "?" in path else "?") + "aadOptscim062020" if conversation is ENTRA_FLAG else ""
        more: dict[str, Any] = (
            {} if body is None else {"data": said(body), "content_type": "application/scim+json"}
        )
        own = {"authorization": f"Bearer {scim.text}"}
        return getattr(Client(), method)(f"{BASE}{said(path)}{flag}", headers=own, **more)

    for method, path, body, status in conversation:
        answer = call(method, path, body)
        assert answer.status_code == status, (method, path, answer.content)
        if status == 201:
            known["id" if path == "/Users" else "group"] = answer.json()["id"]
    row = ProvisionedUser.objects.get()
    user = User.objects.get(pk=row.user_id)
    assert (row.user_name, user.is_active, user.has_usable_password()) == (user_name, False, False)
    assert Departure.objects.get(kind="left").ended_by_name == preset.title()
    assert not GroupMember.objects.exists()
    # Assigned again: the provider enables, and pushes the groups.
    active = "true" if preset == "okta" else '"True"'
    again = OKTA_PATCH % '{"op":"Replace","path":"active","value":%s}' % active
    assert call("patch", "/Users/{id}", again).json()["active"] is True
    add = OKTA_PATCH % '{"op":"Add","path":"members","value":[{"value":"{id}"}]}'
    assert call("patch", "/Groups/{group}", add).status_code in {200, 204}
    user.refresh_from_db()
    assert (user.is_active, GroupMember.objects.get().user) == (True, user)


# How Okta and Entra look for what they are about to create, and test a connection.
FINDING = [
    ("/Users", 'userName eq "bea@example.com"', 1),
    ("/Users", 'userName eq "BEA@EXAMPLE.COM"', 1),
    ("/Users", 'urn:ietf:params:scim:schemas:core:2.0:User:userName eq "bea@example.com"', 1),
    ("/Users", 'externalId eq "0a21f0f2-8d2a"', 1),
    ("/Users", 'externalId eq "0A21F0F2-8D2A"', 0),
    ("/Users", 'emails eq "bea@example.com"', 1),
    ("/Users", 'emails.value eq "Bea@Example.com"', 1),
    ("/Users", 'emails[type eq "work"].value eq "bea@example.com"', 1),
    ("/Users", 'emails[type eq "home"].value eq "bea@example.com"', 0),
    ("/Users", 'emails[type eq "work" and primary eq true].value eq "bea@example.com"', 1),
    ("/Users", 'emails eq "nobody@example.com"', 0),
    ("/Users", 'userName eq "bea@example.com" and emails eq "bea@example.com"', 1),
    ("/Users", 'userName eq "bea@example.com" or emails eq "cid@example.com"', 2),
    ("/Users", 'displayName eq "Bea Berg"', 1),
    ("/Users", 'name.familyName eq "berg"', 1),
    ("/Users", "active eq true", 2),
    ("/Users", 'active eq "False"', 0),
    ("/Users", 'id eq "{id}"', 1),
    ("/Users", 'userName eq "2f0c1d6e-6ad5-4f2b-9f0e-3a7a6b6f0f3c"', 0),
    ("/Users", 'groups.value eq "{group}"', 1),
    ("/Groups", 'displayName eq "Platform"', 1),
    ("/Groups", 'displayName eq "platform"', 1),
    ("/Groups", 'externalId eq "8aa1a0c0"', 1),
    ("/Groups", 'members.value eq "{id}"', 1),
    ("/Groups", 'members eq "{id}"', 1),
    ("/Groups", 'members[value eq "{id}"]', 1),
    ("/Groups", 'id eq "{group}" and members eq "{id}"', 1),
    ("/Groups", 'id eq "{group}" and members[value eq "{id}"]', 1),
]


def test_each_way_to_find_finds(cast: Cast) -> None:
    scim = Scim(cast)
    work = {"emails": [{"primary": True, "type": "work", "value": "bea@example.com"}]}
    named = {"displayName": "Bea Berg", "name": {"givenName": "Bea", "familyName": "Berg"}, "active": True}
    bea, _ = scim.created("bea@example.com", externalId="0a21f0f2-8d2a", **work, **named)
    scim.created("cid@example.com", active=True, emails=["cid@example.com"])
    body = {"displayName": "Platform", "externalId": "8aa1a0c0", "members": [{"value": bea}]}
    group = scim.call("post", "/Groups", {"schemas": [GROUP_KIND.urn], **body}).json()["id"]

    def found(path: str, text: str) -> int:
        asked = text.replace("{id}", bea).replace("{group}", group)
        answer = scim.call("get", f"{path}?{urlencode({'filter': asked, 'startIndex': 1, 'count': 100})}")
        assert answer.status_code == 200, (text, answer.content)
        posted = {"schemas": [f"{MESSAGES}SearchRequest"], "filter": asked}
        assert (
            scim.call("post", f"{path}/.search", posted).json()["totalResults"]
            == answer.json()["totalResults"]
        )
        return int(answer.json()["totalResults"])

    assert [(path, text, found(path, text)) for path, text, _ in FINDING] == FINDING


def test_what_okta_sends_with_each_push_and_entra_for_an_empty_address(cast: Cast) -> None:
    scim = Scim(cast)
    bea, _ = scim.created("bea@example.com", emails=["bea@example.com"])
    cid, _ = scim.created("cid@example.com")
    body = {"schemas": [GROUP_KIND.urn], "displayName": "Platform", "members": [{"value": bea}]}
    group = scim.call("post", "/Groups", body).json()["id"]

    def patched(path: str, *operations: Any) -> Any:
        return scim.call("patch", path, {"schemas": [f"{MESSAGES}PatchOp"], "Operations": list(operations)})

    every = [{"value": bea}, {"value": cid, "display": "cid@example.com"}, {"value": cid}]
    assert (
        patched(f"/Groups/{group}", {"op": "replace", "path": "members", "value": every}).status_code == 200
    )
    assert GroupMember.objects.count() == 2
    other = {"op": "replace", "value": {"id": bea, "displayName": "Elsewhere"}}
    answer = patched(f"/Groups/{group}", other)
    assert (answer.status_code, answer.json()["scimType"]) == (400, "mutability")
    emptied = patched(f"/Users/{bea}", {"op": "Replace", "path": "emails", "value": [{"value": ""}]})
    assert (emptied.status_code, "emails" in emptied.json()) == (200, False)
    again = patched(
        f"/Users/{bea}", {"op": "Replace", "path": 'emails[type eq "work"].value', "value": "b@example.com"}
    )
    assert again.json()["emails"] == [{"type": "work", "value": "b@example.com"}]
