from django.db import migrations

from audit_app.db.described_fields import AdoptDescriptions


class Migration(migrations.Migration):
    dependencies = [("environments_app", "0019_auditor")]
    operations = [AdoptDescriptions()]
