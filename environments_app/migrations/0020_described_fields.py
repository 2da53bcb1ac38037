from django.db import migrations

from core.db.descriptions import AdoptDescriptions


class Migration(migrations.Migration):
    dependencies = [("environments_app", "0019_auditor")]
    operations = [AdoptDescriptions()]
