"""A body that has a name twice is refused by each protocol that writes."""

import pytest
from django.test import Client

from environments_app.tests.cast import Cast
from environments_app.tokens.service import issue
from secrets_app.models import Secret

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/api/environments/{place}/secrets/a", '{"value":"one","value":"two"}'),
        ("PUT", "/vault/v1/{place}/data/a", '{"data":{"x":"1","x":"2"}}'),
    ],
)
def test_a_body_with_a_name_twice_writes_nothing(cast: Cast, method: str, path: str, body: str) -> None:
    _, text = issue(
        actor=cast.principal(cast.alice), environment=cast.development, role="editor", name="twice"
    )
    answer = Client().generic(
        method,
        path.format(place=cast.development.name),
        body,
        content_type="application/json",
        headers={"Authorization": f"Bearer {text}"},
    )

    assert answer.status_code == 400
    assert "two" not in answer.content.decode()
    assert not Secret.objects.exists()
