from django.db import migrations

from core.db.descriptions import AdoptDescriptions


class Migration(migrations.Migration):
    dependencies = [("sync_app", "0003_kept_copies")]
    operations = [AdoptDescriptions()]
