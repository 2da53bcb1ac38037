"""Until the cut-over both sides write: the source is followed, and nothing that was written is lost."""

import random
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from audit_app.integrity.check_registry import run_checks
from audit_app.verification.stream_verifier import verify
from environments_app.tests.cast import Cast
from secrets_app.models import Secret, SecretVersion
from secrets_app.services import histories, read, write
from sync_app.migration import passes
from sync_app.migration.sources.vault import VaultSource
from sync_app.models import Migration, MigrationLine
from sync_app.models.migration import MigrationState, Word
from sync_app.tests.migration.driving import apply, work
from sync_app.tests.migration.test_vault import OldVault, old, start

__all__ = ["old"]
pytestmark = pytest.mark.every_database

SECRETS, WRITES, OWN, LOOKS = 60, 500, 50, 4


def look(migration: Migration) -> None:
    Migration.objects.update(due_at=timezone.now() - timedelta(seconds=1), lease_until=None)
    assert work(migration).state == MigrationState.FOLLOWING


def require_nothing_lost(cast: Cast, old: OldVault, own: list[tuple[str, int, str]]) -> None:
    """Judge that Keeper's own values stand and are current, and that each other version was carried."""
    bob = cast.principal(cast.bob)
    carried = SecretVersion.objects.filter(origin__isnull=False)
    for name, number, text in own:
        secret = Secret.objects.get(name=name, live=True)
        assert read.reveal(actor=bob, secret=secret, number=number).value == text
        # No version of the source came over it: that is for a person to choose.
        assert not carried.filter(secret=secret, number__gt=number).exists()
    waiting = set(MigrationLine.objects.filter(word=Word.CHANGED).values_list("name", flat=True))
    with VaultSource(settings={"address": old.url}, credentials={"token": old.token}) as source:
        for number in range(SECRETS):
            found = source.find(old.kv, f"dev/s{number}")
            numbers = set(carried.filter(secret__name=f"s{number}").values_list("origin__number", flat=True))
            if not {each.number for each in found.versions} <= numbers:
                assert f"s{number}" in waiting & {name for name, _, _ in own}


def test_what_either_side_wrote_meanwhile_is_there(
    cast: Cast, old: OldVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = random.Random(39)
    for number in range(SECRETS):
        old.put(f"dev/s{number}", {"value": "0"})
    migration = apply(cast, work(start(cast, old)), follow_seconds=300)
    assert migration.state == MigrationState.FOLLOWING
    written = [drawn.randrange(SECRETS) for _ in range(WRITES)]
    own: list[tuple[str, int, str]] = []
    waiting = [drawn.randrange(SECRETS) for _ in range(OWN)]
    alice = cast.principal(cast.alice)
    real = histories.carry

    def keep(count: int) -> None:
        for _ in range(min(count, len(waiting))):
            name, text = f"s{waiting.pop()}", f"Keeper's {len(own)}"
            changed = write.update(actor=alice, secret=Secret.objects.get(name=name, live=True), value=text)
            own.append((name, changed.current_number, text))

    def carry(**given: Any) -> None:
        # After the secrets were judged, and before they are stored.
        keep(2)
        real(**given)

    monkeypatch.setattr(passes, "carry", carry)
    for part in range(LOOKS):
        writes = written[part * WRITES // LOOKS : (part + 1) * WRITES // LOOKS]

        def fill(writes: list[int] = writes, part: int = part) -> None:
            for place, number in enumerate(writes):
                old.put(f"dev/s{number}", {"value": f"{part}-{place}"})

        thread = threading.Thread(target=fill)
        thread.start()
        look(migration)
        thread.join()
        keep(4)
    monkeypatch.setattr(passes, "carry", real)
    keep(OWN)
    look(migration)
    assert len(own) == OWN
    require_nothing_lost(cast, old, own)
    assert not [*verify(), *run_checks()]
