from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import pytest
from django.db import connection

from audit_app.actions import Action
from audit_app.integrity import Problem
from audit_app.models import AuditEvent
from audit_app.record import AuditObject, ManifestEntry, Receipt, commit_record
from audit_app.tests.trail import ALICE, STREAM, entries, head_sequence
from audit_app.verification import verify

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database]

WRITERS, EACH = 4, 15
READ = entries(3)


def write_some(manifest: Sequence[ManifestEntry] | None) -> list[tuple[Receipt, str]]:
    """Record, and pair each receipt with the name that its event was given."""
    try:
        names = [uuid4().hex for _ in range(EACH)]
        return [
            (
                commit_record(
                    actor=ALICE,
                    action=Action.SECRET_EXPORT,
                    stream=STREAM,
                    object=AuditObject("environment", UUID(int=7), name),
                    manifest=manifest,
                ),
                name,
            )
            for name in names
        ]
    finally:
        connection.close()


def damage_and_openings(_reader: int) -> tuple[list[Problem], int, int]:
    try:
        opened = AuditEvent.objects.filter(action=Action.STREAM_OPEN, object_name=STREAM).count()
        return list(verify()), opened, head_sequence()
    finally:
        connection.close()


def names_of(sequences: Sequence[int]) -> list[str]:
    try:
        rows = AuditEvent.objects.filter(stream=STREAM, sequence__in=sequences)
        return list(rows.order_by("sequence").values_list("object_name", flat=True))
    finally:
        connection.close()


@pytest.mark.parametrize("manifest", [READ, None], ids=["of many", "of one"])
def test_concurrent_writers_do_not_fork_the_chain(
    on_disk: None, manifest: Sequence[ManifestEntry] | None
) -> None:
    """They also open the stream and make the manifest at once, and each gets the receipt of its own event."""
    with ThreadPoolExecutor(WRITERS) as pool:
        written = [pair for batch in pool.map(write_some, [manifest] * WRITERS) for pair in batch]
        ((problems, opened, head),) = pool.map(damage_and_openings, [0])
        written.sort(key=lambda pair: pair[0].sequence)
        (names,) = pool.map(names_of, [[receipt.sequence for receipt, _ in written]])
    assert [receipt.sequence for receipt, _ in written] == list(range(1, WRITERS * EACH + 1))
    assert names == [name for _, name in written]
    assert (problems, opened, head) == ([], 1, WRITERS * EACH)
