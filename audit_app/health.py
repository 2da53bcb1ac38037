"""Health of what the audit log depends on."""

from django.db import connection


def database() -> None:
    """Check that the database answers and that its schema is there.

    Raises django.db.Error if it does not.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM audit_app_streamhead WHERE 1 = 0")
