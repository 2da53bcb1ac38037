"""S3: each checkpoint is an object of its own, which object lock keeps from everybody."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta
from typing import Any, ClassVar, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from django.utils import timezone

from audit_app.crypto.checkpoint_statement import SignedCheckpoint
from audit_app.errors import BadCheckpoint, SinkDown
from audit_app.models import deployment_uuid
from audit_app.sinks.base import Sink
from core.errors import OutboundError
from core.network.aws import guard
from core.network.limits import limited

# S3 lists in ascending order: counted down, the newest one comes first.
_HIGHEST: Final = 10**15
_CONFIG: Final = Config(retries={"max_attempts": 2})
_MAX_CHECKPOINT_BYTES: Final = 64 * 1024


class S3Sink(Sink):
    """Puts objects `PREFIX/DEPLOYMENT/COUNTED-DOWN-NUMBER.json` and never overwrites one.

    Needs s3:PutObject, s3:GetObject and s3:ListBucket; with `retain_days` s3:PutObjectRetention,
    s3:ListBucketVersions and s3:GetObjectVersion, on a bucket with object lock: there it reads what was
    put first, which neither a deletion nor a newer version hides. Credentials are those that the AWS SDK
    finds on the machine.
    """

    kind: ClassVar[str] = "s3"
    readable = True

    def __init__(
        self,
        name: str,
        *,
        bucket: str,
        prefix: str,
        region: str,
        endpoint: str,
        retain_days: int,
        credential: Callable[[], str] = str,
    ) -> None:
        super().__init__(name)
        self._bucket, self._region, self._endpoint = bucket, region, endpoint
        self._prefix, self._retain_days = prefix, retain_days
        self._credential = credential

    def write(self, lines: Sequence[bytes], *, number: int, stream: str = "") -> int:
        """Put each line where no other one lies; one that lies there already is the same."""
        del stream
        with self._client() as client:
            for offset, line in enumerate(lines):
                self._put(client, self._key(number + offset), line)
        return len(lines)

    def newest(self, *, thorough: bool = False) -> bytes | None:
        """Return the object with the highest number, which must be a checkpoint of this number."""
        del thorough
        with self._client() as client:
            place = self._highest_locked(client) if self._retain_days else self._highest(client)
            line = self._get(client, place["key"], place.get("version", "")) if place else None
        if place and line is not None:
            number = SignedCheckpoint.from_line(line).number
            if place["key"] != self._key(number):
                raise BadCheckpoint(f"checkpoint {number} lies under the name of another")
        return line

    def _highest(self, client: Any) -> dict[str, str] | None:
        listing = client.list_objects_v2(Bucket=self._bucket, Prefix=self._folder, MaxKeys=1)
        return next(({"key": entry["Key"]} for entry in listing.get("Contents", [])), None)

    def _highest_locked(self, client: Any) -> dict[str, str] | None:
        """Return the first version of the highest object, also of one that a marker hides."""
        pages = client.get_paginator("list_object_versions").paginate(
            Bucket=self._bucket, Prefix=self._folder
        )
        first: dict[str, str] | None = None
        # Of one key the newest version comes first, and a page may hold markers alone.
        for entry in (version for page in pages for version in page.get("Versions", [])):
            if first and entry["Key"] != first["key"]:
                break
            first = {"key": entry["Key"], "version": entry["VersionId"]}
        return first

    def _key(self, number: int) -> str:
        return f"{self._folder}{_HIGHEST - number:016d}.json"

    @property
    def _folder(self) -> str:
        return "/".join(filter(None, [self._prefix, str(deployment_uuid())])) + "/"

    def _put(self, client: Any, key: str, line: bytes) -> None:
        retention = {}
        if self._retain_days:
            until = timezone.now() + timedelta(days=self._retain_days)
            retention = {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": until}
        try:
            client.put_object(Bucket=self._bucket, Key=key, Body=line, IfNoneMatch="*", **retention)
        except ClientError as error:
            if error.response["Error"]["Code"] != "PreconditionFailed":
                raise
            if self._get(client, key) != line:
                raise SinkDown(f"{self.name}: another checkpoint lies where this one belongs") from error

    def _get(self, client: Any, key: str, version: str = "", most: int = _MAX_CHECKPOINT_BYTES) -> bytes:
        version_argument = {"VersionId": version} if version else {}
        with (
            limited(most=most + 1),
            closing(client.get_object(Bucket=self._bucket, Key=key, **version_argument)["Body"]) as stream,
        ):
            body: bytes = stream.read(most + 1)
        if len(body) > most:
            raise BadCheckpoint("what lies there is larger than what Keeper puts there")
        return body

    @contextmanager
    def _client(self) -> Iterator[Any]:
        try:
            # Empty: the credentials that the SDK finds on the machine.
            key_id, _, secret = self._credential().partition(":")
            client = boto3.client(
                "s3",
                region_name=self._region or None,
                endpoint_url=self._endpoint or None,
                config=_CONFIG,
                aws_access_key_id=key_id or None,
                aws_secret_access_key=secret or None,
            )
            session = guard(client, seconds=None)
            try:
                yield client
            finally:
                session.close()
                client.close()
        except (BotoCoreError, ClientError, OutboundError) as error:
            raise SinkDown(f"{self.name}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """Return why AWS refused, without what was sent."""
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", "refused"))
    return type(error).__name__
