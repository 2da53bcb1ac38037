"""What errors of AWS Secrets Manager mean to an operator, by their code (API reference, common errors).

AWS's own messages are not repeated: some of them quote what was sent.
"""

import re
from typing import Final

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
)

from sync_app.errors import (
    BackendError,
    ChangedSinceRead,
    CredentialsRejected,
    KeyUnusable,
    NameReserved,
    NameUnusable,
    PermissionMissing,
    QuotaExceeded,
    RequestRefused,
    TargetBusy,
    TargetUnreachable,
    ValueUnusable,
)

_REJECTED: Final = {
    "UnrecognizedClientException",
    "InvalidClientTokenId",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "ExpiredTokenException",
    "ExpiredToken",
    "OptInRequired",
}
# By a wrong key, or at a time that is more than some minutes off ("Common errors").
_UNSIGNED: Final = {
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "IncompleteSignature",
    "RequestExpired",
    "RequestTimeTooSkewed",
}
_DENIED: Final = {"AccessDeniedException", "AccessDenied", "NotAuthorized"}
_KEY: Final = {"EncryptionFailure", "DecryptionFailure", "InvalidKeyId"}
_BUSY: Final = {
    "ThrottlingException",
    "Throttling",
    "ThrottledException",
    "RequestThrottled",
    "RequestThrottledException",
    "TooManyRequestsException",
    "RequestLimitExceeded",
    "BandwidthLimitExceeded",
    "ProvisionedThroughputExceededException",
    "TransactionInProgressException",
    "EC2ThrottledException",
    "SlowDown",
    "TooManyUpdates",
    # Whether it was carried out is not known.
    "RequestTimeout",
    "RequestTimeoutException",
    "RequestAbortedException",
    "PriorRequestNotComplete",
    "InternalServerError",
    "InternalServiceError",
    "InternalServiceErrorException",
    "ServiceUnavailable",
}
# Of Secrets Manager, then of Parameter Store.
NOT_FOUND: Final = {
    "ResourceNotFoundException",
    "ParameterNotFound",
    "ParameterVersionNotFound",
    "InvalidResourceId",
}
_EXISTS: Final = {"ResourceExistsException", "ParameterAlreadyExists"}
_LIMITS: Final = {"LimitExceededException", "ParameterLimitExceeded"}
_PERMISSION: Final = re.compile(r"not authorized to perform: ([a-z-]+:[A-Za-z]+)")
_DELETED: Final = re.compile(r"(marked|scheduled) for deletion|currently marked deleted")
_SERVER_ERROR: Final = 500
_BUSY_MESSAGE: Final = "{operation}: AWS is busy or failed ({code}): try again later"
# What a code alone means, whatever was asked.
_MEANINGS: Final[tuple[tuple[set[str], type[BackendError], str], ...]] = (
    (_REJECTED, CredentialsRejected, "AWS does not accept the credentials ({code}): renew them"),
    (
        _UNSIGNED,
        CredentialsRejected,
        "AWS does not accept the signature ({code}): check secret access key, and the clock of the machine",
    ),
    (_KEY, KeyUnusable, "{operation}: the KMS key is missing, disabled or not allowed: check it"),
    (_EXISTS, ChangedSinceRead, "another secret or version is there already: plan again"),
    (
        # API reference, "PutParameter", Errors: the oldest version of 100 goes, unless it has a label.
        {"ParameterMaxVersionLimitExceeded"},
        QuotaExceeded,
        "the oldest of the parameter's 100 versions has a label, so AWS takes no other: move or remove that",
    ),
    (_LIMITS, QuotaExceeded, "{operation}: a quota of AWS is reached: delete, or ask AWS for more"),
    (
        {"ParameterPatternMismatchException"},
        ValueUnusable,
        "the parameter's AllowedPattern in AWS does not allow the value: change the pattern, or the value",
    ),
    (
        {"HierarchyLevelLimitExceededException"},
        NameUnusable,
        "Parameter Store takes no name of so many levels: rename the secret",
    ),
    (_BUSY, TargetBusy, _BUSY_MESSAGE),
)


class NotFound(ChangedSinceRead):
    """There is no secret of this name or ARN."""


def translate_error(operation: str, error: ClientError) -> BackendError:
    """Return what an answer of AWS means."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    message = str(error.response.get("Error", {}).get("Message", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    for codes, kind, told in _MEANINGS:
        if code in codes:
            return kind(told.format(operation=operation, code=code))
    if code in _DENIED:
        if "KMS" in message:
            return KeyUnusable(f"{operation}: allow these credentials to use the KMS key")
        found = _PERMISSION.search(message)
        permission = found.group(1) if found else permission_for(operation)
        return PermissionMissing(f"the credentials lack the permission {permission}")
    if code == "InvalidRequestException" and _DELETED.search(message):
        return NameReserved("a secret of this name is planned for deletion: restore it in AWS, or wait")
    if status >= _SERVER_ERROR:
        return TargetBusy(_BUSY_MESSAGE.format(operation=operation, code=code or status))
    return RequestRefused(f"AWS refused {operation} ({code or 'no code'})")


def translate_no_answer(operation: str, error: BotoCoreError) -> BackendError:
    """Return what it means that a request did not come to an answer."""
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return CredentialsRejected("no AWS credentials: give an access key, or run where a role gives them")
    if isinstance(error, ParamValidationError):
        return RequestRefused(f"{operation}: the AWS SDK does not take a parameter of this form")
    return TargetUnreachable(f"{operation} got no answer ({type(error).__name__}): check network and region")


def permission_for(operation: str) -> str:
    """Return the permission of an operation; one of Secrets Manager is given without its service."""
    return operation if ":" in operation else f"secretsmanager:{operation}"
