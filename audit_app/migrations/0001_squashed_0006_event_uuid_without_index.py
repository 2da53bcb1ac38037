import django.db.models.deletion
import uuid
from django.db import migrations, models


def make_deployment(apps, schema_editor):
    """Give the installation its identity before anything is written that depends on it."""
    apps.get_model('audit_app', 'Deployment').objects.get_or_create(pk=1)


class Migration(migrations.Migration):

    initial = True

    replaces = [
        ('audit_app', '0001_initial'),
        ('audit_app', '0002_deployment'),
        ('audit_app', '0003_checkpoints'),
        ('audit_app', '0004_installation'),
        ('audit_app', '0005_search_and_streaming'),
        ('audit_app', '0006_event_uuid_without_index'),
    ]

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='Checkpoint',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.BigIntegerField(unique=True)),
                ('at', models.DateTimeField()),
                ('statement', models.TextField()),
                ('previous_digest', models.BinaryField(max_length=32)),
                ('digest', models.BinaryField(max_length=32)),
                ('key_id', models.UUIDField()),
                ('signature', models.BinaryField(max_length=64)),
            ],
            options={
                'abstract': False,
            },
        ),
        migrations.CreateModel(
            name='Deployment',
            fields=[
                ('id', models.PositiveSmallIntegerField(default=1, editable=False, primary_key=True, serialize=False)),
                ('uuid', models.UUIDField(default=uuid.uuid4, editable=False)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
            ],
        ),
        migrations.CreateModel(
            name='Installation',
            fields=[
                ('id', models.PositiveSmallIntegerField(default=1, editable=False, primary_key=True, serialize=False)),
                ('uuid', models.UUIDField(editable=False)),
                ('place', models.CharField(blank=True, editable=False, max_length=64)),
                ('epoch', models.PositiveIntegerField(default=0, editable=False)),
                ('since', models.DateTimeField(editable=False)),
                ('backup', models.UUIDField(editable=False, null=True)),
                ('restored_at', models.DateTimeField(editable=False, null=True)),
                ('mac', models.BinaryField(max_length=48)),
            ],
        ),
        migrations.CreateModel(
            name='ReadManifest',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('digest', models.CharField(max_length=64, unique=True)),
                ('size', models.PositiveIntegerField()),
            ],
            options={
                'abstract': False,
            },
        ),
        migrations.CreateModel(
            name='SinkState',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=200, unique=True)),
                ('position', models.BigIntegerField(default=0)),
                ('leased_until', models.DateTimeField(blank=True, null=True)),
                ('due_at', models.DateTimeField(blank=True, null=True)),
                ('succeeded_at', models.DateTimeField(blank=True, null=True)),
                ('failures', models.PositiveIntegerField(default=0)),
                ('error', models.CharField(blank=True, max_length=500)),
            ],
        ),
        migrations.CreateModel(
            name='StreamHead',
            fields=[
                ('stream', models.CharField(max_length=64, primary_key=True, serialize=False)),
                ('sequence', models.BigIntegerField(default=0)),
                ('hash', models.BinaryField(max_length=32)),
            ],
        ),
        migrations.CreateModel(
            name='RefusalCount',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('minute', models.DateTimeField()),
                ('address', models.CharField(max_length=64)),
                ('kind', models.CharField(max_length=64)),
                ('count', models.PositiveIntegerField(default=0)),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('minute', 'address', 'kind'), name='audit_refusal_minute')],
            },
        ),
        migrations.CreateModel(
            name='AuditEvent',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('uuid', models.UUIDField(default=uuid.uuid4, editable=False)),
                ('stream', models.CharField(max_length=64)),
                ('sequence', models.BigIntegerField()),
                ('at', models.DateTimeField()),
                ('actor_kind', models.CharField(max_length=16)),
                ('actor_uuid', models.UUIDField()),
                ('actor_name', models.CharField(max_length=255)),
                ('action', models.CharField(max_length=64)),
                ('object_kind', models.CharField(max_length=64)),
                ('object_uuid', models.UUIDField()),
                ('object_name', models.CharField(max_length=600)),
                ('outcome', models.CharField(max_length=16)),
                ('address', models.CharField(blank=True, max_length=64)),
                ('request_id', models.CharField(blank=True, max_length=64)),
                ('details', models.TextField()),
                ('previous_hash', models.BinaryField(max_length=32)),
                ('hash', models.BinaryField(max_length=32)),
                ('mac', models.BinaryField(max_length=48)),
                ('manifest', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='events', to='audit_app.readmanifest')),
            ],
            options={
                'indexes': [models.Index(fields=['object_uuid', 'id'], name='audit_event_object'), models.Index(fields=['actor_uuid', 'id'], name='audit_event_actor'), models.Index(fields=['action', 'id'], name='audit_event_action'), models.Index(fields=['at'], name='audit_event_at'), models.Index(fields=['stream', 'id'], name='audit_event_stream'), models.Index(fields=['actor_name', 'id'], name='audit_event_actor_name'), models.Index(fields=['object_name', 'id'], name='audit_event_object_name'), models.Index(fields=['outcome', 'id'], name='audit_event_outcome'), models.Index(fields=['address', 'id'], name='audit_event_address'), models.Index(fields=['request_id'], name='audit_event_request')],
                'constraints': [models.UniqueConstraint(fields=('stream', 'sequence'), name='audit_event_link')],
            },
        ),
        migrations.CreateModel(
            name='ReadManifestItem',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('secret_uuid', models.UUIDField()),
                ('number', models.PositiveIntegerField()),
                ('name', models.CharField(max_length=600)),
                ('manifest', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='items', to='audit_app.readmanifest')),
            ],
            options={
                'indexes': [models.Index(fields=['secret_uuid', 'number'], name='audit_item_secret')],
            },
        ),
        migrations.CreateModel(
            name='StreamCursor',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('stream', models.CharField(max_length=64)),
                ('sequence', models.BigIntegerField()),
                ('sink', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='cursors', to='audit_app.sinkstate')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('sink', 'stream'), name='audit_cursor_place')],
            },
        ),
        migrations.RunPython(make_deployment, migrations.RunPython.noop, elidable=False),
    ]
