"""The documents of the protocol: errors, lists, what Keeper can do, and its schemas."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from django.http import HttpRequest, HttpResponse

from core.http.json import JsonRenderer
from gateway_app.scim.schema import KINDS, MESSAGES, Kind, Resource, ScimError

MEDIA_TYPE: Final = "application/scim+json"
MAX_RESULTS: Final = 200
_CONFIG: Final = "urn:ietf:params:scim:schemas:core:2.0:"


def respond(body: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> HttpResponse:
    """Return a response with a document of the protocol."""
    return HttpResponse(
        JsonRenderer().render(body), status=status, content_type=MEDIA_TYPE, headers=dict(headers or {})
    )


def error_document(status: int, kind: str, sentence: str) -> dict[str, Any]:
    """Return the document of an error (RFC 7644, 3.12)."""
    return {
        "schemas": [f"{MESSAGES}Error"],
        "status": str(int(status)),
        **({"scimType": kind} if kind else {}),
        "detail": sentence,
    }


def list_document(resources: Sequence[Any], *, total: int, start: int) -> dict[str, Any]:
    """Return the document of a list, or of a page of it."""
    return {
        "schemas": [f"{MESSAGES}ListResponse"],
        "totalResults": total,
        "startIndex": start,
        "itemsPerPage": len(resources),
        "Resources": list(resources),
    }


def address(request: HttpRequest, path: str) -> str:
    """Return the whole address of a resource below /scim/v2."""
    return request.build_absolute_uri(f"/scim/v2{path}")


def provider_config(request: HttpRequest) -> dict[str, Any]:
    """Return what Keeper can do (RFC 7643, 5)."""
    return {
        "schemas": [f"{_CONFIG}ServiceProviderConfig"],
        "patch": {"supported": True},
        "bulk": {"supported": False, "maxOperations": 0, "maxPayloadSize": 0},
        "filter": {"supported": True, "maxResults": MAX_RESULTS},
        "changePassword": {"supported": False},
        "sort": {"supported": False},
        "etag": {"supported": True},
        "authenticationSchemes": [
            {
                "type": "oauthbearertoken",
                "name": "Token of Keeper",
                "description": "A token of the role provisioner, as Authorization: Bearer kpr_…",
                "primary": True,
            }
        ],
        "meta": {
            "resourceType": "ServiceProviderConfig",
            "location": address(request, "/ServiceProviderConfig"),
        },
    }


def resource_type(request: HttpRequest, kind: Kind) -> dict[str, Any]:
    """Return a kind of resource as discovery names it (RFC 7643, 6)."""
    return {
        "schemas": [f"{_CONFIG}ResourceType"],
        "id": kind.name,
        "name": kind.name,
        "endpoint": kind.endpoint,
        "description": kind.about,
        "schema": kind.urn,
        "meta": {
            "resourceType": "ResourceType",
            "location": address(request, f"/ResourceTypes/{kind.name}"),
        },
    }


def schema(request: HttpRequest, kind: Kind) -> dict[str, Any]:
    """Return what of a kind is stored (RFC 7643, 7)."""
    return {
        "schemas": [f"{_CONFIG}Schema"],
        "id": kind.urn,
        "name": kind.name,
        "description": kind.about,
        "attributes": [each.document for each in kind.attributes],
        "meta": {"resourceType": "Schema", "location": address(request, f"/Schemas/{kind.urn}")},
    }


def kind_named(name: str) -> Kind:
    """Return a kind by its name or its schema. Raises ScimError."""
    for kind in KINDS:
        if name.lower() in {kind.name.lower(), kind.urn.lower()}:
            return kind
    raise ScimError(404, "", "Keeper has no schema or resource type of this name.")


def chosen(kind: Kind, resource: Resource, wanted: str, excluded: str) -> Resource:
    """Return the attributes that a request asks for, or all but those that it excludes (RFC 7644, 3.9)."""
    always = {name: resource[name] for name in ("schemas", "id")}
    if wanted:
        named = _names(kind, wanted)
        parts = {name: _part(content, named.get(name.lower(), set())) for name, content in resource.items()}
        return {name: part for name, part in parts.items() if part is not None} | always
    left = _names(kind, excluded)
    parts = {name: _without(content, left.get(name.lower(), set())) for name, content in resource.items()}
    return {name: part for name, part in parts.items() if part is not None} | always


def _names(kind: Kind, text: str) -> dict[str, set[str]]:
    """Return which attributes are named, and which of their parts; "" is all of one."""
    found: dict[str, set[str]] = {}
    for each in text.split(","):
        name = each.strip().lower().removeprefix(f"{kind.urn.lower()}:")
        if name:
            found.setdefault(name.partition(".")[0], set()).add(name.partition(".")[2])
    return found


def _part(content: Any, inside: set[str]) -> Any:
    if "" in inside:
        return content
    if isinstance(content, list):
        return [part for each in content if (part := _part(each, inside)) is not None] or None
    if not isinstance(content, dict):
        return None
    return {name: value for name, value in content.items() if name.lower() in inside} or None


def _without(content: Any, inside: set[str]) -> Any:
    if "" in inside:
        return None
    if isinstance(content, list):
        return [_without(each, inside) for each in content]
    if not isinstance(content, dict):
        return content
    return {name: value for name, value in content.items() if name.lower() not in inside}
