"""What AWS's answers prove about a write: the errors that its API references list for each operation."""

from collections.abc import Iterable
from typing import Final

import orjson

from sync_app.backends.answers import Proof, Request, VendorAnswer
from sync_app.errors import (
    BackendError,
    ChangedSinceRead,
    CredentialsRejected,
    KeyUnusable,
    NameReserved,
    NameUnusable,
    OutcomeUnknown,
    PermissionMissing,
    QuotaExceeded,
    RequestRefused,
    TargetBusy,
    TargetUnreachable,
    ValueUnusable,
)

_SERVER_ERROR: Final = 500
_CREATE: Final = "CreateSecret"
_STAGED: Final = "PutSecretValue"
_MOVE: Final = "UpdateSecretVersionStage"
_PUT: Final = "PutParameter"
_COMMON: Final = 'API Reference, "Common Error Types"'


def _row(
    code: str,
    error: type[BackendError],
    *of: str,
    status: int = 400,
    to: Request = Request.WRITE,
    proves: Proof = Proof.NOTHING,
    message: str = "",
    meaning: str = "",
    source: str = "",
) -> VendorAnswer:
    return VendorAnswer(
        answer=f"{code}{meaning}",
        to=to,
        status=status,
        headers={"x-amzn-errortype": code} if status else {},
        body=orjson.dumps({"__type": code, "message": message, "Message": message}).decode(),
        proves=proves,
        error=error,
        source=source or (f'API Reference, {" and ".join(of)}, "Errors"' if of else _COMMON),
        of=of,
    )


def _common(*opens: str) -> Iterable[VendorAnswer]:
    """Return what any request may be answered; `opens` are the operations that change the value."""
    yield _row(
        "AccessDeniedException",
        PermissionMissing,
        message="User: arn:aws:iam::1:user/a is not authorized to perform: service:Operation",
    )
    yield _row(
        "AccessDeniedException",
        KeyUnusable,
        meaning=" by KMS",
        message="The ciphertext refers to a key that these credentials may not use (Service: AWSKMS)",
        source='AWS KMS, "Key policies"',
    )
    yield _row("ExpiredTokenException", CredentialsRejected, status=403)
    yield _row("UnrecognizedClientException", CredentialsRejected, status=403)
    yield _row("IncompleteSignature", CredentialsRejected, status=403)
    yield _row("NotAuthorized", PermissionMissing, status=401)
    yield _row("OptInRequired", CredentialsRejected, status=403)
    yield _row("ValidationException", RequestRefused)
    yield _row("ThrottlingException", TargetBusy)
    yield _row(
        "RequestTimeoutException", TargetBusy, *opens, status=408, proves=Proof.UNKNOWN, source=_COMMON
    )
    yield _row("ServiceUnavailable", TargetBusy, *opens, status=503, proves=Proof.UNKNOWN, source=_COMMON)
    yield _row("none", TargetUnreachable, *opens, status=0, proves=Proof.UNKNOWN, source=_COMMON)
    yield _row("AccessDeniedException", PermissionMissing, to=Request.LOOK)
    yield _row("ExpiredTokenException", CredentialsRejected, to=Request.LOOK, status=403)
    yield _row("ThrottlingException", TargetBusy, to=Request.LOOK)


SECRETS_MANAGER: Final[tuple[VendorAnswer, ...]] = (
    *_common(_CREATE, _MOVE),
    # What waits under our own stage is nobody's current value.
    _row("none", TargetUnreachable, _STAGED, status=0, meaning=", before the version is current"),
    _row("InvalidParameterException", RequestRefused, _CREATE, _STAGED, _MOVE),
    _row("InvalidRequestException", RequestRefused, _CREATE, _STAGED, _MOVE),
    _row(
        "InvalidRequestException",
        NameReserved,
        _CREATE,
        meaning=": a secret that is deleted by then",
        message="You can't create this secret because a secret with this name is already scheduled for "
        "deletion.",
    ),
    _row(
        "InvalidRequestException",
        ChangedSinceRead,
        _STAGED,
        meaning=": it was deleted",
        message="You can't perform this operation on the secret because it was marked for deletion.",
    ),
    _row("LimitExceededException", QuotaExceeded, _CREATE, _STAGED, _MOVE),
    _row("EncryptionFailure", KeyUnusable, _CREATE, _STAGED),
    _row("DecryptionFailure", KeyUnusable, _CREATE, _STAGED),
    _row("ResourceExistsException", ChangedSinceRead, _CREATE, _STAGED),
    _row("ResourceNotFoundException", RequestRefused, _CREATE, meaning=": what the request names beside it"),
    _row("ResourceNotFoundException", ChangedSinceRead, _STAGED, _MOVE),
    _row("MalformedPolicyDocumentException", RequestRefused, _CREATE),
    _row("PreconditionNotMetException", RequestRefused, _CREATE),
    _row("InternalServiceError", TargetBusy, _CREATE, _MOVE, status=_SERVER_ERROR, proves=Proof.UNKNOWN),
    _row(
        "InternalServiceError",
        TargetBusy,
        _STAGED,
        status=_SERVER_ERROR,
        meaning=", before the version is current",
    ),
    _row("InternalServiceError", TargetBusy, to=Request.LOOK, status=_SERVER_ERROR),
    *(
        _row(
            code,
            OutcomeUnknown,
            _MOVE,
            to=Request.LOOK_AFTER,
            status=status,
            proves=Proof.UNKNOWN,
            source='User Guide, "Troubleshoot AWS Secrets Manager", eventual consistency',
        )
        for code, status in (
            ("none", 0),
            ("AccessDeniedException", 400),
            ("ThrottlingException", 400),
            ("ResourceNotFoundException", 400),
            ("InternalServiceError", _SERVER_ERROR),
        )
    ),
)
PARAMETER_STORE: Final[tuple[VendorAnswer, ...]] = (
    *_common(_PUT),
    _row("ParameterAlreadyExists", ChangedSinceRead, _PUT),
    _row("ParameterLimitExceeded", QuotaExceeded, _PUT),
    _row("ParameterMaxVersionLimitExceeded", QuotaExceeded, _PUT),
    _row("TooManyUpdates", TargetBusy, _PUT),
    _row("InvalidKeyId", KeyUnusable, _PUT),
    _row("HierarchyLevelLimitExceededException", NameUnusable, _PUT),
    _row("ParameterPatternMismatchException", ValueUnusable, _PUT),
    *(
        _row(code, RequestRefused, _PUT)
        for code in (
            "HierarchyTypeMismatchException",
            "InvalidAllowedPatternException",
            "UnsupportedParameterType",
            "PoliciesLimitExceededException",
            "InvalidPolicyTypeException",
            "InvalidPolicyAttributeException",
            "IncompatiblePolicyException",
        )
    ),
    _row("InternalServerError", TargetBusy, _PUT, status=_SERVER_ERROR, proves=Proof.UNKNOWN),
    _row("InternalServerError", TargetBusy, to=Request.LOOK, status=_SERVER_ERROR),
    *(
        _row(
            code,
            OutcomeUnknown,
            to=Request.LOOK_AFTER,
            status=status,
            proves=Proof.UNKNOWN,
            source='API Reference, GetParameter, "Errors"',
        )
        for code, status in (
            ("none", 0),
            ("AccessDeniedException", 400),
            ("ThrottlingException", 400),
            ("ParameterNotFound", 400),
            ("ParameterVersionNotFound", 400),
            ("InvalidKeyId", 400),
            ("InternalServerError", _SERVER_ERROR),
        )
    ),
)
