"""By what else the active installation is known, under a MAC of its own; processes of before write neither."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('audit_app', '0012_manifest_of_few'),
    ]

    operations = [
        migrations.AddField(
            model_name='installation',
            name='also',
            field=models.TextField(editable=False, help_text='By what else it is known: its UUID, other addresses of its database, marks of the server.', null=True),
        ),
        migrations.AddField(
            model_name='installation',
            name='also_mac',
            field=models.BinaryField(help_text='Keyed checksum of these marks. Written by Keeper, never shown.', null=True, verbose_name='checksum of the marks'),
        ),
    ]
