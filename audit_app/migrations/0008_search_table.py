import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('audit_app', '0007_manifest_of_creates'),
    ]

    # A worker fills the table; without one, the command audit_search does.
    operations = [
        migrations.CreateModel(
            name='SearchEntry',
            fields=[
                ('event', models.OneToOneField(db_constraint=False, on_delete=django.db.models.deletion.DO_NOTHING, primary_key=True, related_name='entry', serialize=False, to='audit_app.auditevent')),
                ('outcome', models.CharField(max_length=16)),
                ('address', models.CharField(max_length=64)),
                ('request_id', models.CharField(max_length=64)),
                ('actor_name', models.CharField(max_length=255)),
                ('object_name', models.CharField(max_length=600)),
                ('manifest_id', models.BigIntegerField(null=True)),
            ],
            options={
                'indexes': [models.Index(fields=['outcome', 'event'], name='audit_search_outcome'), models.Index(fields=['address', 'event'], name='audit_search_address'), models.Index(fields=['request_id', 'event'], name='audit_search_request'), models.Index(fields=['actor_name', 'event'], name='audit_search_actor_name'), models.Index(fields=['object_name', 'event'], name='audit_search_object_name'), models.Index(fields=['manifest_id', 'event'], name='audit_search_manifest')],
            },
        ),
        migrations.CreateModel(
            name='SearchPosition',
            fields=[
                ('head', models.OneToOneField(db_column='stream', db_constraint=False, on_delete=django.db.models.deletion.DO_NOTHING, primary_key=True, related_name='search_position', serialize=False, to='audit_app.streamhead')),
                ('sequence', models.BigIntegerField(default=0)),
            ],
            options={
                'abstract': False,
            },
        ),
        migrations.RemoveIndex(model_name='auditevent', name='audit_event_actor_name'),
        migrations.RemoveIndex(model_name='auditevent', name='audit_event_object_name'),
        migrations.RemoveIndex(model_name='auditevent', name='audit_event_outcome'),
        migrations.RemoveIndex(model_name='auditevent', name='audit_event_address'),
        migrations.RemoveIndex(model_name='auditevent', name='audit_event_request'),
    ]
