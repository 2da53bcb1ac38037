"""Static credentials of the database engine, over rotation policies."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from environments_app.tests.cast import Cast
from gateway_app.tests.kv2.conftest import Ask, token
from secrets_app.models import Secret
from secrets_app.tests.kept import keep
from secrets_app.types.registry import SecretType
from sync_app.models import RotationPolicy
from sync_app.rotation.policies import service as policies

pytestmark = [pytest.mark.django_db, pytest.mark.every_database_weekly]
LOGIN = '{"username":"app_a","password":"s3cret","host":"db"}'


@pytest.fixture
def rotated(cast: Cast) -> RotationPolicy:
    """Return a policy, whose secret has a login; what rotates it is not asked here."""
    policy = policies.create(
        actor=cast.principal(cast.alice),
        secret=keep(cast, "app/db"),
        rotator="generated",
        settings={},
        credentials={},
        interval_seconds=86_400,
    )
    Secret.objects.filter(pk=policy.secret.pk).update(live=None)
    secret = keep(cast, "app/db", value=LOGIN, secret_type=SecretType.JSON)
    policy.secret = secret
    policy.save()
    return policy


def test_the_served_login_is_answered_with_the_time_until_its_rotation(
    cast: Cast, ask: Ask, rotated: RotationPolicy
) -> None:
    answer = ask("GET", "database/static-creds/app/db")
    assert answer.status_code == 200, answer.content
    data = answer.json()["data"]
    assert (data["username"], data["password"], data["rotation_period"]) == ("app_a", "s3cret", 86_400)
    assert 0 < data["ttl"] <= 86_400
    assert data["last_vault_rotation"].endswith("Z")
    event = AuditEvent.objects.filter(action=Action.SECRET_REVEAL).latest("id")
    assert json.loads(event.details) == {"number": 2, "protocol": "kv-v2"}


def test_a_late_rotation_is_asked_for_again_in_seconds_and_one_by_hand_in_minutes(
    cast: Cast, ask: Ask, rotated: RotationPolicy
) -> None:
    RotationPolicy.objects.filter(pk=rotated.pk).update(due_at=timezone.now() - timedelta(hours=1))
    assert ask("GET", "database/static-creds/app/db").json()["data"]["ttl"] == 5
    RotationPolicy.objects.filter(pk=rotated.pk).update(due_at=None)
    assert ask("GET", "database/static-creds/app/db").json()["data"]["ttl"] == 300


@pytest.mark.parametrize("name", ["absent", "plain"])
def test_what_is_not_rotated_is_no_role(cast: Cast, ask: Ask, name: str) -> None:
    keep(cast, "plain", value=LOGIN, secret_type=SecretType.JSON)
    answer = ask("GET", f"database/static-creds/{name}")
    assert (answer.status_code, answer.json()) == (400, {"errors": [f"unknown role: {name}"]})


def test_a_viewer_and_another_part_get_no_login(cast: Cast, ask: Ask, rotated: RotationPolicy) -> None:
    for given in (token(cast, "viewer"), token(cast, "manager", prefix="other")):
        refused: Any = ask("GET", "database/static-creds/app/db", token=given)
        assert (refused.status_code, refused.json()) == (403, {"errors": ["permission denied"]})


@pytest.mark.parametrize(
    ("role", "prefix"), [("viewer", ""), ("reader", ""), ("reader", "app"), ("manager", "other")]
)
def test_what_a_token_may_do_with_a_login_is_what_is_answered(
    cast: Cast, ask: Ask, rotated: RotationPolicy, role: str, prefix: str
) -> None:
    own = token(cast, role, prefix=prefix)
    path = "database/static-creds/app/db"
    sent = json.dumps({"path": path}).encode()
    words = ask("POST", "sys/capabilities-self", sent, token=own).json()["data"][path]
    answered = ask("GET", path, token=own).status_code
    assert (words, answered) in ((["read"], 200), (["deny"], 403))
    below = ask("GET", "sys/internal/ui/resultant-acl", token=own).json()["data"]["glob_paths"]
    start = f"database/static-creds/{prefix}/" if prefix else "database/static-creds/"
    assert below[start] == {"capabilities": ["deny" if role == "viewer" else "read"]}


def test_a_policy_that_was_edited_answers_nothing(cast: Cast, ask: Ask, rotated: RotationPolicy) -> None:
    RotationPolicy.objects.filter(pk=rotated.pk).update(interval_seconds=1)
    answer = ask("GET", "database/static-creds/app/db")
    assert answer.status_code == 409
    assert b"s3cret" not in answer.content
