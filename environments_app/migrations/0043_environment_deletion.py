from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("environments_app", "0042_event_sinks")]

    operations = [
        migrations.AddField(
            model_name="environment",
            name="deleted_at",
            field=models.DateTimeField(
                blank=True,
                help_text="When the environment was deleted, in UTC. It is kept, sealed.",
                null=True,
                verbose_name="deleted",
            ),
        ),
        migrations.AddField(
            model_name="environment",
            name="purge_began_at",
            field=models.DateTimeField(
                blank=True,
                help_text="When the worker began to remove it for good, in UTC. It can no longer be restored.",
                null=True,
                verbose_name="removal began",
            ),
        ),
    ]
