import audit_app.integrity.row_authentication
import django.core.serializers.json
import django.db.models.deletion
import django.utils.timezone
import core.db.columns
import secrets_app.keys.encrypted_field
import secrets_app.models.webhook
import secrets_app.models.tags
import uuid
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    replaces = [
        ('secrets_app', '0001_initial'),
        ('secrets_app', '0002_key_checks'),
        ('secrets_app', '0003_key_migration'),
        ('secrets_app', '0004_webhooks'),
        ('secrets_app', '0005_legacy_values'),
        ('secrets_app', '0006_list_of_one_environment'),
        ('secrets_app', '0007_references'),
        ('secrets_app', '0008_shares'),
        ('secrets_app', '0009_sweeps'),
        ('secrets_app', '0010_second_factor_key'),
        ('secrets_app', '0011_pending_values'),
        ('secrets_app', '0012_list_by_rotation'),
        ('secrets_app', '0013_without_needless_indexes'),
        ('secrets_app', '0014_requested_key_checks'),
    ]

    dependencies = [
        ('environments_app', '0001_squashed_0016_tries_by_source'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Sweep',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('uuid', models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ('active', models.BooleanField(default=True, null=True, unique=True)),
                ('started_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('finished_at', models.DateTimeField(blank=True, null=True)),
                ('lease_until', models.DateTimeField(blank=True, null=True)),
                ('position', models.BigIntegerField(default=0)),
                ('total', models.PositiveIntegerField(default=0)),
                ('checked', models.PositiveIntegerField(default=0)),
                ('problems', models.PositiveIntegerField(default=0)),
                ('found', models.JSONField(blank=True, default=list)),
                ('started_by', models.CharField(blank=True, default='', max_length=150)),
            ],
            options={
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='WrappingKey',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('scope', models.UUIDField(default=uuid.UUID('00000000-0000-0000-0000-000000000000'), editable=False, unique=True)),
                ('reference', models.CharField(blank=True, max_length=2048)),
                ('key_uri', models.CharField(blank=True, max_length=2048)),
                ('state', models.CharField(blank=True, max_length=64)),
                ('rotates', models.BooleanField(null=True)),
                ('note', models.CharField(blank=True, max_length=500)),
                ('problem', models.CharField(blank=True, max_length=500)),
                ('checked_at', models.DateTimeField()),
            ],
            options={
                'ordering': ['id'],
            },
        ),
        migrations.CreateModel(
            name='DataKey',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('uuid', models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ('scope', models.UUIDField(default=uuid.UUID('00000000-0000-0000-0000-000000000000'), editable=False)),
                ('purpose', models.CharField(choices=[('values', 'values'), ('audit-mac', 'audit-mac'), ('row-mac', 'row-mac'), ('fingerprint', 'fingerprint'), ('checkpoint-signing', 'checkpoint-signing'), ('second-factor', 'second-factor')], max_length=32)),
                ('provider', models.CharField(max_length=16)),
                ('key_uri', models.CharField(max_length=2048)),
                ('wrapped_key', models.BinaryField()),
                ('other_provider', models.CharField(blank=True, max_length=16)),
                ('other_key_uri', models.CharField(blank=True, max_length=2048)),
                ('other_wrapped_key', models.BinaryField(blank=True, default=bytes)),
                ('context', models.JSONField(default=dict, encoder=django.core.serializers.json.DjangoJSONEncoder)),
                ('active', models.BooleanField(choices=[(True, 'active')], default=True, null=True)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('retired_at', models.DateTimeField(blank=True, null=True)),
                ('checked_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('check_problem', models.CharField(blank=True, editable=False, max_length=500)),
                ('check_requested_at', models.DateTimeField(blank=True, db_index=True, editable=False, null=True)),
                ('environment', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='data_keys', to='environments_app.environment')),
            ],
            options={
                'ordering': ['id'],
            },
        ),
        migrations.CreateModel(
            name='KeyMigration',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('uuid', models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ('row_mac', audit_app.integrity.row_authentication.RowMacField(max_length=48)),
                ('local_key_uri', models.CharField(max_length=2048)),
                ('open', models.BooleanField(default=True, null=True)),
                ('outcome', models.CharField(blank=True, choices=[('finalised', 'finalised'), ('rolled-back', 'rolled-back')], max_length=16)),
                ('started_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('ended_at', models.DateTimeField(blank=True, null=True)),
            ],
            options={
                'ordering': ['id'],
                'constraints': [models.UniqueConstraint(fields=('open',), name='key_migration_one_open')],
            },
        ),
        migrations.CreateModel(
            name='PendingValue',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('uuid', models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ('index', models.PositiveIntegerField(default=0)),
                ('value', secrets_app.keys.encrypted_field.EncryptedField(context='sealing_context', label='pending-value.value')),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('approval', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='values', to='environments_app.approval')),
                ('data_key', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='secrets_app.datakey', to_field='uuid')),
                ('environment', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='environments_app.environment')),
            ],
            options={
                'ordering': ['approval', 'index'],
            },
        ),
        migrations.CreateModel(
            name='Secret',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('uuid', models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ('row_mac', audit_app.integrity.row_authentication.RowMacField(max_length=48)),
                ('name', core.db.columns.ExactCharField(max_length=512)),
                ('secret_type', models.CharField(choices=[('PASSWORD', 'Password'), ('API_KEY', 'API key'), ('SSH_KEY', 'SSH key'), ('CERTIFICATE', 'Certificate'), ('JSON', 'JSON'), ('YAML', 'YAML'), ('TEXT', 'Text')], max_length=20)),
                ('description', models.CharField(blank=True, max_length=2000)),
                ('tags', secrets_app.models.tags.TagsField(blank=True, default=list)),
                ('owner', models.CharField(blank=True, db_index=True, max_length=150)),
                ('expires_at', models.DateTimeField(blank=True, null=True)),
                ('facts', models.JSONField(blank=True, default=dict)),
                ('current_number', models.PositiveIntegerField(default=1)),
                ('previous_number', models.PositiveIntegerField(blank=True, null=True)),
                ('pending_number', models.PositiveIntegerField(blank=True, null=True)),
                ('revision', models.PositiveIntegerField(default=1)),
                ('live', models.BooleanField(default=True, null=True)),
                ('deleted_at', models.DateTimeField(blank=True, null=True)),
                ('rotated_at', models.DateTimeField(blank=True, null=True)),
                ('rotation_due_at', models.DateTimeField(blank=True, null=True)),
                ('resolves_as', models.CharField(blank=True, default='', editable=False, max_length=60)),
                ('search_text', models.TextField(blank=True, editable=False)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('updated_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('environment', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='secrets', to='environments_app.environment')),
            ],
            options={
                'ordering': ['name', 'id'],
            },
        ),
        migrations.CreateModel(
            name='Reference',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('environment', core.db.columns.ExactCharField(max_length=63)),
                ('name', core.db.columns.ExactCharField(max_length=512)),
                ('secret', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='references', to='secrets_app.secret')),
            ],
            options={
                'ordering': ['id'],
            },
        ),
        migrations.CreateModel(
            name='SecretVersion',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('uuid', models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ('number', models.PositiveIntegerField()),
                ('value', secrets_app.keys.encrypted_field.EncryptedField(context='sealing_context', label='secret-version.value')),
                ('fingerprint', models.BinaryField(max_length=48)),
                ('author', models.CharField(max_length=150)),
                ('author_uuid', models.UUIDField()),
                ('comment', models.CharField(blank=True, max_length=500)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('data_key', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='versions', to='secrets_app.datakey', to_field='uuid')),
                ('secret', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='versions', to='secrets_app.secret')),
            ],
            options={
                'ordering': ['-number'],
            },
        ),
        migrations.CreateModel(
            name='Share',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('uuid', models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ('row_mac', audit_app.integrity.row_authentication.RowMacField(max_length=48)),
                ('number', models.PositiveIntegerField()),
                ('link_hash', models.CharField(editable=False, max_length=64, unique=True)),
                ('note', models.CharField(blank=True, max_length=200)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('expires_at', models.DateTimeField()),
                ('opened_at', models.DateTimeField(blank=True, null=True)),
                ('revoked_at', models.DateTimeField(blank=True, null=True)),
                ('environment', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='shares', to='environments_app.environment')),
                ('opened_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='shares_opened', to=settings.AUTH_USER_MODEL)),
                ('recipient', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='shares_received', to=settings.AUTH_USER_MODEL)),
                ('secret', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='shares', to='secrets_app.secret')),
                ('shared_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='shares_given', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='Webhook',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('uuid', models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ('row_mac', audit_app.integrity.row_authentication.RowMacField(max_length=48)),
                ('name', models.CharField(max_length=100)),
                ('endpoint', models.CharField(max_length=300)),
                ('style', models.CharField(choices=[(secrets_app.models.webhook.WebhookStyle['SLACK'], secrets_app.models.webhook.WebhookStyle['SLACK']), (secrets_app.models.webhook.WebhookStyle['JSON'], secrets_app.models.webhook.WebhookStyle['JSON'])], default=secrets_app.models.webhook.WebhookStyle['SLACK'], max_length=8)),
                ('sealed', secrets_app.keys.encrypted_field.EncryptedField(context='sealing_context', label='webhook.address')),
                ('created_by', models.CharField(max_length=150)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('data_key', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='webhooks', to='secrets_app.datakey', to_field='uuid')),
                ('environment', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='webhooks', to='environments_app.environment')),
            ],
            options={
                'ordering': ['name'],
            },
        ),
        migrations.AddConstraint(
            model_name='datakey',
            constraint=models.UniqueConstraint(fields=('scope', 'purpose', 'active'), name='data_key_one_active_per_purpose'),
        ),
        migrations.AddConstraint(
            model_name='pendingvalue',
            constraint=models.UniqueConstraint(fields=('approval', 'index'), name='pending_value_index'),
        ),
        migrations.AddIndex(
            model_name='secret',
            index=models.Index(fields=['live', 'name', 'id'], name='secret_by_name'),
        ),
        migrations.AddIndex(
            model_name='secret',
            index=models.Index(fields=['live', 'updated_at', 'id'], name='secret_by_change'),
        ),
        migrations.AddIndex(
            model_name='secret',
            index=models.Index(fields=['live', 'expires_at', 'id'], name='secret_by_expiry'),
        ),
        migrations.AddIndex(
            model_name='secret',
            index=models.Index(fields=['live', 'rotation_due_at', 'id'], name='secret_by_rotation'),
        ),
        migrations.AddIndex(
            model_name='secret',
            index=models.Index(fields=['environment', 'live', 'name', 'id'], name='secret_env_by_name'),
        ),
        migrations.AddIndex(
            model_name='secret',
            index=models.Index(fields=['environment', 'live', 'updated_at', 'id'], name='secret_env_by_change'),
        ),
        migrations.AddConstraint(
            model_name='secret',
            constraint=models.UniqueConstraint(fields=('environment', 'name', 'live'), name='secret_live_name'),
        ),
        migrations.AddIndex(
            model_name='reference',
            index=models.Index(fields=['environment', 'name'], name='reference_by_source'),
        ),
        migrations.AddConstraint(
            model_name='reference',
            constraint=models.UniqueConstraint(fields=('secret', 'environment', 'name'), name='reference_once'),
        ),
        migrations.AddConstraint(
            model_name='secretversion',
            constraint=models.UniqueConstraint(fields=('secret', 'number'), name='version_number'),
        ),
        migrations.AddConstraint(
            model_name='webhook',
            constraint=models.UniqueConstraint(fields=('environment', 'name'), name='webhook_name'),
        ),
    ]
