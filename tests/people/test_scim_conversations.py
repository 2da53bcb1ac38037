"""What Okta and Entra send, word by word as their documents show it, and what it leads to here."""

from typing import Any

import pytest
from django.test import Client

from environments_app.models import Departure, GroupMember, ProvisionedUser, User
from environments_app.tests.cast import Cast
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
