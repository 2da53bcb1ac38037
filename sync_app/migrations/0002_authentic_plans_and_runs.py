import django.utils.timezone
from django.db import migrations, models

import audit_app.integrity.row_authentication


class Migration(migrations.Migration):
    dependencies = [("sync_app", "0001_initial")]

    operations = [
        migrations.CreateModel(
            name="SyncPause",
            fields=[
                (
                    "id",
                    models.PositiveSmallIntegerField(
                        default=1, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("paused_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("paused_by", models.CharField(max_length=150)),
            ],
        ),
        migrations.AddField(
            model_name="plan",
            name="row_mac",
            field=audit_app.integrity.row_authentication.RowMacField(default=b"", editable=False, max_length=48),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="run",
            name="row_mac",
            field=audit_app.integrity.row_authentication.RowMacField(default=b"", editable=False, max_length=48),
            preserve_default=False,
        ),
    ]
