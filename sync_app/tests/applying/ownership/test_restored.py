"""After a restore, `keeper release --probe` names what a target holds otherwise than Keeper last left it there."""

from io import StringIO

import pytest
from django.core.management import call_command
from django.utils import timezone

from audit_app.events import actors
from audit_app.integrity.active_installation import activate, note_restore
from sync_app.models import SyncEntry
from sync_app.runs.restore_suspension import TARGETS
from sync_app.tests.applying.stage import Stage

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database_weekly]


def probed() -> list[str]:
    out = StringIO()
    call_command("release", "--probe", stdout=out)
    return [line for line in out.getvalue().splitlines() if "target" in line]


def test_what_changed_in_a_target_since_the_backup_is_named(stage: Stage) -> None:
    for name in ("app/one", "app/two", "app/three"):
        stage.keep(name, "value")
    stage.sync()
    at = timezone.now()
    note_restore(backup=stage.target.uuid, at=at)
    activate(actor=actors.system())
    TARGETS.suspend(actor=actors.system(), at=at, states={})
    assert probed() == []
    stage.edit("app/one", "newer than the backup")
    stage.world.remove(stage.path("app/two"))
    SyncEntry.objects.update(synced_at=None)
    found = probed()
    assert [line.partition(": ")[2].split()[-2:] for line in found] == [
        ["drifted", "there"],
        ["missing", "there"],
    ]
    assert "app/one" in found[0]
    assert "app/two" in found[1]
    assert not any("value" in line for line in found)
