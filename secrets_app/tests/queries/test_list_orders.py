"""Each order of the list of secrets is that of an index: no page sorts a hundred thousand rows."""

import pytest
from django.db import connection
from django.db.models import QuerySet

from environments_app.tests.cast import Cast
from secrets_app.models import Secret
from secrets_app.queries.filters import narrow
from secrets_app.queries.lookup import visible_secrets

pytestmark = pytest.mark.django_db


def plan(rows: QuerySet[Secret]) -> str:
    return str(rows[:51].explain())


@pytest.mark.parametrize(
    ("order", "index"),
    [
        (("name", "pk"), "secret_by_name"),
        (("-updated_at", "-pk"), "secret_by_change"),
        (("updated_at", "pk"), "secret_by_change"),
        (("expires_at", "pk"), "secret_by_expiry"),
        (("rotation_due_at", "pk"), "secret_by_rotation"),
    ],
)
def test_everything_that_lives_is_in_order_by_an_index(
    cast: Cast, order: tuple[str, ...], index: str
) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("a planner that counts rows first chooses no index for none")
    told = plan(visible_secrets(cast.principal(cast.root)).order_by(*order))

    assert index in told
    assert "TEMP B-TREE" not in told


def test_an_environment_is_in_order_by_an_index(cast: Cast) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("a planner that counts rows first chooses no index for none")
    secrets = narrow(
        visible_secrets(cast.principal(cast.root)),
        {"environment": "production"},
        actor=cast.principal(cast.root),
    )

    told = plan(secrets.order_by("-updated_at", "-pk"))

    assert "secret_env_by_change" in told
    assert "TEMP B-TREE" not in told
