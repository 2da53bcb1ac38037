"""The form in which a JSON object was last written to a target."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """Adds a column; an entry without it was written as one text."""

    dependencies = [("sync_app", "0004_described_fields")]

    operations = [
        migrations.AddField(
            model_name="syncentry",
            name="base_form",
            field=models.CharField(
                blank=True,
                default="",
                help_text="How a JSON object was last written in the target. Empty for one text.",
                max_length=8,
                verbose_name="form of objects",
            ),
        ),
    ]
