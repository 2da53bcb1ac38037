"""The read engine answers the KV v2 protocol as the general path does, which stays the judge of all else."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from audit_app.models import AuditEvent
from core.http.requests import Answer
from environments_app.tests.cast import Cast
from gateway_app.kv2.lane import read
from gateway_app.lanes import Lanes
from gateway_app.tests.engine.inline import Inline
from gateway_app.tests.kv2.conftest import token
from secrets_app.models import SecretVersion
from secrets_app.tests.kept import change, keep
from secrets_app.types.registry import SecretType
from tests.api.test_recorded_read import EVENT, FrontedClient

pytestmark = [pytest.mark.django_db, pytest.mark.every_database]
# What names the request, and what is said of cookies, which a token's read does not look at.
OWN = {"X-Request-ID", "Vary", "Content-Length"}
Both = Callable[..., tuple[Any, bool]]


@pytest.fixture
def both() -> Both:
    """Read in front of Django and by Django alone; return the equal answer and whether the engine gave it."""

    def ask(path: str, given: str, **headers: str) -> tuple[Any, bool]:
        front, taken = Lanes(Inline(), [read]), []

        def in_front(environ: dict[str, Any]) -> Answer | None:
            answer = front(environ)
            taken.append(answer is not None)
            return answer

        sent = {"X-Vault-Token": given, **{name.replace("_", "-"): text for name, text in headers.items()}}
        hot = _told(FrontedClient(in_front, {}), path, sent)
        assert hot == _told(Client(raise_request_exception=False), path, sent)
        return hot, taken[0]

    return ask


def _told(client: Client, path: str, headers: dict[str, str]) -> Any:
    # A violation is reported once a minute, a refusal counted: each path begins afresh.
    cache.clear()
    last = AuditEvent.objects.order_by("-id").values_list("id", flat=True).first() or 0
    response = client.get(f"/vault/v1/{path}", headers=headers)
    body = json.loads(response.content)
    body.pop("request_id", None)
    events = AuditEvent.objects.filter(id__gt=last).order_by("id").values_list(*EVENT)
    shown = {name: value for name, value in response.items() if name not in OWN}
    return response.status_code, body, shown, list(events)


@pytest.mark.parametrize("mount", ["development", "secret"])
def test_values_of_both_kinds_are_answered_in_front(cast: Cast, both: Both, mount: str) -> None:
    change(cast, keep(cast, "app/text", value="old"), value='ü "new"')
    keep(cast, "app/object", value='{"user": "a", "n": [1]}', secret_type=SecretType.JSON)
    for role, prefix in (("reader", ""), ("editor", "app"), ("manager", "app/text")):
        own = token(cast, role, prefix=prefix)
        (status, body, _, events), in_front = both(f"{mount}/data/app/text", own)
        assert (status, in_front, len(events)) == (200, True, 1)
        assert body["data"]["data"] == {"value": 'ü "new"'}
        assert body["data"]["metadata"]["version"] == 2
        assert json.loads(events[0][-1]) == {"number": 2, "protocol": "kv-v2"}
    (status, body, _, _), in_front = both(f"{mount}/data/app/object", token(cast, "reader"))
    assert (status, in_front, body["data"]["data"]) == (200, True, {"user": "a", "n": [1]})


def test_a_version_that_ends_is_left_to_the_general_path(
    cast: Cast, both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = keep(cast, "app/text")
    secret.delete_version_after = 60
    secret.save()
    change(cast, secret, value="ends")
    own = token(cast, "reader")
    (status, body, _, _), in_front = both("secret/data/app/text", own)
    assert (status, in_front, body["data"]["data"]) == (200, False, {"value": "ends"})
    now = timezone.now()
    monkeypatch.setattr(timezone, "now", lambda: now + timedelta(seconds=61))
    (status, body, _, _), in_front = both("secret/data/app/text", own)
    assert (status, in_front, body["data"]["data"]) == (404, False, None)


def test_what_is_not_plain_or_not_granted_is_left_to_the_general_path(cast: Cast, both: Both) -> None:
    keep(cast, "app/text")
    # The first event of a stream opens it.
    keep(cast, "first", environment=cast.production)
    reader = token(cast, "reader")
    for path, given, status in (
        ("secret/data/app/absent", reader, 404),
        ("secret/data/app/text?version=1", reader, 200),
        ("production/data/app/text", reader, 403),
        ("secret/data/app/text/", reader, 200),
        ("secret/data/app/text", token(cast, "viewer"), 403),
        ("secret/data/app/text", token(cast, "reader", prefix="other"), 403),
        ("secret/data/app/text", token(cast, "reader", cidrs=["10.0.0.0/8"]), 403),
        ("secret/data/app/text", "kpr_x", 403),
        ("secret/data/app/text", reader[:-1] + ("A" if reader[-1] != "A" else "B"), 403),
    ):
        (found, *_), in_front = both(path, given)
        assert (found, in_front) == (status, False), path
    # Longer than a read may be wrapped: a wrapping token would be another one each time.
    for name, text in (("X_Vault_Namespace", "team"), ("X_Vault_Wrap_TTL", "8d")):
        (status, *_), in_front = both("secret/data/app/text", reader, **{name: text})
        assert (status, in_front) == (400, False)


def test_a_value_that_does_not_open_is_answered_in_the_protocols_form(
    cast: Cast, both: Both, sql: Callable[..., None]
) -> None:
    keep(cast, "a", value="of a")
    other = keep(cast, "b", value="of b")
    foreign = SecretVersion.objects.get(secret__name="a").value.envelope
    sql("UPDATE secrets_app_secretversion SET value = %s WHERE secret_id = %s", foreign, other.pk)
    (status, body, _, _), in_front = both("secret/data/b", token(cast, "reader"))
    assert (status, in_front) == (409, False)
    assert body.keys() == {"errors"}
    assert "of a" not in str(body)
