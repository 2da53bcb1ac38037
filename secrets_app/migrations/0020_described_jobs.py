from django.db import migrations

from audit_app.db.described_fields import AdoptDescriptions


class Migration(migrations.Migration):
    dependencies = [("secrets_app", "0019_key_jobs")]
    operations = [AdoptDescriptions()]
