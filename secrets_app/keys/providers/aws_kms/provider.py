"""Wraps data keys under keys of AWS KMS, which never leave it.

Permissions: kms:GenerateDataKey and kms:Decrypt on every allowed key, and kms:DescribeKey
where a key is configured by alias or by id instead of its ARN. `kms key-info` asks by
kms:DescribeKey and kms:GetKeyRotationStatus. Re-wrapping needs kms:ReEncryptFrom on the old key
and kms:ReEncryptTo on the new one, migrating from a key file kms:Encrypt, turning on rotation
kms:EnableKeyRotation.
Keys are symmetric (SYMMETRIC_DEFAULT) and of the configured region.
"""

import functools
import ipaddress
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, TypeVar
from urllib.parse import urlsplit

from botocore.exceptions import NoRegionError
from django.conf import settings

from core.errors import OutboundError
from core.network.outbound import permitted_addresses
from secrets_app.errors import KeyRefused, KeyUnavailable
from secrets_app.keys.providers.aws_kms.errors import (
    describe_wrong_key,
    describe_wrong_region,
    require_enabled,
    require_encryption_key,
    translate_error,
)
from secrets_app.keys.providers.aws_kms.requests import CONCURRENT, Requests
from secrets_app.keys.providers.base import Generated, KeyDescription, KeyProvider

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient

Answer = TypeVar("Answer")

_KEY_ARN: Final = re.compile(r"arn:[a-z-]+:kms:([a-z0-9-]+):\d{12}:key/[A-Za-z0-9-]+")
_SCOPE: Final = re.compile(r"arn:[a-z-]+:kms:[a-z0-9-]+:\d{12}:")


@dataclass(frozen=True)
class _Target:
    """The key that an alias or id was, and when that was asked."""

    arn: str
    at: float


class KmsProvider(KeyProvider):
    """Wraps data keys by GenerateDataKey and unwraps them by Decrypt, under allowed keys alone.

    What an alias leads to is remembered for KMS_DEK_CACHE_TTL seconds; stored data keys name the
    ARN, so that pointing an alias at another key has an effect on new ones alone.

    Requests are not held to the endpoint rule of `core.network.outbound`, which is for addresses that
    people enter: this one comes from the environment variables alone, a VPC endpoint is private by
    its nature, and proxies are common. But without TLS, which would show data keys, it applies.
    """

    name: ClassVar[str] = "kms"
    remote: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self._targets: dict[str, _Target] = {}
        self._resolving = threading.Lock()
        self._requests = Requests(self.count)
        self._lock = threading.Lock()

    @functools.cached_property
    def _client(self) -> "KMSClient":
        # Here, since the AWS SDK takes time and memory, and a key file needs none of it.
        import boto3  # noqa: PLC0415
        from botocore.config import Config  # noqa: PLC0415

        from core.network.aws import limit  # noqa: PLC0415 - only where KMS is used

        timeout = settings.KMS_TIMEOUT_SECONDS
        # Requests are repeated by `Requests`, which knows of all that are under way.
        config = Config(
            retries={"mode": "standard", "total_max_attempts": 1}, max_pool_connections=CONCURRENT
        )
        with self._lock:  # Sessions are not thread-safe, clients are.
            client = boto3.session.Session().client(
                "kms",
                region_name=settings.AWS_REGION or None,
                endpoint_url=settings.AWS_ENDPOINT_URL_KMS or None,
                config=config,
            )
        _refuse_cleartext(client.meta.endpoint_url)
        limit(client, seconds=timeout)
        return client

    def resolve(self, reference: str, *, fresh: bool = False) -> str:
        """Return the ARN of a key given by ARN, id or alias; asks KMS for what is no key ARN.

        What it answered is good for KMS_DEK_CACHE_TTL seconds, unless the answer must be `fresh`.
        """
        reference = reference or _configured_reference()
        arn = reference if _KEY_ARN.fullmatch(reference) else self._target(reference, fresh=fresh)
        self._refuse_unless_allowed(arn)
        return arn

    def require_usable(self, reference: str) -> None:
        """Check by DescribeKey that a key exists, is enabled, encrypts, and is allowed; an ARN too."""
        arn = self.resolve(reference, fresh=True)
        if arn == reference:
            self._describe_key(arn)

    def generate(self, *, key_uri: str, context: Mapping[str, str]) -> Generated:
        self._refuse_unless_allowed(key_uri)
        reply = self._call(
            "GenerateDataKey",
            key_uri,
            lambda: self._client.generate_data_key(
                KeyId=key_uri, KeySpec="AES_256", EncryptionContext=dict(context)
            ),
        )
        _refuse_other_key("GenerateDataKey", reply["KeyId"], key_uri)
        return Generated(plain=reply["Plaintext"], wrapped=reply["CiphertextBlob"], key_uri=key_uri)

    def wrap(self, *, key_uri: str, plain: bytes, context: Mapping[str, str]) -> bytes:
        """Return a data key from Encrypt: for those that the key file wrapped before."""
        self._refuse_unless_allowed(key_uri)
        reply = self._call(
            "Encrypt",
            key_uri,
            lambda: self._client.encrypt(KeyId=key_uri, Plaintext=plain, EncryptionContext=dict(context)),
        )
        _refuse_other_key("Encrypt", reply["KeyId"], key_uri)
        return reply["CiphertextBlob"]

    def unwrap(self, *, key_uri: str, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """Return a data key from Decrypt, which gets the id of the expected wrapping key."""
        self._refuse_unless_allowed(key_uri)
        reply = self._call(
            "Decrypt",
            key_uri,
            lambda: self._client.decrypt(
                KeyId=key_uri, CiphertextBlob=wrapped, EncryptionContext=dict(context)
            ),
        )
        _refuse_other_key("Decrypt", reply["KeyId"], key_uri)
        return reply["Plaintext"]

    def rewrap(self, *, key_uri: str, wrapped: bytes, context: Mapping[str, str], to_key_uri: str) -> bytes:
        """Return a data key wrapped by another key, from ReEncrypt: it never leaves KMS in the clear.

        Both keys must be of the configured region.
        """
        for arn in (key_uri, to_key_uri):
            self._refuse_unless_allowed(arn)
        reply = self._call(
            "ReEncrypt",
            f"{key_uri} or {to_key_uri}",
            lambda: self._client.re_encrypt(
                CiphertextBlob=wrapped,
                SourceKeyId=key_uri,
                SourceEncryptionContext=dict(context),
                DestinationKeyId=to_key_uri,
                DestinationEncryptionContext=dict(context),
            ),
        )
        _refuse_other_key("ReEncrypt", reply["SourceKeyId"], key_uri)
        _refuse_other_key("ReEncrypt", reply["KeyId"], to_key_uri)
        return reply["CiphertextBlob"]

    def describe(self, key_uri: str) -> KeyDescription:
        self._refuse_unless_allowed(key_uri)
        reply = self._call("DescribeKey", key_uri, lambda: self._client.describe_key(KeyId=key_uri))
        require_encryption_key(reply["KeyMetadata"])
        state = reply["KeyMetadata"].get("KeyState", "unknown")
        rotates, note = self._rotates(key_uri)
        return KeyDescription(
            key_uri=key_uri, state=state, usable=state == "Enabled", rotates=rotates, note=note
        )

    def enable_automatic_rotation(self, key_uri: str) -> bool:
        """Turn on AWS's own yearly rotation of a key's material, by EnableKeyRotation, if it is off."""
        self._refuse_unless_allowed(key_uri)
        if self._rotation_status(key_uri):
            return False
        self._call("EnableKeyRotation", key_uri, lambda: self._client.enable_key_rotation(KeyId=key_uri))
        return True

    def _rotates(self, key_uri: str) -> tuple[bool | None, str]:
        try:
            return self._rotation_status(key_uri), ""
        except KeyUnavailable as error:
            # The rest of the key's status does not depend on this.
            return None, str(error)

    def _rotation_status(self, key_uri: str) -> bool:
        reply = self._call(
            "GetKeyRotationStatus", key_uri, lambda: self._client.get_key_rotation_status(KeyId=key_uri)
        )
        return reply["KeyRotationEnabled"]

    def _target(self, reference: str, *, fresh: bool) -> str:
        asked = time.monotonic()
        with self._resolving:
            known = self._targets.get(reference)
            # A thread that waited for another's request uses its answer.
            oldest = asked if fresh else asked - settings.KMS_DEK_CACHE_TTL
            if known is None or known.at < oldest:
                known = self._targets[reference] = _Target(self._describe_key(reference), asked)
            return known.arn

    def _describe_key(self, reference: str) -> str:
        reply = self._call("DescribeKey", reference, lambda: self._client.describe_key(KeyId=reference))
        key = reply["KeyMetadata"]
        require_encryption_key(key)
        require_enabled(key)
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
        known = self._targets.get(reference)
        # However old: an alias never leads out of its account and region.
        arn = known.arn if known else reference
        scope = _SCOPE.match(arn) or _SCOPE.match(self._target(reference, fresh=False))
        if scope is None:
            raise KeyRefused("the configured KMS key has no ARN of the usual form")
        return scope.group()

    def _call(self, operation: str, key: str, request: Callable[[], Answer]) -> Answer:
        """Send a request about a key of the configured region. Raises with the operator's remedy."""
        try:
            region = self._client.meta.region_name
        except NoRegionError as error:
            raise translate_error(operation, key, error) from error
        named = _KEY_ARN.match(key)
        if named and named.group(1) != region:
            raise describe_wrong_region(key, region)
        return self._requests.send(operation, key, request)


def _configured_reference() -> str:
    reference: str = settings.KMS_KEY_ID
    if not reference and settings.KMS_KEY_ALIAS:
        alias: str = settings.KMS_KEY_ALIAS
        reference = alias if alias.startswith(("alias/", "arn:")) else f"alias/{alias}"
    if not reference:
        raise KeyUnavailable("no KMS key is configured: set KMS_KEY_ID or KMS_KEY_ALIAS", permanent=True)
    return reference


def _refuse_other_key(operation: str, answered: str, asked: str) -> None:
    if answered != asked:
        raise describe_wrong_key(operation, asked)


def _refuse_cleartext(url: str) -> None:
    """Raise KeyUnavailable if data keys would pass without TLS over a network that is not allowed."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "https" or host == "localhost" or _is_loopback(host):
        return
    try:
        permitted_addresses(host, parts.port or 80, encrypted=False)
    except (OutboundError, OSError) as error:
        raise KeyUnavailable(
            f"KMS would be asked without TLS, which shows data keys ({error}): use https in "
            "AWS_ENDPOINT_URL_KMS, or name its network in KEEPER_OUTBOUND_ALLOWED",
            permanent=True,
        ) from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
