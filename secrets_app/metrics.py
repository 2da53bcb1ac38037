"""What is measured of keys: requests to KMS and the cache. No label names a key: labels are bounded."""

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
