from django.db import migrations

from core.db.descriptions import AdoptDescriptions


class Migration(migrations.Migration):
    dependencies = [("secrets_app", "0019_key_jobs")]
    operations = [AdoptDescriptions()]
