from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('environments_app', '0038_trust_presets'),
    ]

    operations = [
        migrations.AddField(
            model_name='passkey',
            name='passwordless',
            field=models.BooleanField(editable=False, help_text='Yes if the device checks its person: the passkey then replaces password and code. Empty: the code alone.', null=True),
        ),
    ]
