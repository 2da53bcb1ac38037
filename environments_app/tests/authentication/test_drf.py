from collections.abc import Callable

import pytest
from django.test import Client, RequestFactory
from pytest_django import Settings

from audit_app.events.actions import Action
from audit_app.models import AuditEvent, RefusalCount
from environments_app.authentication.drf import principal_of
from environments_app.models import ServiceToken
from environments_app.tests.cast import Cast


def test_a_token_says_who_calls(cast: Cast, bearer: Callable[..., Client]) -> None:
    answer = bearer("reader", cast.development, prefix="pay").get("/api/whoami").json()
    assert (answer["kind"], answer["name"], answer["is_admin"]) == ("token", "reader-token", False)
    assert answer["grants"] == [{"environment": "development", "role": "reader", "prefix": "pay"}]


def test_a_session_says_who_calls(cast: Cast, signed_in: Callable[..., Client]) -> None:
    answer = signed_in(cast.root).get("/api/whoami").json()
    assert (answer["kind"], answer["name"], answer["is_admin"], answer["grants"]) == (
        "user",
        "root",
        True,
        [],
    )


def test_nobody_is_let_in_without_either(db: None, client: Client) -> None:
    response = client.get("/api/whoami")
    assert response.status_code == 401
    assert response["WWW-Authenticate"].startswith("Bearer")
    assert RefusalCount.objects.get().kind == "no-credentials"


def test_asking_without_credentials_is_limited_too(
    db: None, client: Client, settings: Settings, one_minute: None
) -> None:
    settings.KEEPER_REFUSALS_PER_MINUTE = 2
    statuses = [client.get("/api/whoami").status_code for _ in range(3)]
    assert statuses[0] == 401
    assert set(statuses) == {401, 429}


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        ("Bearer nonsense", "malformed-token"),
        ("Bearer kpr_" + "a" * 22 + "_" + "b" * 43, "unknown-token"),
        ("Basic cm9vdDpyb290", "unknown-scheme"),
        ("Bearer", "malformed-token"),
    ],
)
def test_bad_credentials_are_refused_and_counted(db: None, header: str, kind: str) -> None:
    response = Client(headers={"authorization": header}).get("/api/whoami")
    assert response.status_code == 401
    assert RefusalCount.objects.get().kind == kind
    assert header.rsplit(maxsplit=1)[-1].encode() not in response.content or header == "Bearer"
    # The same for each, and another than without any.
    assert response.json()["detail"] == "This token isn't valid: it is mistyped, expired or revoked."
    assert response.json()["detail"] != Client().get("/api/whoami").json()["detail"]


def test_bad_credentials_are_not_rescued_by_a_session(cast: Cast, signed_in: Callable[..., Client]) -> None:
    response = signed_in(cast.root).get("/api/whoami", headers={"authorization": "Bearer nonsense"})
    assert response.status_code == 401


def test_an_address_that_is_refused_too_often_waits(db: None, settings: Settings, one_minute: None) -> None:
    settings.KEEPER_REFUSALS_PER_MINUTE = 2
    client = Client(headers={"authorization": "Bearer nonsense"})
    statuses = [client.get("/api/whoami").status_code for _ in range(3)]
    assert statuses == [401, 401, 429]


def test_revoking_takes_effect_on_the_next_call(
    cast: Cast, bearer: Callable[..., Client], signed_in: Callable[..., Client]
) -> None:
    client = bearer("reader", cast.development)
    assert client.get("/api/whoami").status_code == 200
    token = ServiceToken.objects.get()
    assert signed_in(cast.alice).delete(f"/api/environments/development/tokens/{token.pk}").status_code == 204
    assert client.get("/api/whoami").status_code == 401


def test_a_session_needs_a_csrf_token_to_write(cast: Cast) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(cast.root, backend="environments_app.users.password_backend.LocalBackend")
    response = client.post("/api/environments", {"name": "x"}, content_type="application/json")
    assert response.status_code == 403


def test_a_token_needs_none(cast: Cast, bearer: Callable[..., Client]) -> None:
    client = bearer("admin")
    client.handler.enforce_csrf_checks = True
    response = client.post("/api/environments", {"name": "x"}, content_type="application/json")
    assert response.status_code == 201


def test_a_page_of_nobody_has_a_principal_without_rights(rf: RequestFactory) -> None:
    principal = principal_of(rf.get("/"))
    assert (principal.kind, principal.is_admin, principal.grants) == ("anonymous", False, ())


def test_the_history_of_configuration_names_the_token(
    cast: Cast, bearer: Callable[..., Client], events: Callable[..., list[AuditEvent]]
) -> None:
    client = bearer("admin")
    before = len(events(Action.CONFIGURATION_CHANGE))
    client.patch("/api/environments/development", {"description": "x"}, content_type="application/json")
    (event,) = events(Action.CONFIGURATION_CHANGE)[before:]
    assert (event.actor_kind, event.actor_name) == ("token", "admin-token")
