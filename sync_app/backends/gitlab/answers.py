"""What GitLab's answers prove about a write (REST API, "Status codes", and the pages named)."""

from typing import Final

from sync_app.backends.answers import Proof, Request, VendorAnswer, answer_row
from sync_app.errors import (
    CredentialsRejected,
    OutcomeUnknown,
    PermissionMissing,
    RequestRefused,
    TargetBusy,
    TargetUnreachable,
)

_STATUS: Final = 'REST API, "Status codes"'
_VARIABLES: Final = 'Project-level CI/CD variables API, "Create a variable"'
_REPLICAS: Final = 'Administer GitLab, "Database load balancing"'
_LIMITS: Final = 'Rate limits, "Response headers"'
_502: Final = 'Troubleshooting, "502 errors"'
ANSWERS: Final[tuple[VendorAnswer, ...]] = (
    answer_row(
        400,
        ": the key is taken",
        RequestRefused,
        _VARIABLES,
        body='{"message": {"key": ["(A) has already been taken"]}}',
        of=("POST",),
    ),
    answer_row(
        400,
        ": the value cannot be masked",
        RequestRefused,
        'CI/CD variables, "Mask a CI/CD variable"',
        body='{"message": {"value": ["is invalid"]}}',
    ),
    answer_row(
        400,
        ": the maximum of variables is reached",
        RequestRefused,
        'GitLab application limits, "Number of CI/CD variables"',
        body='{"message": {"base": ["Maximum number of ci variables (8000) exceeded"]}}',
        of=("POST",),
    ),
    answer_row(401, ": the token is unknown or expired", CredentialsRejected, _STATUS),
    answer_row(
        403,
        ": the role or the scope does not allow it",
        PermissionMissing,
        _STATUS,
        body='{"error": "insufficient_scope"}',
    ),
    answer_row(
        404,
        ": it is not permitted, where the place is listed",
        PermissionMissing,
        _STATUS,
        body='{"message": "404 Not Found"}',
    ),
    answer_row(405, "", RequestRefused, _STATUS),
    answer_row(409, ": a conflicting resource is there", RequestRefused, _STATUS),
    answer_row(412, "", RequestRefused, _STATUS),
    answer_row(422, ": it could not be processed", RequestRefused, _STATUS),
    answer_row(429, " with Retry-After", TargetBusy, _LIMITS, headers={"Retry-After": "1"}),
    answer_row(500, "", TargetBusy, _STATUS, proves=Proof.UNKNOWN),
    answer_row(502, "", TargetBusy, _502, proves=Proof.UNKNOWN),
    answer_row(
        503,
        ", also of the maintenance mode",
        TargetBusy,
        'Administer GitLab, "Maintenance mode"',
        proves=Proof.UNKNOWN,
    ),
    answer_row(0, "", TargetUnreachable, _STATUS, proves=Proof.UNKNOWN),
    answer_row(401, "", CredentialsRejected, _STATUS, Request.LOOK),
    answer_row(403, "", PermissionMissing, _STATUS, Request.LOOK),
    answer_row(500, "", TargetBusy, _STATUS, Request.LOOK),
    *(
        answer_row(status, meaning, OutcomeUnknown, source, Request.LOOK_AFTER, Proof.UNKNOWN, of=("PUT",))
        for status, meaning, source in (
            (0, "", _STATUS),
            (403, "", _STATUS),
            (404, ": of a replica that is behind", _REPLICAS),
            (429, "", _LIMITS),
            (502, "", _502),
        )
    ),
)
