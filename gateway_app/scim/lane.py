"""The protocol SCIM (/scim/v2): its addresses, and its part of the OpenAPI document."""

from typing import Final

from django.urls import path
from django.views import View

from gateway_app.protocol import ANY, TEXT, Document, Protocol, answer, content, list_of, object_of
from gateway_app.scim import groups, search, users
from gateway_app.scim.answers import MEDIA_TYPE
from gateway_app.scim.views import AbsentView, ConfigView, OtherPathView, ResourceTypesView, SchemasView

TAG: Final = "SCIM 2.0"
_ABSENT: Final = frozenset({"scim-me", "scim-bulk", "scim-other"})
_BODIES: Final = frozenset({"post", "put", "patch"})
_RESOURCE: Final = {"type": "object", "additionalProperties": True, "description": "RFC 7643."}
COMPONENTS: Final = {
    "schemas": {
        "ScimError": object_of(
            "schemas", "status", schemas=list_of(TEXT), status=TEXT, scimType=TEXT, detail=TEXT
        )
    }
}


def describe(name: str, _view: type[View], method: str) -> Document:
    """Return what the document states of a route and a method."""
    described: Document = {
        "tags": [TAG],
        "responses": {
            "200": answer(MEDIA_TYPE, _RESOURCE),
            "default": answer(MEDIA_TYPE, {"$ref": "#/components/schemas/ScimError"}, "The refusal."),
        },
    }
    if method == "delete" or name in _ABSENT:
        del described["responses"]["200"]
    if method == "delete":
        described["responses"]["204"] = {"description": "It is deleted."}
    if method in _BODIES and name not in _ABSENT:
        described["requestBody"] = {"required": True, **content(MEDIA_TYPE, ANY)}
    return described


urlpatterns = [
    path("v2/ServiceProviderConfig", ConfigView.as_view(), name="scim-config"),
    path("v2/ResourceTypes", ResourceTypesView.as_view(), name="scim-resource-types"),
    path("v2/ResourceTypes/<str:name>", ResourceTypesView.as_view(), name="scim-resource-type"),
    path("v2/Schemas", SchemasView.as_view(), name="scim-schemas"),
    path("v2/Schemas/<str:name>", SchemasView.as_view(), name="scim-schema"),
    path("v2/Users", users.UsersView.as_view(), name="scim-users"),
    path("v2/Users/.search", search.SearchUsersView.as_view(), name="scim-users-search"),
    path("v2/.search", search.SearchView.as_view(), name="scim-search"),
    path("v2/Users/<str:id>", users.UserView.as_view(), name="scim-user"),
    path("v2/Groups", groups.GroupsView.as_view(), name="scim-groups"),
    path("v2/Groups/.search", search.SearchGroupsView.as_view(), name="scim-groups-search"),
    path("v2/Groups/<str:id>", groups.GroupView.as_view(), name="scim-group"),
    path("v2/Me", AbsentView.as_view(), name="scim-me"),
    path("v2/Bulk", AbsentView.as_view(), name="scim-bulk"),
    path("<path:path>", OtherPathView.as_view(), name="scim-other"),
]
SCIM: Final = Protocol("scim/", urlpatterns, (), describe, COMPONENTS)
