"""The KV v2 protocol in the OpenAPI document."""

from collections.abc import Mapping
from typing import Final

from django.views import View

from core.http.json import MEDIA_TYPE
from gateway_app.kv2.views import PATCH_TYPE, Kv2View
from gateway_app.protocol import (
    ANY,
    FLAG,
    NUMBER,
    TEXT,
    Document,
    answer,
    content,
    failure,
    list_of,
    object_of,
)

TAG: Final = "KV v2-compatible"
# The scheme of the REST API: a token is taken in its header as well.
_BEARER: Final = "serviceToken"
_LISTED: Final = "`LIST` is taken as well, and does what `list=true` does."
_SCANNED: Final = f"{_LISTED} `SCAN`, or `scan=true`, returns what lies in folders as well."
_FACTS: Final = object_of(
    created_time=TEXT, custom_metadata={"type": "object", "nullable": True}, deletion_time=TEXT,
    destroyed=FLAG, version=NUMBER,
)  # fmt: skip
_CAS: Final = {"type": "integer", "description": "The version last seen, 0 for none."}
_WRITTEN: Final = object_of("data", data=ANY, options=object_of(cas=_CAS))
_VERSION: Final[Document] = {"oneOf": [NUMBER, {"type": "string", "pattern": "^[0-9]{1,18}$"}]}
_VERSIONS: Final = object_of("versions", versions=list_of(_VERSION))
_NOTHING: Final[Document] = {"type": "object", "nullable": True}
# A text that is there.
_GIVEN: Final[Document] = {"type": "string", "minLength": 1}
_WORKLOAD: Final = object_of(
    "role", "jwt", role={**_GIVEN, "description": "The name of a trust."}, jwt=_GIVEN
)
_AUTH: Final = object_of(
    client_token=TEXT, accessor=TEXT, policies=list_of(TEXT), token_policies=list_of(TEXT), metadata=ANY,
    lease_duration=NUMBER, renewable=FLAG, entity_id=TEXT, token_type=TEXT, orphan=FLAG,
    num_uses=NUMBER,
)  # fmt: skip
_MOUNT: Final = object_of(path=TEXT, type=TEXT, options=object_of(version=TEXT))
_TIME: Final[Document] = {"oneOf": [NUMBER, TEXT]}
_DESCRIBED: Final = object_of(
    custom_metadata={"type": "object", "additionalProperties": TEXT}, cas_required=FLAG, max_versions=NUMBER,
    delete_version_after={"type": "string", "description": "How long new versions are readable: `90s`."},
    metadata_cas={"type": "integer", "description": "The `current_metadata_version` last seen, 0 for none."},
)  # fmt: skip
# What a request sends, by the name of its route.
BODIES: Final[Mapping[str, Document]] = {
    "kv2-data": _WRITTEN,
    "kv2-delete": _VERSIONS,
    "kv2-undelete": _VERSIONS,
    "kv2-destroy": _VERSIONS,
    "kv2-metadata": _DESCRIBED,
    "kv2-config": _DESCRIBED,
    "kv2-lookup-of": object_of("token", token=TEXT),
    "kv2-unwrap": object_of(token=TEXT),
    "kv2-create": object_of(
        policies=list_of(TEXT),
        ttl=_TIME,
        explicit_max_ttl=_TIME,
        display_name=TEXT,
        meta=object_of(prefix=TEXT, environment=TEXT),
        renewable=FLAG,
    ),
    "kv2-renew": object_of(increment=_TIME),
    "kv2-renew-of": object_of("token", token=TEXT, increment=_TIME),
    "kv2-renew-accessor": object_of("accessor", accessor=TEXT, increment=_TIME),
    "kv2-lookup-accessor": object_of("accessor", accessor=TEXT),
    "kv2-revoke-accessor": object_of("accessor", accessor=TEXT),
    "kv2-revoke-of": object_of("token", token=TEXT),
    "kv2-wrapping-lookup": object_of(token=TEXT),
    "kv2-control-group-request": object_of("accessor", accessor=TEXT),
    "kv2-control-group-authorize": object_of("accessor", accessor=TEXT),
    "kv2-approle": object_of("role_id", "secret_id", role_id=_GIVEN, secret_id=_GIVEN),
    "kv2-jwt": _WORKLOAD,
    "kv2-kubernetes": _WORKLOAD,
    "kv2-capabilities": object_of("paths", paths=list_of(TEXT)),
}
# `data` of an answer, by the name of its route; None for an answer without a body.
_DATA: Final[Mapping[str, Document | None]] = {
    "kv2-data": object_of(data=ANY, metadata=_FACTS),
    "kv2-subkeys": object_of(subkeys=ANY, metadata=_FACTS),
    "kv2-list": object_of(keys=list_of(TEXT)),
    "kv2-list-root": object_of(keys=list_of(TEXT)),
    "kv2-metadata": object_of(
        current_version=NUMBER, current_metadata_version=NUMBER, oldest_version=NUMBER,
        max_versions=NUMBER, cas_required=FLAG, delete_version_after=TEXT, metadata_cas_required=FLAG,
        created_time=TEXT, updated_time=TEXT, custom_metadata=ANY, versions=ANY,
    ),
    "kv2-lookup": object_of(
        id=TEXT, accessor=TEXT, display_name=TEXT, policies=list_of(TEXT), ttl=NUMBER, type=TEXT,
        expire_time={"type": "string", "nullable": True}, creation_time=NUMBER, renewable=FLAG, meta=ANY,
    ),
    "kv2-mounts": object_of(auth=ANY, secret={"type": "object", "additionalProperties": _MOUNT}),
    "kv2-mount": _MOUNT,
    "kv2-static-credentials": object_of(
        username=TEXT, password=TEXT, ttl=NUMBER, rotation_period=NUMBER, last_vault_rotation=TEXT,
    ),
    "kv2-lookup-of": object_of(id=TEXT, accessor=TEXT, display_name=TEXT, policies=list_of(TEXT), ttl=NUMBER),
    "kv2-unwrap": object_of(data=ANY, metadata=_FACTS),
    "kv2-wrapping-lookup": object_of(creation_path=TEXT, creation_time=TEXT, creation_ttl=NUMBER),
    "kv2-control-group-request": object_of(
        approved=FLAG, authorizations=list_of(object_of(entity_id=TEXT, entity_name=TEXT)), request_data=ANY,
        request_entity=object_of(id=TEXT, name=TEXT), request_operation=TEXT, request_path=TEXT,
    ),
    "kv2-acl": object_of(root=FLAG, exact_paths=ANY, glob_paths=ANY),
    "kv2-tune": object_of(default_lease_ttl=NUMBER, max_lease_ttl=NUMBER, description=TEXT, options=ANY),
    "kv2-mount-settings": _MOUNT,
    "kv2-config": object_of(cas_required=FLAG, delete_version_after=TEXT, max_versions=NUMBER),
    "kv2-delete": None,
    "kv2-undelete": None,
    "kv2-destroy": None,
    "kv2-revoke": None,
    "kv2-revoke-of": None,
    "kv2-revoke-accessor": None,
    "kv2-accessors": object_of(keys=list_of(TEXT)),
    "kv2-accessors-root": object_of(keys=list_of(TEXT)),
    "kv2-lookup-accessor": object_of(id=TEXT, accessor=TEXT, display_name=TEXT, policies=list_of(TEXT)),
}  # fmt: skip
_SYSTEM: Final = frozenset({"kv2-health", "kv2-seal-status", "kv2-init", "kv2-leader"})
_SIGN_INS: Final = frozenset(
    {
        "kv2-create", "kv2-approle", "kv2-jwt", "kv2-kubernetes",
        "kv2-renew", "kv2-renew-of", "kv2-renew-accessor",
    }
)  # fmt: skip
# Refused in any case: what is answered instead of a result.
_REFUSED: Final = {"kv2-control-group-authorize": "403", "kv2-other": "404"}
_IN_PARTS: Final[Mapping[str, Document]] = {"list": FLAG, "scan": FLAG, "after": TEXT, "limit": NUMBER}
_QUERIES: Final[Mapping[str, Mapping[str, Document]]] = {
    "kv2-data": {"version": NUMBER},
    "kv2-subkeys": {"version": NUMBER, "depth": NUMBER},
    "kv2-list": _IN_PARTS,
    "kv2-list-root": _IN_PARTS,
    "kv2-metadata": _IN_PARTS,
}
_WRAP: Final[Document] = {
    "name": "X-Vault-Wrap-TTL", "in": "header", "schema": _GIVEN,
    "description": "For how long the answer is wrapped, such as `60`, `90s` or `1h30m`; up to 7 days.",
}  # fmt: skip
# Whose body may be left out.
_OPTIONAL: Final = frozenset(
    {
        "kv2-capabilities", "kv2-config", "kv2-create", "kv2-metadata", "kv2-renew", "kv2-unwrap",
        "kv2-wrapping-lookup",
    }
)  # fmt: skip
_WRITES: Final = frozenset({"post", "put", "patch"})
# Written without an answer where a read has one.
_SILENT: Final = frozenset({"kv2-metadata", "kv2-config"})
COMPONENTS: Final[Mapping[str, Document]] = {
    "schemas": {"Kv2Errors": object_of("errors", errors=list_of(TEXT))},
    "securitySchemes": {
        "vaultToken": {
            "type": "apiKey", "in": "header", "name": "X-Vault-Token", "description": "A service token.",
        },
    },
}  # fmt: skip


def describe(name: str, view: type[View], method: str) -> Document:
    """Return what a method of a route takes and answers."""
    described: Document = {
        "tags": [TAG],
        "security": [{"vaultToken": []}, {_BEARER: []}] if issubclass(view, Kv2View) else [],
        "responses": {**_vault_answers(name, method), "default": failure("Kv2Errors", MEDIA_TYPE)},
    }
    if hasattr(view, "list"):
        described["description"] = _SCANNED if name in _QUERIES else _LISTED
    if method == "get" and name in _QUERIES:
        described["parameters"] = [
            {"name": parameter, "in": "query", "schema": schema}
            for parameter, schema in _QUERIES[name].items()
        ]
    if method == "get" and getattr(view, "wraps", False):
        described["parameters"].append(_WRAP)
    if method in _WRITES and name in BODIES:
        sent = PATCH_TYPE if method == "patch" else MEDIA_TYPE
        described["requestBody"] = content(sent, BODIES[name]) | {"required": name not in _OPTIONAL}
    return described


def _vault_answers(name: str, method: str) -> Document:
    if name in _REFUSED:
        return {_REFUSED[name]: failure("Kv2Errors", MEDIA_TYPE)}
    data = _FACTS if name == "kv2-data" and method in _WRITES else _DATA.get(name, ANY)
    if name in _SIGN_INS:
        # What they answer is in `auth`.
        data = _NOTHING
    if data is None or method == "delete" or (method in _WRITES and name in _SILENT):
        return {"204": {"description": "Done."}}
    if name in _SYSTEM:
        return {"200": answer(MEDIA_TYPE, ANY)}
    members = object_of(
        request_id=TEXT, lease_id=TEXT, renewable=FLAG, lease_duration=NUMBER, data=data,
        wrap_info=_NOTHING, auth=_AUTH if name in _SIGN_INS else _NOTHING,
    )  # fmt: skip
    return {"200": answer(MEDIA_TYPE, members)}
