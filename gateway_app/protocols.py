"""The protocols of other systems in the OpenAPI document: each route under /vault and /aws, tagged apart.

The routes come from their URL patterns, and what a method does from its docstring: none can be left out.
"""

import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from core.http.json import MEDIA_TYPE
from gateway_app.aws import urls as aws_urls
from gateway_app.aws.answers import MEDIA_TYPE as AWS_MEDIA_TYPE
from gateway_app.aws.sts import OPERATIONS as STS_OPERATIONS
from gateway_app.aws.views import OPERATIONS
from gateway_app.kv2 import urls as kv2_urls
from gateway_app.kv2.views import Kv2View

Document = dict[str, Any]
VAULT_TAG: Final = "KV v2-compatible"
AWS_TAG: Final = "AWS-compatible"
_METHODS: Final = ("get", "post", "put", "patch", "delete")
_TEXT: Final = {"type": "string"}
_NUMBER: Final = {"type": "integer"}
_FLAG: Final = {"type": "boolean"}
_ANY: Final[Document] = {"type": "object", "additionalProperties": True}
_LISTED: Final = "`LIST` is taken as well, and does what `list=true` does."


def _object(*required: str, **members: Any) -> Document:
    described: Document = {"type": "object", "properties": members}
    return described | ({"required": [*required]} if required else {})


def _list(of: Any) -> Document:
    return {"type": "array", "items": of}


_FACTS: Final = _object(
    created_time=_TEXT, custom_metadata={"type": "object", "nullable": True}, deletion_time=_TEXT,
    destroyed=_FLAG, version=_NUMBER,
)  # fmt: skip
_CAS: Final = {"type": "integer", "description": "The version last seen, 0 for none."}
_WRITTEN: Final = _object("data", data=_ANY, options=_object(cas=_CAS))
_VERSIONS: Final = _object("versions", versions=_list({"oneOf": [_NUMBER, _TEXT]}))
_WORKLOAD: Final = _object(
    "role", "jwt", role={"type": "string", "description": "The name of a trust."}, jwt=_TEXT
)
_AUTH: Final = _object(
    client_token=_TEXT, accessor=_TEXT, policies=_list(_TEXT), token_policies=_list(_TEXT), metadata=_ANY,
    lease_duration=_NUMBER, renewable=_FLAG, entity_id=_TEXT, token_type=_TEXT, orphan=_FLAG,
    num_uses=_NUMBER,
)  # fmt: skip
_MOUNT: Final = _object(path=_TEXT, type=_TEXT, options=_object(version=_TEXT))
# What a request sends, by the name of its route.
BODIES: Final[Mapping[str, Document]] = {
    "kv2-data": _WRITTEN,
    "kv2-delete": _VERSIONS,
    "kv2-undelete": _VERSIONS,
    "kv2-destroy": _VERSIONS,
    "kv2-approle": _object("role_id", "secret_id", role_id=_TEXT, secret_id=_TEXT),
    "kv2-jwt": _WORKLOAD,
    "kv2-kubernetes": _WORKLOAD,
    "kv2-capabilities": _object("paths", paths=_list(_TEXT)),
}
# `data` of an answer, by the name of its route; None for an answer without a body.
_DATA: Final[Mapping[str, Document | None]] = {
    "kv2-data": _object(data=_ANY, metadata=_FACTS),
    "kv2-subkeys": _object(subkeys=_ANY, metadata=_FACTS),
    "kv2-list": _object(keys=_list(_TEXT)),
    "kv2-list-root": _object(keys=_list(_TEXT)),
    "kv2-metadata": _object(
        current_version=_NUMBER, oldest_version=_NUMBER, max_versions=_NUMBER, cas_required=_FLAG,
        created_time=_TEXT, updated_time=_TEXT, custom_metadata=_ANY, versions=_ANY,
    ),
    "kv2-lookup": _object(
        id=_TEXT, accessor=_TEXT, display_name=_TEXT, policies=_list(_TEXT), ttl=_NUMBER, type=_TEXT,
        expire_time={"type": "string", "nullable": True}, creation_time=_NUMBER, renewable=_FLAG, meta=_ANY,
    ),
    "kv2-mounts": _object(auth=_ANY, secret={"type": "object", "additionalProperties": _MOUNT}),
    "kv2-mount": _MOUNT,
    "kv2-mount-settings": _MOUNT,
    "kv2-delete": None,
    "kv2-undelete": None,
    "kv2-revoke": None,
}  # fmt: skip
_SYSTEM: Final = frozenset({"kv2-health", "kv2-seal-status", "kv2-init", "kv2-leader"})
_SIGN_INS: Final = frozenset({"kv2-approle", "kv2-jwt", "kv2-kubernetes"})
# Refused in any case: what is answered instead of a result.
_REFUSED: Final = {"kv2-renew": "400", "kv2-destroy": "400", "kv2-other": "404"}
_QUERIES: Final[Mapping[str, tuple[str, Document]]] = {
    "kv2-data": ("version", _NUMBER),
    "kv2-list": ("list", _FLAG),
    "kv2-list-root": ("list", _FLAG),
    "kv2-metadata": ("list", _FLAG),
}
_FILTERS: Final = {"Filters": _list(_object(Key=_TEXT, Values=_list(_TEXT)))}
_PAGE: Final = {**_FILTERS, "MaxResults": _NUMBER, "NextToken": _TEXT}
_AWS_BODIES: Final[Mapping[str, Document]] = {
    "GetSecretValue": _object("SecretId", SecretId=_TEXT, VersionId=_TEXT, VersionStage=_TEXT),
    "BatchGetSecretValue": _object(SecretIdList=_list(_TEXT), **_PAGE),
    "DescribeSecret": _object("SecretId", SecretId=_TEXT),
    "ListSecrets": _object(SortOrder={"type": "string", "enum": ["asc", "desc"]}, **_PAGE),
}
_SCHEMAS: Final[Document] = {
    "Kv2Errors": _object("errors", errors=_list(_TEXT)),
    "AwsError": _object("__type", __type=_TEXT, Message=_TEXT, message=_TEXT),
}
_SECURITY: Final[Document] = {
    "vaultToken": {
        "type": "apiKey", "in": "header", "name": "X-Vault-Token", "description": "A service token.",
    },
    "awsSignature": {
        "type": "apiKey", "in": "header", "name": "Authorization",
        "description": "Signature Version 4 by the key of a session.",
    },
}  # fmt: skip


class Route(NamedTuple):
    """A route of a protocol."""

    name: str
    path: str
    view: Any

    @property
    def methods(self) -> list[str]:
        """The methods that it takes and that OpenAPI can describe."""
        return [method for method in _METHODS if hasattr(self.view, method)]


def routes() -> Iterator[Route]:
    """Yield each route under /vault and /aws."""
    for start, patterns in (("/vault/", kv2_urls.urlpatterns), ("/", aws_urls.urlpatterns)):
        for each in patterns:
            path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", f"{start}{each.pattern}")
            yield Route(str(each.name), path, each.callback.view_class)  # type: ignore[attr-defined]  # views of classes all


def describe_protocols(result: Document, **_arguments: Any) -> Document:
    """Put the routes of the protocols into the document (SPECTACULAR_SETTINGS["POSTPROCESSING_HOOKS"])."""
    for route in routes():
        result["paths"][route.path] = {method: _operation(route, method) for method in route.methods}
    result["components"]["schemas"] |= _SCHEMAS
    result["components"].setdefault("securitySchemes", {}).update(_SECURITY)
    return result


def _in_path(path: str) -> list[Document]:
    names = re.findall(r"{(\w+)}", path)
    return [{"name": name, "in": "path", "required": True, "schema": _TEXT} for name in names]


def _operation(route: Route, method: str) -> Document:
    lines = [*(inspect.getdoc(getattr(route.view, method)) or "").split("\n\n"), ""]
    described: Document = {
        "operationId": f"{route.name}_{method}".replace("-", "_"),
        "summary": " ".join(lines[0].split(" Raises ")[0].split()),
        "description": " ".join(lines[1].split()),
    }
    more = _of_aws(route) if route.path.startswith("/aws") else _of_vault(route, method)
    if parameters := [*_in_path(route.path), *more.get("parameters", [])]:
        more["parameters"] = parameters
    return described | more


def _of_vault(route: Route, method: str) -> Document:
    signed = issubclass(route.view, Kv2View)
    described: Document = {
        "tags": [VAULT_TAG],
        "security": [{"vaultToken": []}] if signed else [],
        "responses": {**_vault_answers(route.name, method), "default": _failure("Kv2Errors", MEDIA_TYPE)},
    }
    if hasattr(route.view, "list"):
        described["description"] = _LISTED
    if method == "get" and route.name in _QUERIES:
        name, schema = _QUERIES[route.name]
        described["parameters"] = [{"name": name, "in": "query", "schema": schema}]
    if method in {"post", "put", "patch"} and route.name in BODIES:
        described["requestBody"] = _content(MEDIA_TYPE, BODIES[route.name]) | {"required": True}
    return described


def _vault_answers(name: str, method: str) -> Document:
    if name in _REFUSED:
        return {_REFUSED[name]: _failure("Kv2Errors", MEDIA_TYPE)}
    data = _FACTS if name == "kv2-data" and method in {"post", "put", "patch"} else _DATA.get(name, _ANY)
    if data is None or (name == "kv2-data" and method == "delete"):
        return {"204": {"description": "Done."}}
    if name in _SYSTEM:
        return {"200": _answer(MEDIA_TYPE, _ANY)}
    members = _object(
        request_id=_TEXT, lease_id=_TEXT, renewable=_FLAG, lease_duration=_NUMBER, data=data,
        auth=_AUTH if name in _SIGN_INS else {"type": "object", "nullable": True},
    )  # fmt: skip
    return {"200": _answer(MEDIA_TYPE, members)}


def _of_aws(route: Route) -> Document:
    described: Document = {"tags": [AWS_TAG]}
    if route.name == "aws-credentials":
        session = _object(AccessKeyId=_TEXT, SecretAccessKey=_TEXT, Token=_TEXT, Expiration=_TEXT)
        refused = _answer(MEDIA_TYPE, _object(code=_TEXT, message=_TEXT), "The refusal.")
        answers = {"200": _answer(MEDIA_TYPE, session), "default": refused}
        return described | {"security": [{"serviceToken": []}], "responses": answers}
    if route.name.startswith("aws-sts"):
        return described | _of_sts()
    target = {"type": "string", "enum": [f"secretsmanager.{name}" for name in OPERATIONS]}
    bodies = [_AWS_BODIES[name] | {"title": name} for name in OPERATIONS]
    return described | {
        "security": [{"awsSignature": []}],
        "parameters": [{"name": "X-Amz-Target", "in": "header", "required": True, "schema": target}],
        "requestBody": _content(AWS_MEDIA_TYPE, {"anyOf": bodies}) | {"required": True},
        "responses": {
            "200": _answer(AWS_MEDIA_TYPE, _ANY),
            "default": _failure("AwsError", AWS_MEDIA_TYPE),
        },
    }


def _of_sts() -> Document:
    members = _object(
        "Action", "Version",
        Action={"type": "string", "enum": [*STS_OPERATIONS]}, Version=_TEXT, RoleArn=_TEXT,
        RoleSessionName=_TEXT, WebIdentityToken=_TEXT, DurationSeconds=_NUMBER,
    )  # fmt: skip
    return {
        # A workload's token is its own proof; who calls is known by a signature.
        "security": [{}, {"awsSignature": []}],
        "requestBody": _content("application/x-www-form-urlencoded", members) | {"required": True},
        "responses": {
            "200": _answer(
                "text/xml",
                _TEXT,
                "AssumeRoleWithWebIdentityResponse, with the session's credentials, or "
                "GetCallerIdentityResponse.",
            ),
            "default": _answer("text/xml", _TEXT, "ErrorResponse, with its code."),
        },
    }


def _content(media_type: str, schema: Document) -> Document:
    return {"content": {media_type: {"schema": schema}}}


def _answer(media_type: str, schema: Document, description: str = "The result.") -> Document:
    return _content(media_type, schema) | {"description": description}


def _failure(name: str, media_type: str) -> Document:
    return _answer(media_type, {"$ref": f"#/components/schemas/{name}"}, "The refusal.")
