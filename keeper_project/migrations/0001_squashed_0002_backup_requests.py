from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    replaces = [
        ('keeper_project', '0001_systems'),
        ('keeper_project', '0002_backup_requests'),
    ]

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='BackupRequest',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('person', models.UUIDField()),
                ('name', models.CharField(blank=True, max_length=255)),
                ('attempts', models.PositiveSmallIntegerField(default=0)),
                ('lease_until', models.DateTimeField(blank=True, null=True)),
                ('requested_at', models.DateTimeField(auto_now_add=True)),
            ],
            options={
                'ordering': ['id'],
            },
        ),
        migrations.CreateModel(
            name='ExternalSystem',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('database', 'Database'), ('broker', 'Message broker'), ('redis', 'Redis'), ('mail', 'Mail server'), ('identity_provider', 'Identity provider')], max_length=32, unique=True)),
                ('state', models.CharField(blank=True, choices=[('ok', 'healthy'), ('degraded', 'needs attention'), ('unhealthy', 'unhealthy'), ('off', 'not set up')], max_length=16)),
                ('detail', models.CharField(blank=True, max_length=300)),
                ('milliseconds', models.PositiveIntegerField(default=0)),
                ('failures', models.PositiveIntegerField(default=0)),
                ('checked_at', models.DateTimeField(blank=True, null=True)),
                ('changed_at', models.DateTimeField(blank=True, null=True)),
                ('lease_until', models.DateTimeField(blank=True, null=True)),
            ],
            options={
                'ordering': ['id'],
            },
        ),
    ]
