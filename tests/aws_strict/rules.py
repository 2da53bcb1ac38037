"""What AWS refuses and moto does not, with the error that AWS documents for it.

Sources: API references of Secrets Manager (CreateSecret, PutSecretValue, UpdateSecret,
TagResource, BatchGetSecretValue) and of KMS ("Key states of AWS KMS keys").
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

Body = Mapping[str, Any]
Ask = Callable[[str, dict[str, Any]], tuple[int, dict[str, Any]]]
Refusal = tuple[str, str]

MAX_SECRET_BYTES: Final = 65_536
MAX_BATCH: Final = 20
_NAME: Final = re.compile(r"[A-Za-z0-9/_+=.@!-]{1,512}")
_WRITES: Final = {
    "PutSecretValue",
    "UpdateSecret",
    "TagResource",
    "UntagResource",
    "UpdateSecretVersionStage",
}
_USES_OF_KEYS: Final = {
    "Encrypt",
    "Decrypt",
    "GenerateDataKey",
    "GenerateDataKeyWithoutPlaintext",
    "ReEncrypt",
}
_DELETED: Final = "You can't perform this operation on the secret because it was marked for deletion."
_HELD: Final = (
    "You can't create this secret because a secret with this name is already scheduled for deletion."
)


def completed(operation: str, body: Body) -> Body:
    """Return a request with AWS's defaults, where moto has others."""
    if operation == "GetSecretValue" and not {"VersionId", "VersionStage"} & body.keys():
        return {**body, "VersionStage": "AWSCURRENT"}
    return body


def secrets_manager(  # noqa: PLR0911  one branch a rule
    operation: str, body: Body, ask: Ask
) -> Refusal | None:
    """Return code and message of what AWS Secrets Manager would refuse."""
    text = body.get("SecretString")
    if text is not None and not 1 <= len(text.encode()) <= MAX_SECRET_BYTES:
        return "ValidationException", "secretString must have length less than or equal to 65536"
    if operation == "CreateSecret" and not _NAME.fullmatch(body.get("Name", "")):
        return "ValidationException", "Invalid name. Must be a valid name containing alphanumeric characters"
    if operation == "CreateSecret":
        status, secret = ask("secretsmanager.DescribeSecret", {"SecretId": body["Name"]})
        if status == 200 and secret.get("DeletedDate"):
            return "InvalidRequestException", _HELD
    if operation == "BatchGetSecretValue" and len(body.get("SecretIdList") or []) > MAX_BATCH:
        return "InvalidParameterException", "secretIdList must have length less than or equal to 20"
    if operation in _WRITES:
        status, secret = ask("secretsmanager.DescribeSecret", {"SecretId": body["SecretId"]})
        if status == 200 and secret.get("DeletedDate"):
            return "InvalidRequestException", _DELETED
        if status == 200 and "SecretString" in body and secret.get("KmsKeyId"):
            return _encryption(secret["KmsKeyId"], ask)
    if body.get("KmsKeyId"):
        return _encryption(body["KmsKeyId"], ask)
    return None


def kms(operation: str, body: Body, ask: Ask) -> Refusal | None:
    """Return code and message of what AWS KMS would refuse."""
    if operation not in _USES_OF_KEYS:
        return None
    for field in ("KeyId", "SourceKeyId", "DestinationKeyId"):
        state = _key_state(body[field], ask) if body.get(field) else None
        if state == "Disabled":
            return "DisabledException", f"{body[field]} is disabled."
        if state not in {None, "Enabled"}:
            return "KMSInvalidStateException", f"{body[field]} is pending deletion."
    return None


def _encryption(key: str, ask: Ask) -> Refusal | None:
    if _key_state(key, ask) == "Enabled":
        return None
    return (
        "EncryptionFailure",
        "Secrets Manager can't encrypt the protected secret text using the provided KMS key.",
    )


def _key_state(key: str, ask: Ask) -> str | None:
    status, answer = ask("TrentService.DescribeKey", {"KeyId": key})
    return str(answer["KeyMetadata"]["KeyState"]) if status == 200 else None
