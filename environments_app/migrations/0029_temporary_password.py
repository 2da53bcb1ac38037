from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('environments_app', '0028_several_approvals'),
    ]

    operations = [
        migrations.AddField(
            model_name='user',
            name='temporary_since',
            field=models.DateTimeField(blank=True, editable=False, help_text='When another person set the password, in UTC. It must be replaced at the next sign-in.', null=True, verbose_name='temporary password'),
        ),
    ]
