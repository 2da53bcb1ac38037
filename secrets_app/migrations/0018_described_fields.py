from django.db import migrations

from core.db.descriptions import AdoptDescriptions


class Migration(migrations.Migration):
    dependencies = [("secrets_app", "0017_token_session_keys")]
    operations = [AdoptDescriptions()]
