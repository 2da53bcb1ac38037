"""Which processes run, and of which release they are."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('keeper_project', '0004_scheduled_tasks'),
    ]

    operations = [
        migrations.CreateModel(
            name='RunningProcess',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(help_text='Kind, host and number of the process.', max_length=200, unique=True)),
                ('kind', models.CharField(help_text='What the process does.', max_length=16)),
                ('host', models.CharField(help_text='Name of the machine or pod.', max_length=150)),
                ('release', models.CharField(help_text='Version of Keeper that the process runs.', max_length=32)),
                ('seen_at', models.DateTimeField(help_text='When the process last stored this, in UTC.', verbose_name='last seen')),
            ],
            options={
                'verbose_name': 'running process',
                'verbose_name_plural': 'running processes',
                'ordering': ['name'],
            },
        ),
    ]
