from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("secrets_app", "0005_legacy_values")]

    operations = [
        migrations.AddIndex(
            model_name="secret",
            index=models.Index(fields=["environment", "live", "name", "id"], name="secret_env_by_name"),
        ),
    ]
