"""S3 for events: each batch is a compressed object of its own, which object lock keeps from everybody."""

import gzip
import zlib
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, ClassVar, Final

from botocore.exceptions import ClientError
from django.utils import timezone

from audit_app.errors import LineRefused, SinkDown
from audit_app.sinks.s3 import S3Sink

# An object that lies there is read so far at most, compressed and not.
_MOST_BYTES: Final = 32 * 1024 * 1024


class S3EventSink(S3Sink):
    """Puts objects `PREFIX/DEPLOYMENT/events/STREAM/FIRST-NUMBER.jsonl.gz` and never overwrites one.

    Needs s3:PutObject and s3:GetObject; with `retain_days` s3:PutObjectRetention and s3:GetObjectRetention. A
    batch of less than 5 MB waits a minute for more.
    """

    kind: ClassVar[str] = "s3"
    readable = False
    most_lines = 20_000
    most_bytes = 5_000_000
    gathers = 60

    def write(self, lines: Sequence[bytes], *, number: int, stream: str = "") -> int:
        """Put the lines; if others of the same beginning lie there, return how many of these they are."""
        key = f"{self._folder}events/{stream.replace(':', '/')}/{number:020d}.jsonl.gz"
        with self._client() as client:
            count = self._put_lines(client, key, lines)
            if self._retain_days:
                self._require_locked(client, key)
        return count

    def _put_lines(self, client: Any, key: str, lines: Sequence[bytes]) -> int:
        retention: dict[str, Any] = {}
        if self._retain_days:
            until = timezone.now() + timedelta(days=self._retain_days)
            retention = {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": until}
        try:
            client.put_object(
                Bucket=self._bucket,
                Key=key,
                Body=gzip.compress(b"".join(lines), mtime=0),
                IfNoneMatch="*",
                ChecksumAlgorithm="SHA256",
                **retention,
            )
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code == "InvalidRequest" and retention:
                raise SinkDown(f"{self.name}: {code}: turn on Object Lock for the bucket") from error
            if code != "PreconditionFailed":
                raise
        else:
            return len(lines)
        # The answer to an earlier put was lost, or its cursor was: the object decides where the next begins.
        lying = self._lines(client, key)
        common = min(len(lying), len(lines))
        if not common or lying[:common] != list(lines[:common]):
            raise LineRefused(f"another object lies at {key}")
        return common

    def _lines(self, client: Any, key: str) -> list[bytes]:
        packed = self._get(client, key, most=_MOST_BYTES)
        unpack = zlib.decompressobj(wbits=31)
        try:
            return unpack.decompress(packed, _MOST_BYTES).splitlines(keepends=True)
        except zlib.error:
            return []

    def _require_locked(self, client: Any, key: str) -> None:
        """Raise SinkDown if the store took the object and not its retention."""
        if client.head_object(Bucket=self._bucket, Key=key).get("ObjectLockMode") != "COMPLIANCE":
            raise SinkDown(f"{self.name}: the store took an object and did not lock it")
