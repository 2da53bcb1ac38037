"""The numbers of versions after a deletion, as a real OpenBao counts them."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from environments_app.tests.cast import Cast
from gateway_app.kv2 import answers as values
from gateway_app.kv2 import data
from gateway_app.tests.kv2.conftest import Ask, token
from secrets_app.services import lifecycle
from secrets_app.tests.kept import change, keep
from tests.servers.fixtures import openbao

__all__ = ["openbao"]
pytestmark = [pytest.mark.django_db(transaction=True)]
Send = Callable[[str, str, Any], tuple[int, dict[str, Any]]]


def of_openbao(openbao: tuple[str, str]) -> Send:
    address, token = openbao

    def send(method: str, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
        request = urllib.request.Request(
            f"{address}/v1/{path}", method=method, headers={"X-Vault-Token": token}
        )
        if method == "PATCH":
            request.add_header("Content-Type", "application/merge-patch+json")
        request.data = None if body is None else json.dumps(body).encode()
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"{}")

    return send


def of_keeper(ask: Ask) -> Send:
    def send(method: str, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
        answer = ask(method, path, b"" if body is None else json.dumps(body).encode())
        return answer.status_code, json.loads(answer.content or b"{}")

    return send


def write(value: str, **options: Any) -> dict[str, Any]:
    return {"data": {"v": value}, "options": options}


# Method, what follows the path of the secret, and the body.
STEPS: list[tuple[str, str, Any]] = [
    ("POST", "data", write("one", cas=0)),
    ("POST", "data", write("two", cas=1)),
    ("DELETE", "data", None),
    ("GET", "data", None),
    ("GET", "data?version=2", None),
    ("POST", "data", write("lost", cas=0)),
    ("POST", "data", write("lost", cas=1)),
    ("POST", "data", write("three", cas=2)),
    ("GET", "data?version=2", None),
    ("GET", "data?version=3", None),
    ("GET", "data", None),
    ("GET", "data?version=4", None),
    ("POST", "data", write("lost", cas=0)),
    ("POST", "data", write("four", cas=3)),
    ("DELETE", "data", None),
    ("POST", "data", write("five")),
    ("GET", "data?version=4", None),
    ("GET", "data?version=5", None),
    ("POST", "data", write("six", cas=5)),
    ("GET", "metadata", None),
]


def shown(answer: tuple[int, dict[str, Any]]) -> Any:
    """Return of an answer what does not differ by time or installation."""
    status, body = answer
    data = body.get("data") or {}
    facts = data.get("metadata") or data
    told = {
        name: bool(facts[name]) if name == "deletion_time" else facts[name]
        for name in ("version", "deletion_time", "destroyed", "current_version")
        if name in facts
    }
    return status, data.get("data"), told, body.get("errors")


def test_numbers_and_check_and_set_after_a_deletion_are_as_in_openbao(
    cast: Cast, ask: Ask, openbao: tuple[str, str]
) -> None:
    answers: dict[str, list[Any]] = {"openbao": [], "keeper": []}
    for name, send in (("openbao", of_openbao(openbao)), ("keeper", of_keeper(ask))):
        for method, part, body in STEPS:
            kind, _, query = part.partition("?")
            path = f"secret/{kind}/numbers{'?' if query else ''}{query}"
            answers[name].append(((method, part, body), shown(send(method, path, body))))
    assert answers["keeper"] == answers["openbao"]


def meanwhile(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Let another writer act between the check of `cas` and the store, once."""
    stored_form, acts = values.stored_form, [act]

    def then(*arguments: Any) -> Any:
        if acts:
            acts.pop()()
        return stored_form(*arguments)

    monkeypatch.setattr(data, "stored_form", then)


@pytest.mark.parametrize(
    ("method", "options"),
    [("POST", {"cas": 1}), ("PATCH", {"cas": 1})],
)
def test_a_write_between_the_check_of_cas_and_the_store_is_not_overwritten(
    cast: Cast, ask: Ask, monkeypatch: pytest.MonkeyPatch, method: str, options: dict[str, int]
) -> None:
    secret = keep(cast, "app/db", value="one")
    meanwhile(monkeypatch, lambda: change(cast, secret, value="of another"))
    status, body = of_keeper(ask)(method, "secret/data/app/db", write("lost", **options))
    assert (status, body["errors"]) == (400, [values.CAS_DIFFERS])
    assert of_keeper(ask)("GET", "secret/data/app/db", None)[1]["data"]["data"] == {"value": "of another"}


def test_a_secret_made_between_the_check_of_cas_and_the_store_is_not_overwritten(
    cast: Cast, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    meanwhile(monkeypatch, lambda: keep(cast, "app/db", value="of another"))
    assert of_keeper(ask)("POST", "secret/data/app/db", write("lost", cas=0))[0] == 400
    assert of_keeper(ask)("GET", "secret/data/app/db", None)[1]["data"]["data"] == {"value": "of another"}


def test_a_secret_made_and_deleted_meanwhile_takes_the_number(
    cast: Cast, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make_and_delete() -> None:
        lifecycle.delete(actor=cast.principal(cast.alice), secret=keep(cast, "app/db", value="of another"))

    meanwhile(monkeypatch, make_and_delete)
    assert of_keeper(ask)("POST", "secret/data/app/db", write("lost", cas=0))[0] == 400
    assert of_keeper(ask)("POST", "secret/data/app/db", write("kept", cas=1))[1]["data"]["version"] == 2


def test_whoever_may_not_see_the_deleted_secret_learns_no_number_of_it(cast: Cast, ask: Ask) -> None:
    lifecycle.delete(actor=cast.principal(cast.alice), secret=keep(cast, "private/key", value="one"))
    elsewhere = token(cast, prefix="app")
    for body in (write("x"), write("x", cas=0), write("x", cas=1)):
        answer = ask("POST", "secret/data/private/key", json.dumps(body).encode(), token=elsewhere)
        assert answer.status_code == 403


@pytest.mark.parametrize("cas", [1, None])
def test_what_is_written_between_the_look_and_the_write_is_kept_where_a_version_was_named(
    cast: Cast, ask: Ask, monkeypatch: pytest.MonkeyPatch, cas: int | None
) -> None:
    secret = keep(cast, "part/raced", "one")
    look: Any = data.DataView._seen

    def late(*given: Any) -> Any:
        seen = look(*given)
        change(cast, secret, "theirs")
        return seen

    monkeypatch.setattr(data.DataView, "_seen", late)
    body = write("ours") if cas is None else write("ours", cas=cas)
    status, _ = of_keeper(ask)("POST", "development/data/part/raced", body)
    monkeypatch.undo()
    _, answer = of_keeper(ask)("GET", "development/data/part/raced", None)
    # Without a version the last writer wins, as in Vault.
    expected = (400, 2) if cas else (200, 3)
    assert (status, answer["data"]["metadata"]["version"]) == expected
