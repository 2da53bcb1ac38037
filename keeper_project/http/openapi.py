"""The OpenAPI document: each operation with the problems that it answers, and bodies as strict as read.

The statuses follow from what an operation takes and what its view states (`AccessView`): a body may be
invalid, a path may lead to what the caller may not see, a write may meet another one.
tests/api/test_openapi.py sends generated requests and refuses an answer that is not described.
"""

import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, Final

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from rest_framework import serializers
from rest_framework.serializers import BaseSerializer

from core.http.json import MEDIA_TYPE, ProblemRenderer
from environments_app.api.fields import StrictSerializer, Text

Document = dict[str, Any]

_PROBLEM: Final[Document] = {
    "type": "object",
    "description": "Why a request was refused or failed (RFC 9457). It repeats nothing that was sent.",
    "properties": {
        "type": {
            "type": "string",
            "description": "A URI of the kind of problem, which stays (docs/problems.md).",
        },
        "title": {"type": "string"},
        "status": {"type": "integer", "description": "The status of the answer."},
        "detail": {"type": "string", "description": "What happened, and what to do."},
        "errors": {"type": "array", "items": {"$ref": "#/components/schemas/ProblemError"}},
    },
    "required": ["type", "title", "status", "detail"],
}
_PROBLEM_ERROR: Final[Document] = {
    "type": "object",
    "description": "What is wrong with one field, or with one item of a list.",
    "properties": {
        "field": {"type": "string", "description": "The field, by the name under which it was sent."},
        "item": {"type": "integer", "description": "The position in a list, from 0."},
        "reason": {"type": "string"},
    },
    "required": ["reason"],
}
_APPROVAL_PENDING: Final[Document] = {
    "type": "object",
    "description": "Nothing was done yet: the environment requires approvals, and a request was created.",
    "properties": {
        "detail": {"type": "string"},
        "approval": {"type": "integer", "description": "The id of the request for approval."},
        "url": {"type": "string", "description": "Where the request is, as in the header Location."},
    },
    "required": ["detail", "approval", "url"],
}
_MEANINGS: Final = {
    400: "The body or the query is invalid; `errors` names each field.",
    401: "No valid token or session came with the request.",
    403: "The caller may see this, but may not do it.",
    404: "Not found, or the caller has no access.",
    406: "The answer exists only as JSON.",
    409: "Conflict with what is stored: a name is in use, something has changed, or cannot be decrypted.",
    412: "The secret is not the one of the ETag in If-Match any more.",
    413: "The body is larger than 16 MiB, or has too many items.",
    415: "The body is not JSON.",
    429: "The token made too many requests, or too many were refused; wait before the next one.",
    502: "The other system did not do it.",
    503: "A key or the database does not answer now.",
}
_HEADERS: Final[dict[int, Document]] = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}}},
    429: {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait."}},
    503: {
        "Retry-After": {
            "schema": {"type": "integer"},
            "description": "Seconds to wait; not sent where waiting does not help.",
        }
    },
}


_LOCATION: Final[Document] = {
    "schema": {"type": "string"},
    "description": "The address of what was created; not sent where it has none.",
}


# What a body looks like, for the operations that programs begin with.
EXAMPLES: Final[dict[tuple[str, str], Document]] = {
    ("POST", "/api/secrets"): {
        "environment": "development", "name": "billing/stripe-key", "secret_type": "API_KEY",
        "value": "sk_test_…", "tags": ["billing"], "comment": "renewed by hand",
    },
    ("PUT", "/api/environments/{environment}/secrets/{name}"): {
        "value": "sk_test_…", "secret_type": "API_KEY",
    },
    ("POST", "/api/secrets/bulk"): {
        "environment": "development",
        "secrets": [{"name": "billing/db-password", "secret_type": "PASSWORD", "value": "…"}],
    },
    ("POST", "/api/environments/{environment}/import"): {
        "format": "dotenv", "content": "STRIPE_KEY=sk_test_…", "prefix": "billing", "dry_run": True,
    },
    ("POST", "/api/environments/{environment}/tokens"): {
        "name": "billing-ci", "role": "reader", "prefix": "billing",
    },
    ("POST", "/api/environments/{environment}/trusts"): {
        "name": "billing-deploy", "preset": "github", "role": "reader",
        "claims": {"repository": "example/billing", "ref": "refs/heads/main"},
        "audience": "https://keeper.example.com",
    },
    ("POST", "/api/environments"): {"name": "staging"},
    ("POST", "/api/auth/jwt"): {"trust": "billing-deploy", "jwt": "eyJhbGciOiJSUzI1NiIsImtpZCI6…"},
}  # fmt: skip


class KeeperSchema(AutoSchema):
    """Describes an operation (REST_FRAMEWORK["DEFAULT_SCHEMA_CLASS"])."""

    def get_operation(self, *arguments: Any, **options: Any) -> Any:
        """Describe an operation with its problems, and with the answer of a pending approval."""
        operation = super().get_operation(*arguments, **options)
        if operation is None:
            return None
        responses = operation["responses"]
        if self.method in getattr(self.view, "needs_approval", ()):
            responses["202"] = _with_approval(responses.get("202"))
        if example := EXAMPLES.get((self.method, self.path)):
            operation["requestBody"]["content"][MEDIA_TYPE]["example"] = example
        if "201" in responses:
            responses["201"].setdefault("headers", {})["Location"] = _LOCATION
        for status in self._problems(operation):
            schema = {"$ref": "#/components/schemas/Problem"}
            response: Document = {"content": {ProblemRenderer.media_type: {"schema": schema}}}
            if status in _HEADERS:
                response["headers"] = _HEADERS[status]
            responses[str(status)] = response | {"description": _MEANINGS[status]}
        return operation

    def _problems(self, operation: Document) -> Iterator[int]:
        """Yield the statuses of the problems that the operation can answer, in order."""
        takes_body = "requestBody" in operation
        places = {parameter["in"] for parameter in operation.get("parameters", [])}
        headers = {each["name"] for each in operation.get("parameters", []) if each["in"] == "header"}
        writes = self.method != "GET"
        if takes_body or "query" in places or "{name}" in self.path:
            yield HTTPStatus.BAD_REQUEST
        yield from (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
        if takes_body or places & {"path", "query"}:
            yield HTTPStatus.NOT_FOUND
        yield HTTPStatus.NOT_ACCEPTABLE
        if writes or getattr(self.view, "opens_values", False):
            yield HTTPStatus.CONFLICT
        if "If-Match" in headers:
            yield HTTPStatus.PRECONDITION_FAILED
        if takes_body:
            yield from (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
        yield HTTPStatus.TOO_MANY_REQUESTS
        if writes and getattr(self.view, "asks_systems", False):
            yield HTTPStatus.BAD_GATEWAY
        yield HTTPStatus.SERVICE_UNAVAILABLE

    def _resolve_path_parameters(self, variables: list[str]) -> list[Document]:
        """Type what Keeper's own converter takes: a whole number of at most 18 digits."""
        parameters: list[Document] = super()._resolve_path_parameters(variables)  # type: ignore[no-untyped-call]  # stubs
        numbers = set(re.findall(r"<id:(\w+)>", str(self.path_regex)))
        for parameter in parameters:
            if parameter["name"] in numbers:
                parameter["schema"] = {"type": "integer", "minimum": 0, "maximum": 10**18 - 1}
        return parameters

    def _map_basic_serializer(self, serializer: Any, direction: str) -> Document:
        """State that a strict body accepts only the described members."""
        schema: Document = super()._map_basic_serializer(serializer, direction)  # type: ignore[no-untyped-call]  # stubs
        strict = isinstance(serializer, StrictSerializer) or (
            isinstance(serializer, type) and issubclass(serializer, StrictSerializer)
        )
        if strict and direction == "request":
            schema["additionalProperties"] = False
        if either := getattr(serializer, "either", ()):
            schema["anyOf"] = [{"required": [name]} for name in either]
        return schema

    def _map_serializer_field(
        self, field: BaseSerializer[Any] | serializers.Field[Any, Any, Any, Any], direction: str, *rest: Any
    ) -> Any:
        """State the minimum number of a list's items."""
        schema = super()._map_serializer_field(field, direction, *rest)  # type: ignore[no-untyped-call]  # stubs
        if schema is None or direction != "request":
            return schema
        if isinstance(field, serializers.ListField) and not field.allow_empty:
            schema["minItems"] = 1
        return schema

    def _insert_field_validators(
        self, field: serializers.Field[Any, Any, Any, Any], schema: Document
    ) -> None:
        """Add the bounds of a text whose use case checks them, and what it has to match."""
        super()._insert_field_validators(field, schema)  # type: ignore[no-untyped-call]  # stubs
        if isinstance(field, Text):
            bounds = {"pattern": field.pattern, "minLength": field.min_length, "maxLength": field.max_length}
            schema.update({name: bound for name, bound in bounds.items() if bound})


def add_problem_schemas(result: Document, **_arguments: Any) -> Document:
    """Put the schemas of problems into the document (SPECTACULAR_SETTINGS["POSTPROCESSING_HOOKS"])."""
    result["components"]["schemas"] |= {
        "Problem": _PROBLEM,
        "ProblemError": _PROBLEM_ERROR,
        "ApprovalPending": _APPROVAL_PENDING,
    }
    return result


def _with_approval(described: Document | None) -> Document:
    pending: Document = {"$ref": "#/components/schemas/ApprovalPending"}
    if described is None:
        return {
            "content": {MEDIA_TYPE: {"schema": pending}},
            "description": "Approval is required first.",
        }
    (content,) = described["content"].values()
    return described | {"content": {MEDIA_TYPE: {"schema": {"oneOf": [content["schema"], pending]}}}}


class ServiceTokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # untyped base
    """Describes the token in the OpenAPI document."""

    target_class = "environments_app.authentication.drf.ServiceTokenAuthentication"
    name = "serviceToken"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:  # noqa: ARG002 - the signature of drf-spectacular
        return {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "kpr_<public id>_<secret>, or kpu_… of a person",
        }


class SessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # untyped base
    """Describes the session in the OpenAPI document."""

    target_class = "environments_app.authentication.drf.SessionAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:  # noqa: ARG002 - the signature of drf-spectacular
        return {"type": "apiKey", "in": "cookie", "name": "sessionid"}
