"""Few events name a manifest: on SQLite their index leaves out those that name none.

Each event wrote an entry, and with it a page, that nothing looks for. MariaDB has no such indexes, and needs its
own for the foreign key. An index of the model is not declared: MariaDB would warn at each start.
"""

import django.db.models.deletion
from django.db import migrations, models

_TABLE = "audit_app_auditevent"
_COLUMN = "manifest_id"


def leave_out_none(apps, editor):
    _replace(editor, f"CREATE INDEX audit_event_manifest ON {_TABLE} ({_COLUMN}) WHERE {_COLUMN} IS NOT NULL")


def take_in_all(apps, editor):
    _replace(editor, f"CREATE INDEX audit_event_manifest ON {_TABLE} ({_COLUMN})")


def _replace(editor, statement):
    if editor.connection.vendor != "sqlite":
        return
    with editor.connection.cursor() as cursor:
        found = editor.connection.introspection.get_constraints(cursor, _TABLE)
    for name, each in found.items():
        if each["columns"] == [_COLUMN] and each["index"]:
            editor.execute(f"DROP INDEX {editor.quote_name(name)}")
    editor.execute(statement)


class Migration(migrations.Migration):
    dependencies = [("audit_app", "0011_stream_and_action")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunPython(leave_out_none, take_in_all)],
            state_operations=[
                migrations.AlterField(
                    model_name="auditevent",
                    name="manifest",
                    field=models.ForeignKey(
                        db_index=False,
                        help_text="The versions that an act on many secrets was about.",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="events",
                        to="audit_app.readmanifest",
                    ),
                ),
            ],
        ),
    ]
