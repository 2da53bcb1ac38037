"""What is measured of keys and reads. No label names a key or a secret: labels are bounded."""

from typing import Final

from prometheus_client import Counter, Histogram

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

KMS_REQUESTS: Final = Counter(
    "keeper_kms_requests",
    "Requests to KMS, each attempt; outcome is ok or the condition that was met.",
    ["operation", "outcome"],
)
KMS_SECONDS: Final = Histogram(
    "keeper_kms_request_seconds", "Time of one request to KMS.", ["operation"], buckets=_SECONDS
)
KEY_CACHE: Final = Counter(
    "keeper_key_cache", "Data keys asked for; result is hit, miss, bridged or failed.", ["result"]
)
UNCHANGED_READS: Final = Counter(
    "keeper_unchanged_reads", "Reads of values that were answered 304: the caller had the current one."
)
UNCHANGED_LISTS: Final = Counter(
    "keeper_unchanged_lists",
    "Reads of many secrets that were answered 304; kind is export or manifest.",
    ["kind"],
)
READ_BATCH: Final = Histogram(
    "keeper_read_batch",
    "Reads of values by tokens that were recorded together.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 100),
)
