"""The one address of the protocol: the header `X-Amz-Target` names the operation."""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

import orjson
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse

from core.http.json import AmbiguousJson, load_unique
from gateway_app.aws.answers import MEDIA_TYPE, AwsError, error_of, failed, respond
from gateway_app.aws.names import Account
from gateway_app.aws.operations import batch_get_secret_value, describe_secret, get_secret_value, list_secrets
from gateway_app.aws.passwords import get_random_password
from gateway_app.aws.signed_requests import signer_of
from gateway_app.aws.versions import get_resource_policy, list_secret_version_ids
from gateway_app.protocol import ProtocolView

OPERATIONS: Final[Mapping[str, Callable[[Account, Mapping[str, Any]], dict[str, Any]]]] = {
    "GetSecretValue": get_secret_value,
    "BatchGetSecretValue": batch_get_secret_value,
    "DescribeSecret": describe_secret,
    "ListSecrets": list_secrets,
    "ListSecretVersionIds": list_secret_version_ids,
    "GetResourcePolicy": get_resource_policy,
    "GetRandomPassword": get_random_password,
}
TARGET: Final = "secretsmanager."
MAX_BODY: Final = 64 * 1024
_UNKNOWN: Final = f"Keeper answers {', '.join(OPERATIONS)}."
_NOT_JSON: Final = "The body must be a JSON object."


class OperationsView(ProtocolView):
    """Answers signed requests, and errors as the protocol does."""

    http_method_names = ["post", "options"]

    def failed(self, error: Exception) -> HttpResponse | None:
        operation = self.request.headers.get("X-Amz-Target", "").removeprefix(TARGET)
        answer = error_of(error, operation if operation in OPERATIONS else "Unknown")
        return failed(self.request, answer) if answer else None

    def post(self, request: HttpRequest) -> HttpResponse:
        """Answer an operation. Raises AwsError, and what the operation raises."""
        if len(request.body) > MAX_BODY:
            raise RequestDataTooBig
        actor, given = signer_of(request)
        request.principal = actor  # type: ignore[attr-defined]  # the history of configuration looks there
        target = request.headers.get("X-Amz-Target", "")
        operation = OPERATIONS.get(target.removeprefix(TARGET)) if target.startswith(TARGET) else None
        if operation is None or request.content_type != MEDIA_TYPE:
            raise AwsError("UnknownOperationException", _UNKNOWN)
        return respond(request, operation(Account(actor, given.region), _members(request.body)))

    def http_method_not_allowed(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:  # noqa: ARG002 - Django's signature
        error = AwsError("UnknownOperationException", _UNKNOWN, status=HTTPStatus.METHOD_NOT_ALLOWED)
        error.headers["Allow"] = str(self.options(request)["Allow"])
        return failed(request, error)


def _members(body: bytes) -> Mapping[str, Any]:
    try:
        found = load_unique(body or b"{}")
    except (orjson.JSONDecodeError, AmbiguousJson) as error:
        raise AwsError("SerializationException", _NOT_JSON) from error
    if not isinstance(found, dict):
        raise AwsError("SerializationException", _NOT_JSON)
    return found
