from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("environments_app", "0035_departures")]

    operations = [
        migrations.AddField(
            model_name="personalsettings",
            name="matrix_environments",
            field=models.JSONField(
                blank=True,
                editable=False,
                help_text="Names of the environments that the person compares in the matrix. Empty: the first ones.",
                null=True,
            ),
        ),
    ]
