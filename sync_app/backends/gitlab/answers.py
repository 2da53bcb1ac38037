"""What GitLab's answers prove about a write (REST API, "Status codes", and the pages named)."""

from typing import Final

from sync_app.backends.answers import Proof, Request, VendorAnswer
from sync_app.errors import (
    BackendError,
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
_REFUSED: Final[tuple[tuple[int, str, str, type[BackendError], tuple[str, ...], str], ...]] = (
    (
        400,
        ": the key is taken",
        '{"message": {"key": ["(A) has already been taken"]}}',
        RequestRefused,
        ("POST",),
        _VARIABLES,
    ),
    (
        400,
        ": the value cannot be masked",
        '{"message": {"value": ["is invalid"]}}',
        RequestRefused,
        (),
        'CI/CD variables, "Mask a CI/CD variable"',
    ),
    (
        400,
        ": the maximum of variables is reached",
        '{"message": {"base": ["Maximum number of ci variables (8000) exceeded"]}}',
        RequestRefused,
        ("POST",),
        'GitLab application limits, "Number of CI/CD variables"',
    ),
    (401, ": the token is unknown or expired", "", CredentialsRejected, (), _STATUS),
    (
        403,
        ": the role or the scope does not allow it",
        '{"error": "insufficient_scope"}',
        PermissionMissing,
        (),
        _STATUS,
    ),
    (
        404,
        ": it is not permitted, where the place is listed",
        '{"message": "404 Not Found"}',
        PermissionMissing,
        (),
        _STATUS,
    ),
    (405, "", "", RequestRefused, (), _STATUS),
    (409, ": a conflicting resource is there", "", RequestRefused, (), _STATUS),
    (412, "", "", RequestRefused, (), _STATUS),
    (422, ": it could not be processed", "", RequestRefused, (), _STATUS),
)
ANSWERS: Final[tuple[VendorAnswer, ...]] = (
    *(
        VendorAnswer(
            answer=f"{status}{answer}",
            to=Request.WRITE,
            status=status,
            body=body,
            proves=Proof.NOTHING,
            error=error,
            source=source,
            of=of,
        )
        for status, answer, body, error, of, source in _REFUSED
    ),
    VendorAnswer(
        answer="429 with Retry-After",
        to=Request.WRITE,
        status=429,
        headers={"Retry-After": "1"},
        proves=Proof.NOTHING,
        error=TargetBusy,
        source='Rate limits, "Response headers"',
    ),
    *(
        VendorAnswer(
            answer=f"{status or ''}{meaning}",
            to=Request.WRITE,
            status=status,
            proves=Proof.UNKNOWN,
            error=error,
            source=source,
        )
        for status, meaning, error, source in (
            (500, "", TargetBusy, _STATUS),
            (502, "", TargetBusy, 'Troubleshooting, "502 errors"'),
            (503, ", also of the maintenance mode", TargetBusy, 'Administer GitLab, "Maintenance mode"'),
            (0, "none", TargetUnreachable, _STATUS),
        )
    ),
    *(
        VendorAnswer(
            answer=str(status),
            to=Request.LOOK,
            status=status,
            proves=Proof.NOTHING,
            error=error,
            source=_STATUS,
        )
        for status, error in ((401, CredentialsRejected), (403, PermissionMissing), (500, TargetBusy))
    ),
    *(
        VendorAnswer(
            answer=f"{status or ''}{meaning}",
            to=Request.LOOK_AFTER,
            status=status,
            proves=Proof.UNKNOWN,
            error=OutcomeUnknown,
            source=source,
            of=("PUT",),
        )
        for status, meaning, source in (
            (0, "none", _STATUS),
            (403, "", _STATUS),
            (404, ": of a replica that is behind", _REPLICAS),
            (429, "", 'Rate limits, "Response headers"'),
            (502, "", 'Troubleshooting, "502 errors"'),
        )
    ),
)
