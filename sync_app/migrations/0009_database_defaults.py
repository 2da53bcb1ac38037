"""Columns that were added without a default of the database get one: the release before does not name them."""

import core.db.columns
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('sync_app', '0008_undelivered'),
    ]

    operations = [
        migrations.AlterField(
            model_name='planitem',
            name='target_keeps',
            field=models.PositiveIntegerField(db_default=0, default=0, help_text='How many versions the target keeps. 0: not set for this secret.', verbose_name='versions kept'),
        ),
        migrations.AlterField(
            model_name='syncentry',
            name='base_form',
            field=models.CharField(blank=True, db_default='', default='', help_text='How a JSON object was last written in the target. Empty for one text.', max_length=8, verbose_name='form of objects'),
        ),
        migrations.AlterField(
            model_name='syncentry',
            name='claimed_from',
            field=models.TextField(blank=True, db_default='', default='', help_text='What was stored before a creation that is not settled, as JSON.', verbose_name='state before creation'),
        ),
        migrations.AlterField(
            model_name='target',
            name='only_tags',
            field=core.db.columns.ExactCharField(blank=True, db_default='', default='', help_text='Only secrets with one of these tags are synced. Empty: all secrets under the path.', max_length=512, verbose_name='tags'),
        ),
    ]
