"""Columns that were added without a default of the database get one: the release before does not name them."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('secrets_app', '0021_tags'),
    ]

    operations = [
        migrations.AlterField(
            model_name='secret',
            name='tags_mac',
            field=models.BinaryField(db_default=b'', default=b'', help_text='Keyed checksum of the tags. Written by Keeper, never shown.', max_length=48, verbose_name='MAC of the tags'),
        ),
    ]
