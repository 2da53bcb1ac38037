from django.db import migrations

from core.db.descriptions import AdoptDescriptions


class Migration(migrations.Migration):
    dependencies = [("audit_app", "0008_search_table")]
    operations = [AdoptDescriptions()]
