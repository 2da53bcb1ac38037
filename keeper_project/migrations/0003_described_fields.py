from django.db import migrations

from core.db.descriptions import AdoptDescriptions


class Migration(migrations.Migration):
    dependencies = [("keeper_project", "0001_squashed_0002_backup_requests")]
    operations = [AdoptDescriptions()]
