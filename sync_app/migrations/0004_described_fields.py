from django.db import migrations

from audit_app.db.described_fields import AdoptDescriptions


class Migration(migrations.Migration):
    dependencies = [("sync_app", "0003_kept_copies")]
    operations = [AdoptDescriptions()]
