"""What GitHub's answers prove about a write (REST API: "Rate limits", "Troubleshooting")."""

from http import HTTPStatus
from typing import Final

from sync_app.backends.answers import Proof, Request, VendorAnswer
from sync_app.errors import (
    CredentialsRejected,
    OutcomeUnknown,
    PermissionMissing,
    RequestRefused,
    TargetBusy,
)

_LIMITED: Final = '{"message": "You have exceeded a secondary rate limit. Please wait a few minutes."}'
ANSWERS: Final[tuple[VendorAnswer, ...]] = (
    VendorAnswer(
        answer="404 to a write: it is not permitted, where the place is listed",
        to=Request.WRITE,
        status=404,
        body='{"message": "Not Found"}',
        proves=Proof.NOTHING,
        error=PermissionMissing,
        source="Troubleshooting the REST API, 404 Not Found for an existing resource",
    ),
    VendorAnswer(
        answer="403 to a write: the token lacks the permission",
        to=Request.WRITE,
        status=403,
        body='{"message": "Resource not accessible by personal access token"}',
        proves=Proof.NOTHING,
        error=PermissionMissing,
        source="Troubleshooting the REST API, Resource not accessible",
    ),
    VendorAnswer(
        answer="403 with the message of a secondary limit, and no Retry-After",
        to=Request.WRITE,
        status=403,
        body=_LIMITED,
        proves=Proof.NOTHING,
        error=TargetBusy,
        source="Rate limits for the REST API, Exceeding the rate limit",
    ),
    VendorAnswer(
        answer="429 with Retry-After",
        to=Request.WRITE,
        status=429,
        headers={"Retry-After": "1"},
        proves=Proof.NOTHING,
        error=TargetBusy,
        source="Rate limits for the REST API, Exceeding the rate limit",
    ),
    VendorAnswer(
        answer="401: the token is unknown or expired",
        to=Request.WRITE,
        status=401,
        proves=Proof.NOTHING,
        error=CredentialsRejected,
        source="Authenticating to the REST API, Failed login limit",
    ),
    VendorAnswer(
        answer="422: the request is not valid",
        to=Request.WRITE,
        status=422,
        proves=Proof.NOTHING,
        error=RequestRefused,
        source="Troubleshooting the REST API, Validation failed",
    ),
    *(
        VendorAnswer(
            answer=f"{status} to the look after an answered write",
            to=Request.LOOK_AFTER,
            status=status,
            body=_LIMITED if status == HTTPStatus.FORBIDDEN else "",
            proves=Proof.UNKNOWN,
            error=OutcomeUnknown,
            source="Rate limits for the REST API, Exceeding the rate limit",
        )
        for status in (403, 429, 502)
    ),
)
