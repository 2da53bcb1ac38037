from django.db import migrations

from audit_app.db.described_fields import AdoptDescriptions


class Migration(migrations.Migration):
    dependencies = [("audit_app", "0008_search_table")]
    operations = [AdoptDescriptions()]
