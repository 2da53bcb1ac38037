"""Names what was withdrawn in words that are true of systems without a recovery window as well."""

from typing import Any

from django.db import migrations

_BEFORE = "deleted in Keeper, in the target's recovery window"
_AFTER = "deleted in Keeper and in the target"


def rename(apps: Any, _schema_editor: Any) -> None:
    """Rename the reason of stored entries, which no MAC covers."""
    entries = apps.get_model("sync_app", "SyncEntry").objects
    entries.filter(reason=_BEFORE).update(reason=_AFTER)


class Migration(migrations.Migration):
    """Changes rows only; the next pass writes the reason anew."""

    dependencies = [("sync_app", "0009_database_defaults")]

    operations = [migrations.RunPython(rename, migrations.RunPython.noop)]
