from collections.abc import Callable

import pytest
from django.contrib.auth.models import Group

from environments_app.authorization.principals import system_principal
from environments_app.authorization.rows import access_rows
from environments_app.models import GroupMember
from environments_app.tests.cast import Cast
from environments_app.tokens.service import issue


def test_genuine_rows_are_no_problem(cast: Cast) -> None:
    assert list(access_rows()) == []


@pytest.mark.parametrize(
    ("table", "change", "label"),
    [
        ("user", "role = 'admin'", "user"),
        ("environment", "name = 'x'", "environment"),
        ("membership", "role = 'manager'", "membership"),
        ("servicetoken", "role = 'manager'", "service-token"),
        ("groupmember", "uuid = '00000000000000000000000000000001'", "group-member"),
    ],
)
def test_it_names_each_row_that_was_edited(
    cast: Cast, sql: Callable[..., None], table: str, change: str, label: str
) -> None:
    issue(actor=system_principal(is_admin=True), environment=cast.development, role="viewer", name="ci")
    GroupMember.objects.create(user=cast.bob, group=Group.objects.create(name="ops"))
    where = {"user": cast.bob.pk, "environment": cast.development.pk}.get(table)
    condition = (
        f"id = {where}"
        if where
        else f"id = (SELECT m FROM (SELECT MIN(id) AS m FROM environments_app_{table}) AS t)"
    )
    if table == "membership":
        condition = f"user_id = {cast.vera.pk}"
    sql(f"UPDATE environments_app_{table} SET {change} WHERE {condition}")
    problems = [problem.object.split()[0] for problem in access_rows()]
    assert label in problems
