import uuid

from django.db import migrations, models


class Migration(migrations.Migration):
    """Nothing looks for an event by its uuid. SQLite copies the table for it, MariaDB drops the index."""

    dependencies = [("audit_app", "0005_search_and_streaming")]

    operations = [
        migrations.AlterField(
            model_name="auditevent",
            name="uuid",
            field=models.UUIDField(default=uuid.uuid4, editable=False),
        ),
    ]
