"""Workloads sign in by the KV v2-compatible API and the REST API: the same use case behind two doors."""

import json
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from audit_app.models import RefusalCount
from environments_app.models import ServiceToken, Trust
from environments_app.tests.cast import Cast
from environments_app.tests.trusts.issuer import Issuer
from environments_app.tests.trusts.made import make_trust
from environments_app.trusts import service
from gateway_app.tests.kv2.conftest import Ask
from secrets_app.tests.kept import keep

pytestmark = [pytest.mark.django_db, pytest.mark.every_database_weekly]
ISSUER = Issuer()


def login(ask: Ask, method: str = "jwt", verb: str = "PUT", **body: Any) -> Any:
    return ask(verb, f"auth/{method}/login", json.dumps(body).encode(), token="")


@pytest.mark.parametrize("method", ["jwt", "kubernetes"])
@pytest.mark.parametrize("verb", ["PUT", "POST"])
def test_a_workload_signs_in_and_reads(cast: Cast, ask: Ask, method: str, verb: str) -> None:
    make_trust(cast, ISSUER, environment=cast.development)
    keep(cast, "app/db", value="s3cret")
    answer = login(ask, method, verb, role="ci", jwt=ISSUER.sign())
    auth = answer.json()["auth"]

    assert answer.status_code == 200
    assert auth["policies"] == ["reader"]
    assert auth["renewable"] is False
    assert 0 < auth["lease_duration"] <= 900
    assert auth["metadata"] == {"role": "ci"}
    read = ask("GET", "secret/data/app/db", token=auth["client_token"])
    assert read.json()["data"]["data"] == {"value": "s3cret"}
    told = ask("GET", "auth/token/lookup-self", token=auth["client_token"]).json()["data"]
    assert told["display_name"] == "ci"


@pytest.mark.parametrize("method", ["jwt", "kubernetes"])
def test_every_refusal_is_the_same_and_counted(cast: Cast, ask: Ask, method: str) -> None:
    make_trust(cast, ISSUER, environment=cast.development)
    for role, jwt in (
        ("absent", ISSUER.sign()), ("ci", "x"), ("ci", ISSUER.sign(sub="mallory")),
        ("ci", ISSUER.sign(aud="other")), ("ci", ISSUER.sign(exp=1)),
    ):  # fmt: skip
        answer = login(ask, method, role=role, jwt=jwt)
        assert (answer.status_code, answer.json()) == (403, {"errors": ["permission denied"]})
    assert sum(RefusalCount.objects.values_list("count", flat=True)) == 5
    assert not ServiceToken.objects.filter(trust_uuid__isnull=False).exists()


@pytest.mark.parametrize("method", ["jwt", "kubernetes"])
def test_a_jwt_that_was_used_says_so_and_gives_no_second_token(cast: Cast, ask: Ask, method: str) -> None:
    """Whoever holds it proved what it says: it is told what to do, as nobody else is."""
    make_trust(cast, ISSUER, environment=cast.development, single_use=True)
    jwt = ISSUER.sign()
    assert login(ask, method, role="ci", jwt=jwt).status_code == 200
    again = login(ask, method, role="ci", jwt=jwt)
    assert again.status_code == 403
    assert "used before" in again.json()["errors"][0]
    assert ServiceToken.objects.filter(trust_uuid__isnull=False).count() == 1


@pytest.mark.parametrize(
    "body", [{}, {"role": "ci"}, {"jwt": "x"}, {"role": 7, "jwt": "x"}, {"role": "ci", "jwt": []}]
)
def test_a_body_that_is_not_whole_is_400(ask: Ask, body: dict[str, Any]) -> None:
    assert login(ask, **body).status_code == 400


def test_a_token_of_a_disabled_trust_is_refused_by_both_paths_of_reads(cast: Cast, ask: Ask) -> None:
    make_trust(cast, ISSUER, environment=cast.development)
    keep(cast, "app/db", value="s3cret")
    own = login(ask, role="ci", jwt=ISSUER.sign()).json()["auth"]["client_token"]
    trust = Trust.objects.select_related("environment").get()
    service.change(actor=cast.principal(cast.alice), trust=trust, enabled=False)

    assert ask("GET", "secret/data/app/db", token=own).status_code == 403
    by_rest = Client(headers={"authorization": f"Bearer {own}"})
    assert by_rest.get("/api/environments/development/secrets/app/db").status_code == 401


def test_a_workload_ends_its_own_token(cast: Cast, ask: Ask) -> None:
    make_trust(cast, ISSUER, environment=cast.development)
    own = login(ask, role="ci", jwt=ISSUER.sign()).json()["auth"]["client_token"]

    assert ask("PUT", "auth/token/revoke-self", token=own).status_code == 204
    assert ask("GET", "auth/token/lookup-self", token=own).status_code == 403
    # That of a service token is shared by processes.
    assert ask("PUT", "auth/token/revoke-self").status_code == 400


def test_the_rest_api_answers_a_token(cast: Cast) -> None:
    make_trust(cast, ISSUER, prefix="shop")
    jwt = ISSUER.sign()
    answer = Client().post("/api/auth/jwt", {"trust": "ci", "jwt": jwt}, content_type="application/json")

    assert answer.status_code == 201
    assert "no-store" in answer["Cache-Control"]
    told = answer.json()
    assert (told["environment"], told["role"], told["prefix"]) == ("production", "reader", "shop")
    bearer = Client(headers={"authorization": f"Bearer {told['token']}"})
    assert bearer.get("/api/whoami").json()["name"] == "ci"
    same = Client().post(
        "/api/auth/jwt", {"role": "ci", "jwt": ISSUER.sign()}, content_type="application/json"
    )
    assert same.status_code == 201


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"trust": "absent", "jwt": "x"}, 401), ({"trust": "ci", "jwt": "x"}, 401), ({"jwt": "x"}, 400),
        ({"trust": "ci"}, 400), ({"trust": "ci", "jwt": 7}, 400), ({"trust": "ci", "jwt": "x" * 20_000}, 400),
    ],
)  # fmt: skip
def test_the_rest_api_refuses(cast: Cast, body: dict[str, Any], status: int) -> None:
    make_trust(cast, ISSUER)

    assert Client().post("/api/auth/jwt", body, content_type="application/json").status_code == status


def test_keys_that_cannot_be_had_are_503(cast: Cast, ask: Ask, settings: Settings) -> None:
    settings.KEEPER_OUTBOUND_ALLOWED = ["127.0.0.0/8"]
    make_trust(cast, ISSUER, environment=cast.development, jwks="", issuer="https://127.0.0.1:1")
    jwt = ISSUER.sign(iss="https://127.0.0.1:1")

    answer = login(ask, role="ci", jwt=jwt)
    assert answer.status_code == 503
    assert int(answer["Retry-After"]) >= 1
    rest = Client().post("/api/auth/jwt", {"trust": "ci", "jwt": jwt}, content_type="application/json")
    assert rest.status_code == 503


def test_a_trial_says_which_rule_fails_and_signs_nobody_in(cast: Cast) -> None:
    trust = make_trust(cast, ISSUER, single_use=True)
    client = Client()
    client.force_login(cast.alice, backend="environments_app.users.password_backend.LocalBackend")
    url = f"/api/environments/production/trusts/{trust.pk}/test"
    good, bad = ISSUER.sign(), ISSUER.sign(sub="mallory")
    told = client.post(url, {"jwt": good}, content_type="application/json").json()
    assert told["passed"] is True
    told = client.post(url, {"jwt": bad}, content_type="application/json").json()
    failed = [check for check in told["checks"] if not check["passed"]]
    assert [(check["rule"], check["expected"], check["found"]) for check in failed] == [
        ("sub", "a-service", "mallory")
    ]
    assert (
        client.post(url, {"jwt": "x"}, content_type="application/json").json()["problem"] == "jwt-malformed"
    )
    assert not ServiceToken.objects.exists()
