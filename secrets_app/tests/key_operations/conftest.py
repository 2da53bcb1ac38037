"""Gives tests of operations on keys what tests of the key layer have."""

from secrets_app.tests.keys.conftest import (
    _one_loader,
    database,
    development,
    fresh_process,
    kms_client,
    kms_key,
    moto_url,
    strict_aws,
    strict_kms,
)

__all__ = [
    "_one_loader",
    "database",
    "development",
    "fresh_process",
    "kms_client",
    "kms_key",
    "moto_url",
    "strict_aws",
    "strict_kms",
]
