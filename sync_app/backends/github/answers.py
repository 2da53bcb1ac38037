"""What GitHub's answers prove about a write (REST API: "Rate limits", "Troubleshooting")."""

from typing import Final

from sync_app.backends.answers import Proof, Request, VendorAnswer, answer_row
from sync_app.errors import (
    CredentialsRejected,
    OutcomeUnknown,
    PermissionMissing,
    RequestRefused,
    TargetBusy,
)

_LIMITED: Final = '{"message": "You have exceeded a secondary rate limit. Please wait a few minutes."}'
_LIMITS: Final = "Rate limits for the REST API, Exceeding the rate limit"
ANSWERS: Final[tuple[VendorAnswer, ...]] = (
    answer_row(
        404,
        " to a write: it is not permitted, where the place is listed",
        PermissionMissing,
        "Troubleshooting the REST API, 404 Not Found for an existing resource",
        body='{"message": "Not Found"}',
    ),
    answer_row(
        403,
        " to a write: the token lacks the permission",
        PermissionMissing,
        "Troubleshooting the REST API, Resource not accessible",
        body='{"message": "Resource not accessible by personal access token"}',
    ),
    answer_row(
        403,
        " with the message of a secondary limit, and no Retry-After",
        TargetBusy,
        _LIMITS,
        body=_LIMITED,
    ),
    answer_row(429, " with Retry-After", TargetBusy, _LIMITS, headers={"Retry-After": "1"}),
    answer_row(
        401,
        ": the token is unknown or expired",
        CredentialsRejected,
        "Authenticating to the REST API, Failed login limit",
    ),
    answer_row(
        422,
        ": the request is not valid",
        RequestRefused,
        "Troubleshooting the REST API, Validation failed",
    ),
    *(
        answer_row(
            status,
            " to the look after an answered write",
            OutcomeUnknown,
            _LIMITS,
            Request.LOOK_AFTER,
            Proof.UNKNOWN,
            body=body,
        )
        for status, body in ((403, _LIMITED), (429, ""), (502, ""))
    ),
)
