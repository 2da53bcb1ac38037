"""Passes that left a secret undelivered, items that a run left alone, and the state *unknown*."""

from django.db import migrations, models

_STATES = (
    "in_sync", "pending", "unknown", "drifted", "conflict", "missing", "unmanaged", "ownership_lost", "refused",
    "failed",
)  # fmt: skip
_ACTS = (
    "unchanged", "create", "update", "pull", "conflict", "drifted", "missing", "delete", "unmanaged", "refused",
    "ownership_lost", "unknown", "adopt", "release",
)  # fmt: skip


class Migration(migrations.Migration):
    """Adds two counters, which the code of the release before leaves at 0."""

    dependencies = [("sync_app", "0007_tags")]

    operations = [
        migrations.AddField(
            model_name="run",
            name="skipped",
            field=models.PositiveIntegerField(
                db_default=0, default=0, help_text="Number of secrets that were left alone."
            ),
        ),
        migrations.AddField(
            model_name="syncentry",
            name="undelivered",
            field=models.PositiveIntegerField(
                db_default=0,
                default=0,
                help_text="Number of runs in a row that did not deliver it.",
                verbose_name="passes without delivery",
            ),
        ),
        migrations.AlterField(
            model_name="planitem",
            name="act",
            field=models.CharField(
                choices=[(act, act) for act in _ACTS],
                help_text="What is done with this secret.",
                max_length=16,
                verbose_name="action",
            ),
        ),
        migrations.AlterField(
            model_name="syncentry",
            name="state",
            field=models.CharField(
                choices=[(state, state) for state in _STATES],
                default="pending",
                help_text="State of the secret in the target at the last check.",
                max_length=16,
            ),
        ),
    ]
