"""Columns that were added without a default of the database get one: the release before does not name them."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('environments_app', '0029_temporary_password'),
    ]

    operations = [
        migrations.AlterField(
            model_name='approval',
            name='failure',
            field=models.CharField(blank=True, db_default='', default='', help_text='Why the approved change could not be applied.', max_length=300),
        ),
        migrations.AlterField(
            model_name='approval',
            name='held',
            field=models.CharField(blank=True, db_default='', default='', help_text='Set if the requester applies the change after its approval.', max_length=4),
        ),
        migrations.AlterField(
            model_name='personalsettings',
            name='time_zone',
            field=models.CharField(blank=True, db_default='', default='', help_text="IANA name of the zone of pages and forms. Blank: the browser's, and UTC in forms.", max_length=64),
        ),
        migrations.AlterField(
            model_name='user',
            name='reset_email',
            field=models.EmailField(blank=True, db_default='', default='', editable=False, help_text='Confirmed by its person: a link to reset the password is sent there. Empty: none is.', max_length=254, verbose_name='address for password resets'),
        ),
    ]
