"""The operator's remedy for each failure of AWS KMS; docs/keys.md lists them.

Sources: KMS API reference (common errors, Decrypt, GenerateDataKey), KMS developer guide (key states).
No message repeats text from KMS, which is arbitrary, or any key material.
"""

import re
from typing import TYPE_CHECKING, Final

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ReadTimeoutError,
)
from django.conf import settings

from secrets_app.errors import KeyRefused, KeyUnavailable, SecretError, WrongContext

_THROTTLED: Final = {
    "ThrottlingException",
    "Throttling",
    "RequestLimitExceeded",
    "LimitExceededException",
    "TooManyRequestsException",
}
# InvalidCiphertext: edited, or another encryption context. IncorrectKey: wrapped by another key.
_WRONG: Final = {"InvalidCiphertextException", "IncorrectKeyException"}
if TYPE_CHECKING:
    from mypy_boto3_kms.type_defs import KeyMetadataTypeDef

_PENDING_DELETION: Final = re.compile(r"pending deletion", re.IGNORECASE)
_ACCOUNT: Final = re.compile(r"arn:[a-z-]+:(?:iam|sts|kms):[a-z0-9-]*:(\d{12}):")
# What stands for the key in these: its ARN, id or alias.
_STATES: Final = {
    "DisabledException": "the KMS key {key} is disabled: enable it again",
    "KMSInvalidStateException": "the KMS key {key} is in a state in which KMS does not use it: look at it",
    "NotFoundException": (
        "there is no KMS key {key} in this account and region: it was deleted, or the name is wrong; "
        "correct KMS_KEY_ID or KMS_KEY_ALIAS"
    ),
}
_DYING: Final = (
    "the KMS key {key} is pending deletion: cancel that now and enable it, "
    "for what it wraps opens never again once it is deleted"
)
# What the person has to do who named such a key; it repeats no name.
_ABSENT: Final = (
    "KMS has no such key in Keeper's account and region. Correct the name, or create the key or the alias."
)
_ADVICE_ON_STATES: Final = {
    "DisabledException": "The key is disabled. Enable it in KMS, or name another key.",
    "KMSInvalidStateException": (
        "KMS does not use the key in its present state. Look at it in KMS, or name another key."
    ),
    "NotFoundException": _ABSENT,
}
_ADVICE_ON_DYING: Final = (
    "The key is pending deletion. Cancel the deletion and enable the key in KMS, or name another key."
)
# What the operator has to do, by the error's code.
_ADVICE: Final = {
    "InvalidKeyUsageException": "configure a symmetric key for encryption and decryption",
    "InvalidArnException": "correct KMS_KEY_ID or KMS_KEY_ALIAS",
    "ValidationException": "correct KMS_KEY_ID, KMS_KEY_ALIAS or KMS_ENCRYPTION_CONTEXT",
    "UnrecognizedClientException": "configure valid AWS credentials",
    "InvalidClientTokenId": "configure valid AWS credentials",
    "InvalidSignatureException": "configure valid AWS credentials, and check the clock",
    "SignatureDoesNotMatch": "configure valid AWS credentials, and check the clock",
    "IncompleteSignature": "configure valid AWS credentials",
    "MissingAuthenticationToken": "configure valid AWS credentials",
    "ExpiredTokenException": "renew the AWS credentials",
    "ExpiredToken": "renew the AWS credentials",
    "UnsupportedOperationException": "AWS does not do this for keys of this kind or origin",
    "OptInRequired": "enable KMS for the AWS account",
}
# Where it is not named like the operation (KMS developer guide, permissions reference).
_PERMISSIONS: Final = {"ReEncrypt": "kms:ReEncryptFrom on the old key and kms:ReEncryptTo on the new one"}


class NoAnswer(KeyUnavailable):
    """KMS did not answer, in time or at all; others who ask now would wait in vain as well."""

    def __init__(self, message: str) -> None:
        super().__init__(message, permanent=False)


def describe_timeout(operation: str, seconds: float) -> NoAnswer:
    """Return the message for a request that exceeded its deadline."""
    return NoAnswer(
        f"KMS gave no answer to {operation} within {seconds:g} seconds: check the network and AWS's state, "
        "or raise KMS_TIMEOUT_SECONDS"
    )


def translate_error(operation: str, key: str, error: BotoCoreError | ClientError) -> SecretError:
    """Return what a failed request means; `key` is the key that it was about."""
    if isinstance(error, ClientError):
        return _translate_refusal(operation, key, error)
    if isinstance(error, NoCredentialsError | PartialCredentialsError | NoRegionError):
        return KeyUnavailable(
            f"KMS {operation}: {error}: configure AWS_REGION and AWS credentials", permanent=True
        )
    if isinstance(error, ReadTimeoutError | ConnectTimeoutError):
        return describe_timeout(operation, settings.KMS_TIMEOUT_SECONDS)
    return NoAnswer(
        f"KMS cannot be reached for {operation} ({type(error).__name__}): check the network, AWS_REGION and "
        "AWS_ENDPOINT_URL_KMS"
    )


def describe_wrong_key(operation: str, key: str) -> KeyRefused:
    """Return the message for an answer about a different key than the requested one."""
    return KeyRefused(
        f"KMS answered {operation} with another key than {key}: check AWS_ENDPOINT_URL_KMS, for AWS does not"
    )


def describe_wrong_region(key: str, asked: str) -> KeyUnavailable:
    """Return the message for a key that the configured region does not have."""
    return KeyUnavailable(
        f"the KMS key {key} is not of the region {asked}, where Keeper asks: correct AWS_REGION or the key",
        permanent=True,
        advice="The key is not of the region where Keeper asks KMS (AWS_REGION). Name a key of that region.",
    )


def require_encryption_key(key: "KeyMetadataTypeDef") -> None:
    """Raise KeyUnavailable unless a key wraps data keys: symmetric, for encryption and decryption."""
    # KMS documents every field but the id as optional; a wrong use is also refused by GenerateDataKey.
    use, spec = key.get("KeyUsage", "ENCRYPT_DECRYPT"), key.get("KeySpec", "SYMMETRIC_DEFAULT")
    if (use, spec) != ("ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT"):
        raise KeyUnavailable(
            f"the KMS key {key['Arn']} is not a symmetric key for encryption: name another key",
            permanent=True,
            advice="The key is not a symmetric key for encryption and decryption. Name one that is.",
        )


def require_enabled(key: "KeyMetadataTypeDef") -> None:
    """Raise KeyUnavailable unless a key is enabled."""
    state = key.get("KeyState", "Enabled" if key.get("Enabled", True) else "Disabled")
    if state == "Enabled" and key.get("Enabled", True):
        return
    dying = state.startswith("Pending") and state.endswith("Deletion")
    code = "DisabledException" if state == "Disabled" else "KMSInvalidStateException"
    raise KeyUnavailable(
        (_DYING if dying else _STATES[code]).format(key=key["Arn"]),
        permanent=True,
        advice=_ADVICE_ON_DYING if dying else _ADVICE_ON_STATES[code],
    )


def _translate_refusal(operation: str, key: str, error: ClientError) -> SecretError:
    details = error.response.get("Error", {})
    code, text = details.get("Code", ""), details.get("Message", "")
    if code in _WRONG:
        return WrongContext("the wrapped data key was edited, or belongs to another place or key")
    if code in _THROTTLED:
        return KeyUnavailable(
            f"KMS throttles {operation}: wait, or raise the account's request quota",
            permanent=False,
            throttled=True,
        )
    if code == "AccessDeniedException":
        return _translate_denial(operation, key, text)
    if code in _STATES:
        dying = code == "KMSInvalidStateException" and _PENDING_DELETION.search(text)
        sentence = (_DYING if dying else _STATES[code]).format(key=key)
        advice = _ADVICE_ON_DYING if dying else _ADVICE_ON_STATES[code]
        return KeyUnavailable(f"KMS refused {operation} ({code}): {sentence}", permanent=True, advice=advice)
    if code in _ADVICE:
        advice = _ABSENT if code == "InvalidArnException" else ""
        sentence = f"KMS refused {operation} ({code}): {_ADVICE[code]}"
        return KeyUnavailable(sentence, permanent=True, advice=advice)
    return KeyUnavailable(f"KMS failed {operation} ({code or 'no code'}): try again later", permanent=False)


def _translate_denial(operation: str, key: str, text: str) -> KeyUnavailable:
    permission = _PERMISSIONS.get(operation, f"kms:{operation}")
    owner, identity = _ACCOUNT.match(key), _ACCOUNT.search(text)
    if owner and identity and owner.group(1) != identity.group(1):
        return KeyUnavailable(
            f"KMS refused {operation} (AccessDeniedException): the key {key} is of another account than "
            f"this installation's AWS identity ({identity.group(1)}): correct the key or the credentials, "
            f"or allow {permission} in the key's policy and in IAM",
            permanent=True,
            permission=permission,
        )
    return KeyUnavailable(
        f"KMS refused {operation} (AccessDeniedException): allow this installation's AWS identity "
        f"{permission} on {key} (IAM or key policy)",
        permanent=True,
        permission=permission,
    )
