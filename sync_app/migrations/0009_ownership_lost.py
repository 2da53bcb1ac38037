"""A secret that was ours and does not prove it any more has a state, and an act, of its own."""

from typing import ClassVar

from django.db import migrations, models

_ACTS = (
    "unchanged",
    "create",
    "update",
    "pull",
    "conflict",
    "drifted",
    "missing",
    "delete",
    "unmanaged",
    "refused",
    "ownership_lost",
    "adopt",
    "release",
)
_STATES = (
    "in_sync",
    "pending",
    "drifted",
    "conflict",
    "missing",
    "unmanaged",
    "ownership_lost",
    "refused",
    "failed",
)


class Migration(migrations.Migration):
    """Wider names of acts."""

    dependencies: ClassVar[list[tuple[str, str]]] = [("sync_app", "0008_intended_writes")]

    operations: ClassVar[list[migrations.operations.base.Operation]] = [
        migrations.AlterField(
            model_name="planitem",
            name="act",
            field=models.CharField(choices=[(act, act) for act in _ACTS], max_length=16),
        ),
        migrations.AlterField(
            model_name="syncentry",
            name="state",
            field=models.CharField(
                choices=[(state, state) for state in _STATES], default="pending", max_length=16
            ),
        ),
    ]
