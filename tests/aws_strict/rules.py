"""What AWS refuses and moto does not, with the error that AWS documents for it.

Sources: API references of Secrets Manager (CreateSecret, PutSecretValue, UpdateSecret,
TagResource, BatchGetSecretValue), of Systems Manager (PutParameter, DescribeParameters) and of KMS (Decrypt, ReEncrypt; "Key states of AWS KMS keys",
"Determining access: cross-account and cross-Region requests").
"""

import base64
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

Body = Mapping[str, Any]
Ask = Callable[[str, dict[str, Any]], tuple[int, dict[str, Any]]]
Refusal = tuple[str, str]

MAX_SECRET_BYTES: Final = 65_536
MAX_BATCH: Final = 20
ACCOUNT: Final = "123456789012"
_KEY_ID_LENGTH: Final = 36
MAX_LEVELS: Final = 15
MAX_PAGE: Final = 50
_PARAMETER: Final = re.compile(r"[A-Za-z0-9_.\-/]{1,1011}")
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
    operation: str, body: Body, ask: Ask, _region: str
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


def parameter_store(operation: str, body: Body, _ask: Ask, _region: str) -> Refusal | None:
    """Return code and message of what Parameter Store would refuse (PutParameter, DescribeParameters)."""
    name = str(body.get("Name") or body.get("ResourceId") or "")
    if operation in {"PutParameter", "GetParameter"} and not _PARAMETER.fullmatch(name.partition(":")[0]):
        return "ValidationException", "Parameter name: can't contain these characters"
    if operation == "PutParameter":
        if name.count("/") > MAX_LEVELS:
            return "HierarchyLevelLimitExceededException", "A hierarchy can have a maximum of 15 levels."
        # PutParameter, "Value": no other parameter is referenced in a value.
        if re.search(r"\{\{.*?\}\}", body["Value"], re.DOTALL):
            return "ValidationException", 'Parameter value can\'t nest another parameter. Do not use "{{}}".'
        most = 4096 if body.get("Tier", "Standard") == "Standard" and not body.get("Overwrite") else 8192
        if not 1 <= len(body["Value"].encode()) <= most:
            return "ValidationException", f"Standard tier parameters support a maximum of {most} characters."
    if operation == "DescribeParameters" and not 1 <= body.get("MaxResults", 10) <= MAX_PAGE:
        return "ValidationException", "maxResults must have value less than or equal to 50"
    return None


def kms(operation: str, body: Body, ask: Ask, region: str) -> Refusal | None:
    """Return code and message of what AWS KMS would refuse."""
    keys = [body[field] for field in ("KeyId", "SourceKeyId", "DestinationKeyId") if body.get(field)]
    for key in keys:
        refusal = _elsewhere(operation, key, region)
        if refusal:
            return refusal
    if operation not in _USES_OF_KEYS:
        return None
    for key in keys:
        state = _key_state(key, ask)
        if state == "Disabled":
            return "DisabledException", f"{key} is disabled."
        if state not in {None, "Enabled"}:
            return "KMSInvalidStateException", f"{key} is pending deletion."
    return _wrong_key(operation, body, ask)


def denied(service: str, operation: str, *, reason: str = "") -> Refusal:
    """Return what AWS says to an identity without a permission; it repeats who that is."""
    who = f"arn:aws:iam::{ACCOUNT}:user/keeper"
    named = {"TrentService": "kms", "AmazonSSM": "ssm"}.get(service, service)
    return "AccessDeniedException", f"User: {who} is not authorized to perform: {named}:{operation}{reason}"


def _elsewhere(operation: str, key: str, region: str) -> Refusal | None:
    """Return how KMS refuses an ARN of another region or account, whatever there is of that name."""
    parts = key.split(":")
    if len(parts) < 6:
        return None
    if parts[3] != region:
        return "NotFoundException", f"Invalid arn {parts[3]}"
    if parts[4] != ACCOUNT:
        return denied(
            "kms",
            operation,
            reason=" on this resource because the resource does not exist in this Region, no resource-based "
            "policies allow access, or a resource-based policy explicitly denies access",
        )
    return None


def _wrong_key(operation: str, body: Body, ask: Ask) -> Refusal | None:
    """Refuse a ciphertext of another key than the one that is named; moto's begins with the key's id."""
    named = body.get("SourceKeyId" if operation == "ReEncrypt" else "KeyId")
    if operation not in {"Decrypt", "ReEncrypt"} or not named:
        return None
    status, key = ask("TrentService.DescribeKey", {"KeyId": named})
    wrapped_by = base64.b64decode(body["CiphertextBlob"])[:_KEY_ID_LENGTH].decode("ascii", "replace")
    if status != 200 or key["KeyMetadata"]["KeyId"] == wrapped_by:
        return None
    return (
        "IncorrectKeyException",
        "The key ID in the request does not identify a CMK that can perform this operation.",
    )


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
