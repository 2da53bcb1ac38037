"""Tokens that a token makes by `auth/token/create`, and what their bearers and parents do with them."""

import json
import os
import subprocess
from typing import Any

import hvac
import pytest
from pytest_django.live_server_helper import LiveServer

from environments_app.models import ServiceToken
from environments_app.tests.cast import Cast
from environments_app.tokens.personal import issue_personal
from gateway_app.tests.kv2.conftest import Ask, token
from gateway_app.tests.kv2.test_clients import program
from gateway_app.tests.kv2.test_numbers import of_keeper, of_openbao
from secrets_app.tests.kept import VALUE, keep
from tests.servers.fixtures import openbao

__all__ = ["openbao"]
pytestmark = [pytest.mark.django_db]
CREATE = "auth/token/create"


def create(ask: Ask, **body: Any) -> dict[str, Any]:
    answer = ask("POST", CREATE, json.dumps(body).encode())
    assert answer.status_code == 200, answer.content
    return dict(answer.json()["auth"])


def body(**members: Any) -> bytes:
    return json.dumps(members).encode()


def test_a_child_reads_and_no_more(cast: Cast, ask: Ask) -> None:
    keep(cast, "app/db"), keep(cast, "other")
    auth = create(
        ask,
        policies=["reader", "default"],
        ttl="1h",
        meta={"prefix": "app"},
        display_name="deploy",
        renewable=False,
    )
    assert (auth["policies"], auth["renewable"], auth["orphan"]) == (["reader"], False, False)
    assert 3590 <= auth["lease_duration"] <= 3600
    own = auth["client_token"]
    assert ask("GET", "secret/data/app/db", token=own).json()["data"]["data"] == {"value": VALUE}
    assert ask("GET", "secret/data/other", token=own).status_code == 403
    assert ask("POST", "secret/data/app/db", body(data={"a": 1}), token=own).status_code == 403
    looked = ask("GET", "auth/token/lookup-self", token=own).json()["data"]
    assert (looked["display_name"], looked["orphan"], looked["policies"]) == (
        "kv2-editor: deploy",
        False,
        ["reader"],
    )
    assert looked["meta"] == {"environment": "development", "prefix": "app"}
    renewed = ask("POST", "auth/token/renew-self", token=own)
    assert (renewed.status_code, renewed.json()) == (400, {"errors": ["lease is not renewable"]})
    assert ask("POST", "auth/token/revoke-self", token=own).status_code == 204
    assert ask("GET", "secret/data/app/db", token=own).status_code == 403


@pytest.mark.parametrize(
    "asked",
    [
        {"policies": ["manager"]}, {"policies": ["root"]}, {"policies": ["admin"]}, {"policies": ["reader", "editor"]},
        {"policies": 5}, {"policies": [5]}, {"meta": {"team": "a"}}, {"meta": {"environment": "production"}},
        {"meta": {"prefix": 5}}, {"meta": {"prefix": "../x"}}, {"meta": []  , "num_uses": 1}, {"period": "1h"},
        {"no_parent": True}, {"id": "x"}, {"type": "batch"}, {"ttl": "abc"}, {"ttl": -1}, {"ttl": {}, "lease": []},
        {"explicit_max_ttl": "x"}, {"display_name": 5}, {"display_name": "a\nb"}, {"ttl": "290y"}, {"entity_alias": "a"},
    ],
    ids=range(23),
)  # fmt: skip
def test_what_is_more_or_unknown_is_refused(ask: Ask, asked: dict[str, Any]) -> None:
    if asked == {"ttl": {}, "lease": []}:
        asked = {"ttl": {"a": 1}}
    answer = ask("POST", CREATE, json.dumps(asked).encode())
    assert answer.status_code == 400, answer.content
    assert answer.json()["errors"]
    assert ServiceToken.objects.count() == 1


def test_the_child_of_a_manager_is_an_editor(cast: Cast, ask: Ask) -> None:
    manager = token(cast, "manager")
    answer = ask("POST", CREATE, body(ttl="1h"), token=manager)
    assert answer.json()["auth"]["policies"] == ["editor"]
    answer = ask("POST", CREATE, body(policies=["manager"]), token=manager)
    assert answer.status_code == 400
    assert "one of editor, reader, viewer" in answer.json()["errors"][0]


def test_a_limit_of_time_counts(ask: Ask) -> None:
    assert 55 <= create(ask, ttl="1h", explicit_max_ttl="60s")["lease_duration"] <= 60
    assert 55 <= create(ask, ttl=60)["lease_duration"] <= 60
    assert 55 <= create(ask, lease="60")["lease_duration"] <= 60
    assert create(ask)["lease_duration"] > 86_400


def test_a_personal_token_makes_none(cast: Cast, ask: Ask) -> None:
    _, own = issue_personal(actor=cast.principal(cast.bob), name="laptop")
    answer = ask("POST", CREATE, token=own)
    assert (answer.status_code, "personal token" in answer.content.decode()) == (403, True)


def test_accessors_reach_oneself_and_children_alone(cast: Cast, ask: Ask) -> None:
    auth = create(ask, ttl="1h")
    child, accessor = auth["client_token"], auth["accessor"]
    stranger = token(cast, "manager")
    listed = ask("LIST", "auth/token/accessors").json()["data"]["keys"]
    assert accessor in listed
    assert len(listed) == 2
    looked = ask("POST", "auth/token/lookup-accessor", body(accessor=accessor)).json()["data"]
    assert (looked["accessor"], looked["id"]) == (accessor, "")
    assert ask("POST", "auth/token/lookup", body(token=child)).json()["data"]["id"] == child
    for path, given in (
        ("lookup-accessor", {"accessor": accessor}), ("revoke-accessor", {"accessor": accessor}),
        ("lookup", {"token": child}), ("revoke", {"token": child}),
        ("lookup-accessor", {}), ("revoke-accessor", {"accessor": ["x"]}), ("revoke", {"token": 5}),
    ):  # fmt: skip
        answer = ask("POST", f"auth/token/{path}", body(**given), token=stranger)
        assert (answer.status_code, answer.json()) == (403, {"errors": ["permission denied"]}), path
    wrong = child[:-1] + ("A" if child[-1] != "A" else "B")
    assert ask("POST", "auth/token/revoke", body(token=wrong)).status_code == 403
    assert ask("GET", "auth/token/lookup-self", token=child).status_code == 200
    assert ask("POST", "auth/token/revoke-accessor", body(accessor=accessor)).status_code == 204
    assert ask("GET", "auth/token/lookup-self", token=child).status_code == 403
    second = create(ask)["client_token"]
    assert ask("PUT", "auth/token/revoke", body(token=second)).status_code == 204
    assert ask("GET", "auth/token/lookup-self", token=second).status_code == 403


@pytest.mark.django_db(transaction=True)
def test_the_cli_and_hvac_make_and_end_children(cast: Cast, live_server: LiveServer, tmp_path: Any) -> None:
    keep(cast, "app/db")
    own = token(cast)

    def bao(*words: str, by: str = own, status: int = 0) -> str:
        variables = {"BAO_ADDR": f"{live_server.url}/vault", "BAO_TOKEN": by, "HOME": str(tmp_path)}
        done = subprocess.run(
            [program(), *words], env={"PATH": os.environ["PATH"], "BAO_MAX_RETRIES": "0", **variables},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout

    made = json.loads(
        bao("token", "create", "-policy=reader", "-ttl=1h", "-metadata=prefix=app", "-format=json")
    )
    child = made["auth"]["client_token"]
    assert bao("kv", "get", "-field=value", "secret/app/db", by=child) == VALUE
    assert "reader" in bao("token", "lookup", child)
    assert "reader" in bao("token", "lookup", "-accessor", made["auth"]["accessor"])
    assert made["auth"]["accessor"] in bao("list", "auth/token/accessors")
    bao("token", "revoke", "-accessor", made["auth"]["accessor"])
    bao("kv", "get", "secret/app/db", by=child, status=2)
    client: Any = hvac.Client(url=f"{live_server.url}/vault", token=own)
    child = client.auth.token.create(policies=["reader"], ttl="20m", renewable=False)["auth"]["client_token"]
    assert client.auth.token.lookup(child)["data"]["policies"] == ["reader"]
    client.auth.token.revoke(child)
    assert not hvac.Client(url=f"{live_server.url}/vault", token=child).is_authenticated()


@pytest.mark.django_db(transaction=True)
def test_a_child_is_renewed_as_in_openbao(ask: Ask, openbao: tuple[str, str]) -> None:
    def told(ask_: Any, renew: Any) -> Any:
        made = ask_("POST", CREATE, {"ttl": "1m", "explicit_max_ttl": "2m"})[1]["auth"]
        answers: list[Any] = [(made["renewable"], made["lease_duration"])]
        increments: tuple[Any, ...] = (None, "90s", "10m", "5s", 0, -5, "x", [])
        for increment in increments:
            sent = {} if increment is None else {"increment": increment}
            status, found = renew(made["client_token"], sent)
            auth = found.get("auth") or {}
            answers.append((status, auth.get("lease_duration"), auth.get("renewable"), sorted(auth)))
        looked = ask_("POST", "auth/token/lookup", {"token": made["client_token"]})[1]["data"]
        answers.append((looked["renewable"], looked["explicit_max_ttl"]))
        answers.append(ask_("POST", "auth/token/renew", {"token": made["client_token"], "increment": 30})[0])
        answers.append(ask_("POST", "auth/token/renew-accessor", {"accessor": made["accessor"]})[0])
        fixed = ask_("POST", CREATE, {"ttl": "1m", "renewable": False})[1]["auth"]
        return [*answers, fixed["renewable"], renew(fixed["client_token"], {})]

    def of_child(token: str, sent: Any) -> Any:
        answer = ask("POST", "auth/token/renew-self", body(**sent), token=token)
        return answer.status_code, answer.json()

    def of_bao(token: str, sent: Any) -> Any:
        return of_openbao((openbao[0], token))("POST", "auth/token/renew-self", sent)

    ours, theirs = told(of_keeper(ask), of_child), told(of_openbao(openbao), of_bao)
    # A second may pass between the two.
    assert [near(each) for each in ours] == [near(each) for each in theirs]


def near(answer: Any) -> Any:
    if isinstance(answer, tuple):
        return tuple(-(-part // 5) * 5 if type(part) is int and part < 200 else part for part in answer)
    return answer


@pytest.mark.django_db(transaction=True)
def test_each_answer_has_the_shape_of_openbao(ask: Ask, openbao: tuple[str, str]) -> None:
    def told(send: Any) -> Any:
        made = send("POST", CREATE, {"ttl": "1h"})
        auth = made[1]["auth"]
        looked = send("POST", "auth/token/lookup-accessor", {"accessor": auth["accessor"]})
        ended = send("POST", "auth/token/revoke-accessor", {"accessor": auth["accessor"]})
        names = set(looked[1]["data"]) - {"last_renewal", "last_renewal_time"}
        return [made[0], sorted(auth), auth["orphan"], auth["token_type"], looked[0], sorted(names), ended]

    assert told(of_keeper(ask)) == told(of_openbao(openbao))
