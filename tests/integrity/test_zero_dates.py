"""MariaDB stores a time that is none, where a session lets it: the row is not what Keeper wrote."""

import pytest
from django.db import connection

from audit_app.integrity.check_registry import run_checks
from environments_app.authorization.principals import system_principal
from environments_app.errors import BadToken
from environments_app.models import PersonalToken, ServiceToken
from environments_app.tests.cast import Cast
from environments_app.tokens.authentication import authenticate
from environments_app.tokens.personal import authenticate_personal, issue_personal
from environments_app.tokens.service import issue

pytestmark = [pytest.mark.django_db, pytest.mark.every_database]
# SQLite stores any text; a time that is none there is no row of Keeper's either.
NONE = "0000-00-00 00:00:00"


def test_a_token_that_was_revoked_at_no_time_opens_nothing_and_is_found(cast: Cast) -> None:
    service, text = issue(
        actor=system_principal(is_admin=True), environment=cast.development, role="reader", name="build"
    )
    personal, own = issue_personal(actor=cast.principal(cast.bob), name="laptop")
    with connection.cursor() as cursor:
        if connection.vendor == "mysql":
            cursor.execute("SET SESSION sql_mode = ''")
        for model, row in ((ServiceToken, service), (PersonalToken, personal)):
            cursor.execute(f"UPDATE {model._meta.db_table} SET revoked_at = %s WHERE id = %s", [NONE, row.pk])
    with pytest.raises((BadToken, ValueError)):
        authenticate(text, address="192.0.2.1")
    with pytest.raises((BadToken, ValueError)):
        authenticate_personal(own, address="192.0.2.1")
    if connection.vendor == "mysql":
        named = " ".join(problem.object for problem in run_checks())
        assert str(service.uuid) in named
        assert str(personal.uuid) in named
