"""All data keys wrapped under another key of KMS: what it costs beside very many secrets."""

import re
import time
from typing import Any

from benchmarks.measuring.scale import Scale
from benchmarks.measuring.stage import Stage
from benchmarks.measuring.table import Figure, Row

ENVIRONMENT = "production"
_WRITES_SECRETS = re.compile(r"(?:INSERT INTO|UPDATE|DELETE FROM) [`\"]?secrets_app_secret", re.IGNORECASE)


def run(stage: Stage, scale: Scale) -> list[Row]:
    """Measure on each database, in a process of a Keeper that uses KMS."""
    rows: list[Row] = []
    for database in stage.databases:
        keeper, another_key = stage.keeper_on_kms(database)
        keeper.create(ENVIRONMENT, range(1))
        keeper.inside("fill", ENVIRONMENT, str(scale.listed))
        found = keeper.inside("rewrap", another_key)
        work = f"re-wrapping beside {scale.listed:,} secrets"
        rows += [
            Figure(f"{work}, ms", database, found["ms"]),
            Figure(f"{work}, KMS calls", database, found["calls"], maximum=found["data_keys"]),
            Figure(f"{work}, statements that write a secret", database, found["writes"], maximum=0),
        ]
    return rows


def measure(key: str) -> dict[str, float]:
    """Wrap every data key under a key of KMS; return the time, the calls of KMS and what was written."""
    from django.conf import settings
    from django.db import connection

    from audit_app.interfaces import keyring
    from secrets_app.key_operations.rotation import rotations
    from secrets_app.keys.providers.registry import forget_provider, provider
    from secrets_app.models import DataKey

    writes: list[str] = []

    def watch(execute: Any, sql: str, *asked: Any) -> Any:
        writes.extend([sql] if _WRITES_SECRETS.match(sql) else [])
        return execute(sql, *asked)

    settings.KMS_KEY_ID = key
    forget_provider()
    keyring().open_all()
    before = provider().calls.copy()
    started = time.perf_counter()
    with connection.execute_wrapper(watch):
        done = list(rotations(progress=lambda *_: None))
    seconds = time.perf_counter() - started
    moved = sum(rotation.data_keys_rewrapped for rotation in done)
    if not all(rotation.ok for rotation in done) or moved != DataKey.objects.filter(key_uri=key).count():
        raise RuntimeError(f"not every data key was wrapped again: {done}")
    calls = sum((provider().calls - before).values())
    return {"ms": seconds * 1000, "calls": calls, "data_keys": moved, "writes": len(writes)}
