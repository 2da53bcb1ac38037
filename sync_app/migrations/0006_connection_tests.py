"""Runs that test the connection: a choice more, for which no database changes."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """Names the kinds of runs."""

    dependencies = [("sync_app", "0005_forms_of_objects")]

    operations = [
        migrations.AlterField(
            model_name="run",
            name="kind",
            field=models.CharField(
                choices=[(kind, kind) for kind in ("plan", "apply", "sync", "check", "test")],
                help_text="Whether the run plans, applies, syncs, checks or tests the connection.",
                max_length=8,
            ),
        ),
    ]
