import django.db.models.deletion
from django.db import migrations, models

# What SQLite has of foreign keys by which other indexes begin. MariaDB has none: there the constraint makes
# do with those.
_NEEDLESS = {
    "secrets_app_secret_environment_id_8b48af90": ("secrets_app_secret", "environment_id"),
    "secrets_app_secretversion_secret_id_d141b9b4": ("secrets_app_secretversion", "secret_id"),
}


def _drop(apps, schema_editor):
    if schema_editor.connection.vendor == "sqlite":
        for name in _NEEDLESS:
            schema_editor.execute(f'DROP INDEX IF EXISTS "{name}"')


def _create(apps, schema_editor):
    if schema_editor.connection.vendor == "sqlite":
        for name, (table, column) in _NEEDLESS.items():
            schema_editor.execute(f'CREATE INDEX "{name}" ON "{table}" ("{column}")')


class Migration(migrations.Migration):
    """By hand, since Django would copy both tables for it."""

    dependencies = [("secrets_app", "0012_list_by_rotation")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunPython(_drop, _create)],
            state_operations=[
                migrations.AlterField(
                    model_name="secret",
                    name="environment",
                    field=models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="secrets",
                        to="environments_app.environment",
                    ),
                ),
                migrations.AlterField(
                    model_name="secretversion",
                    name="secret",
                    field=models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="versions",
                        to="secrets_app.secret",
                    ),
                ),
            ],
        ),
    ]
