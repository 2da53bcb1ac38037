"""Values sealed again under a new data key, against a bare loop that decrypts, encrypts and updates."""

import time
from typing import TYPE_CHECKING
from uuid import UUID

from benchmarks.measuring.scale import Scale
from benchmarks.measuring.stage import Stage
from benchmarks.measuring.table import Comparison, Row, Target
from benchmarks.servers import SECRETS

if TYPE_CHECKING:
    from environments_app.models import Environment

TARGET = Target(0.5, 1.0)
ENVIRONMENT = "staging"


def run(stage: Stage, scale: Scale) -> list[Row]:
    """Measure on each database, in a process of Keeper's."""
    rows: list[Row] = []
    for database in stage.databases:
        keeper = stage.keeper(database)
        keeper.create(ENVIRONMENT, range(SECRETS))
        found = keeper.inside(f"{__name__}:measure", rounds=scale.rounds)
        rows.append(
            Comparison(
                work="values sealed under a new data key",
                database=database,
                unit="values/s",
                keeper=found["keeper"],
                other="a bare loop: decrypt, encrypt, UPDATE",
                other_figures=found["bare"],
                target=TARGET,
            )
        )
    return rows


def measure(*, rounds: int) -> dict[str, list[float]]:
    """Return values a second, for each round, of Keeper's rotation and of a bare loop over the same rows."""
    from environments_app.models import Environment
    from secrets_app.key_operations.reencrypt import BATCH

    environment = Environment.objects.get(name=ENVIRONMENT)
    found: dict[str, list[float]] = {"keeper": [], "bare": []}
    for number in range(rounds):
        # Another size each time: equal batches would share their manifests, as those of rotations hardly do.
        found["keeper"].append(_resealed_per_second(environment, BATCH - number))
        found["bare"].append(_bare_per_second(environment, BATCH - number))
    return found


def _resealed_per_second(environment: "Environment", batch: int) -> float:
    from secrets_app.key_operations.reencrypt import reencrypt

    started = time.perf_counter()
    result = reencrypt(environment, progress=lambda *_: None, batch_size=batch)
    if result is None or result.broken or not result.values:
        raise RuntimeError(f"not every value was sealed again: {result}")
    return result.values / (time.perf_counter() - started)


def _bare_per_second(environment: "Environment", batch: int) -> float:
    """Decrypt, encrypt and UPDATE each row, a batch in a transaction; nothing is recorded or compared."""
    from django.db import connection, transaction

    from secrets_app import envelope
    from secrets_app.keys.data_keys import active_key
    from secrets_app.models.secret import version_context

    key = active_key(environment)
    select = (
        "SELECT v.id, v.value, v.uuid, v.number, s.uuid FROM secrets_app_secretversion v "
        "JOIN secrets_app_secret s ON s.id = v.secret_id "
        "WHERE s.environment_id = %s AND v.id > %s ORDER BY v.id LIMIT %s"
    )
    update = "UPDATE secrets_app_secretversion SET value = %s, data_key_id = %s WHERE id = %s"
    started, done, last = time.perf_counter(), 0, 0
    with connection.cursor() as cursor:
        while True:
            cursor.execute(select, [environment.pk, last, batch])
            rows = cursor.fetchall()
            if not rows:
                return done / (time.perf_counter() - started)
            with transaction.atomic():
                for pk, stored, version, number, secret in rows:
                    context = version_context(
                        version=UUID(version),
                        secret=UUID(secret),
                        number=number,
                        environment=environment.uuid,
                        guarded=False,
                    )
                    value = envelope.open_envelope(stored, data_key_for=lambda _: key, context=context)
                    fresh = envelope.seal(value, data_key=key, context=context)
                    cursor.execute(update, [fresh, key.id.hex, pk])
            done, last = done + len(rows), rows[-1][0]
