"""Wraps data keys under keys of AWS KMS, which never leave it.

Permissions: kms:GenerateDataKey and kms:Decrypt on every allowed key, and kms:DescribeKey
where a key is configured by alias or by id instead of its ARN. `kms key-info` asks by
kms:DescribeKey and kms:GetKeyRotationStatus. Re-wrapping needs kms:ReEncryptFrom on the old key
and kms:ReEncryptTo on the new one, migrating from a key file kms:Encrypt, turning on rotation
kms:EnableKeyRotation.
Keys are symmetric (SYMMETRIC_DEFAULT) and of the configured region.
"""

import functools
import re
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, ClassVar, Final, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
)
from django.conf import settings

from secrets_app.errors import KeyRefused, KeyUnavailable, WrongContext
from secrets_app.key_providers.base import Generated, KeyDescription, KeyProvider

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient

Answer = TypeVar("Answer")

_KEY_ARN: Final = re.compile(r"arn:[a-z-]+:kms:[a-z0-9-]+:\d{12}:key/[A-Za-z0-9-]+")
_SCOPE: Final = re.compile(r"arn:[a-z-]+:kms:[a-z0-9-]+:\d{12}:")
_ATTEMPTS: Final = 3
# Where it is not named like the operation (KMS Developer Guide, permissions reference).
_PERMISSIONS: Final = {"ReEncrypt": "kms:ReEncryptFrom on the old key and kms:ReEncryptTo on the new one"}

_THROTTLED: Final = {
    "ThrottlingException",
    "Throttling",
    "RequestLimitExceeded",
    "LimitExceededException",
    "TooManyRequestsException",
}
# InvalidCiphertext: edited, or another encryption context. IncorrectKey: wrapped by another key.
_WRONG: Final = {"InvalidCiphertextException", "IncorrectKeyException"}
# What the operator has to do, by the error's code (KMS API reference, common and Decrypt errors).
_ADVICE: Final = {
    "DisabledException": "enable the key again",
    "KMSInvalidStateException": "enable the key, or cancel its deletion",
    "NotFoundException": "no such key or alias in this account and region: correct KMS_KEY_ID",
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


class KmsProvider(KeyProvider):
    """Wraps data keys by GenerateDataKey and unwraps them by Decrypt, under allowed keys alone.

    An alias is resolved once a process and its key's ARN stored: pointing it at another key
    has an effect on new data keys after a restart, and never on stored ones.
    """

    name: ClassVar[str] = "kms"
    remote: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self._resolved: dict[str, str] = {}
        self._lock = threading.Lock()

    @functools.cached_property
    def _client(self) -> "KMSClient":
        timeout = settings.KMS_TIMEOUT_SECONDS
        with self._lock:  # Sessions are not thread-safe, clients are.
            return boto3.session.Session().client(
                "kms",
                region_name=settings.AWS_REGION or None,
                endpoint_url=settings.AWS_ENDPOINT_URL_KMS or None,
                config=Config(
                    connect_timeout=timeout,
                    read_timeout=timeout,
                    retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
                ),
            )

    def resolve(self, reference: str) -> str:
        """Return the ARN of a key given by ARN, id or alias; asks KMS once for what is no key ARN."""
        reference = reference or _configured_reference()
        if _KEY_ARN.fullmatch(reference):
            arn = reference
        else:
            arn = self._resolved.get(reference) or self._described(reference)
        self._refuse_unless_allowed(arn)
        return arn

    def generate(self, *, key_uri: str, context: Mapping[str, str]) -> Generated:
        """Return a new data key from GenerateDataKey."""
        self._refuse_unless_allowed(key_uri)
        reply = self._ask(
            "GenerateDataKey",
            lambda: self._client.generate_data_key(
                KeyId=key_uri, KeySpec="AES_256", EncryptionContext=dict(context)
            ),
        )
        _refuse_other_key(reply["KeyId"], key_uri)
        return Generated(plain=reply["Plaintext"], wrapped=reply["CiphertextBlob"], key_uri=key_uri)

    def wrap(self, *, key_uri: str, plain: bytes, context: Mapping[str, str]) -> bytes:
        """Return a data key from Encrypt: for those that the key file wrapped before."""
        self._refuse_unless_allowed(key_uri)
        reply = self._ask(
            "Encrypt",
            lambda: self._client.encrypt(KeyId=key_uri, Plaintext=plain, EncryptionContext=dict(context)),
        )
        _refuse_other_key(reply["KeyId"], key_uri)
        return reply["CiphertextBlob"]

    def unwrap(self, *, key_uri: str, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """Return a data key from Decrypt, which is told the key that must have wrapped it."""
        self._refuse_unless_allowed(key_uri)
        reply = self._ask(
            "Decrypt",
            lambda: self._client.decrypt(
                KeyId=key_uri, CiphertextBlob=wrapped, EncryptionContext=dict(context)
            ),
        )
        _refuse_other_key(reply["KeyId"], key_uri)
        return reply["Plaintext"]

    def rewrap(self, *, key_uri: str, wrapped: bytes, context: Mapping[str, str], to_key_uri: str) -> bytes:
        """Return a data key wrapped by another key, from ReEncrypt: it never leaves KMS in the clear.

        Both keys must be of the configured region.
        """
        for arn in (key_uri, to_key_uri):
            self._refuse_unless_allowed(arn)
        reply = self._ask(
            "ReEncrypt",
            lambda: self._client.re_encrypt(
                CiphertextBlob=wrapped,
                SourceKeyId=key_uri,
                SourceEncryptionContext=dict(context),
                DestinationKeyId=to_key_uri,
                DestinationEncryptionContext=dict(context),
            ),
        )
        _refuse_other_key(reply["SourceKeyId"], key_uri)
        _refuse_other_key(reply["KeyId"], to_key_uri)
        return reply["CiphertextBlob"]

    def describe(self, key_uri: str) -> KeyDescription:
        """Return a key's state from DescribeKey and GetKeyRotationStatus."""
        self._refuse_unless_allowed(key_uri)
        reply = self._ask("DescribeKey", lambda: self._client.describe_key(KeyId=key_uri))
        state = reply["KeyMetadata"].get("KeyState", "unknown")
        rotates, note = self._rotates(key_uri)
        return KeyDescription(
            key_uri=key_uri, state=state, usable=state == "Enabled", rotates=rotates, note=note
        )

    def turn_on_rotation(self, key_uri: str) -> bool:
        """Turn on AWS's own yearly rotation of a key's material, by EnableKeyRotation, if it is off."""
        self._refuse_unless_allowed(key_uri)
        if self._rotation_status(key_uri):
            return False
        self._ask("EnableKeyRotation", lambda: self._client.enable_key_rotation(KeyId=key_uri))
        return True

    def _rotates(self, key_uri: str) -> tuple[bool | None, str]:
        try:
            return self._rotation_status(key_uri), ""
        except KeyUnavailable as error:
            # What else there is to say about the key does not depend on this.
            return None, str(error)

    def _rotation_status(self, key_uri: str) -> bool:
        reply = self._ask("GetKeyRotationStatus", lambda: self._client.get_key_rotation_status(KeyId=key_uri))
        return reply["KeyRotationEnabled"]

    def _described(self, reference: str) -> str:
        reply = self._ask("DescribeKey", lambda: self._client.describe_key(KeyId=reference))
        key = reply["KeyMetadata"]
        # KMS documents every field but the id as optional; a wrong use is refused by GenerateDataKey.
        if not key.get("Enabled", True) or key.get("KeyUsage", "ENCRYPT_DECRYPT") != "ENCRYPT_DECRYPT":
            raise KeyUnavailable(
                f"the KMS key {key['Arn']} is disabled or not one for encryption: enable or replace it",
                permanent=True,
            )
        self._resolved[reference] = key["Arn"]
        return key["Arn"]

    def _refuse_unless_allowed(self, arn: str) -> None:
        if not _KEY_ARN.fullmatch(arn):
            raise KeyRefused("the key URI is not the ARN of a KMS key")
        allowed = settings.KMS_ALLOWED_KEYS or [self._configured_scope()]
        if not any(arn.startswith(entry) if _SCOPE.fullmatch(entry) else arn == entry for entry in allowed):
            raise KeyRefused(f"the KMS key {arn} is not allowed: KMS_ALLOWED_KEYS does not name it")

    def _configured_scope(self) -> str:
        """Return account and region of the configured key, as the start of its ARN."""
        reference = _configured_reference()
        scope = _SCOPE.match(reference) or _SCOPE.match(
            self._resolved.get(reference) or self._described(reference)
        )
        if scope is None:
            raise KeyRefused("the configured KMS key has no ARN of the usual form")
        return scope.group()

    def _ask(self, operation: str, request: Callable[[], Answer]) -> Answer:
        """Ask KMS, and say what an operator has to do if it refuses; no key material in any message."""
        self.count(operation)
        try:
            return request()
        except ClientError as error:
            raise _translated(operation, error) from error
        except (NoCredentialsError, PartialCredentialsError, NoRegionError) as error:
            raise KeyUnavailable(
                f"KMS {operation}: {error}: configure AWS_REGION and AWS credentials", permanent=True
            ) from error
        except BotoCoreError as error:
            raise KeyUnavailable(
                f"KMS {operation} got no answer ({type(error).__name__}): check the network, AWS_REGION and "
                "AWS_ENDPOINT_URL_KMS",
                permanent=False,
            ) from error


def _configured_reference() -> str:
    reference: str = settings.KMS_KEY_ID
    if not reference and settings.KMS_KEY_ALIAS:
        alias: str = settings.KMS_KEY_ALIAS
        reference = alias if alias.startswith(("alias/", "arn:")) else f"alias/{alias}"
    if not reference:
        raise KeyUnavailable("no KMS key is configured: set KMS_KEY_ID or KMS_KEY_ALIAS", permanent=True)
    return reference


def _refuse_other_key(answered: str, asked: str) -> None:
    if answered != asked:
        raise KeyRefused(f"KMS answered with another key than {asked}")


def _translated(operation: str, error: ClientError) -> Exception:
    code = error.response.get("Error", {}).get("Code", "")
    if code in _WRONG:
        return WrongContext("the wrapped data key was edited, or belongs to another place or key")
    if code in _THROTTLED:
        return KeyUnavailable(
            f"KMS throttles {operation}: wait, or raise the account's request quota",
            permanent=False,
            throttled=True,
        )
    if code == "AccessDeniedException":
        permission = _PERMISSIONS.get(operation, f"kms:{operation}")
        return KeyUnavailable(
            f"KMS refused {operation} ({code}): allow this installation's AWS identity {permission} "
            "(IAM or key policy)",
            permanent=True,
            permission=permission,
        )
    if code in _ADVICE:
        return KeyUnavailable(f"KMS refused {operation} ({code}): {_ADVICE[code]}", permanent=True)
    return KeyUnavailable(f"KMS failed {operation} ({code or 'no code'}): try again later", permanent=False)
