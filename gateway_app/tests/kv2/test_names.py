"""Paths that no name of Keeper can be: blanks, colons, letters of any script, as a real OpenBao takes them."""

import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from environments_app.tests.cast import Cast
from gateway_app.kv2.answers import Kv2Error
from gateway_app.kv2.mounts import name_of, path_of
from gateway_app.tests.kv2.conftest import Ask, token
from gateway_app.tests.kv2.test_numbers import of_keeper, of_openbao
from secrets_app.models import Secret
from secrets_app.tests.kept import VALUE, keep
from secrets_app.values.names import validate_secret_name
from tests.servers.fixtures import openbao

__all__ = ["openbao"]
PATHS = (
    "a b",
    "a:b",
    "été",
    "e\u0301",
    " lead",
    "trail ",
    "a*b",
    "a+b",
    "A%B",
    "日本/語 x",
    "a=20b",
    "[{x}]",
    "💥",
)


def put(value: Any) -> bytes:
    return json.dumps({"data": {"value": value}}).encode()


@given(st.text(min_size=1, max_size=60))
@example("a=20b")
@example("=3D20")
@example("a b=20")
@example("é=C3=A9")
@example("=")
@example("a\x00")
def test_each_path_has_one_name_and_a_name_shows_the_path_that_wrote_it(path: str) -> None:
    try:
        name = name_of(path)
    except Kv2Error:
        assert not path.isprintable()
        return
    assert name_of(name) == name
    if set(name.split("/")) & {"", ".", ".."}:
        return
    validate_secret_name(name)
    # A path that is a name of Keeper is that, even if it looks like another one that was encoded.
    assert path_of(name) == path or name in {path, name_of(path_of(name))}


@given(st.text("abAB09=3DC/ é", max_size=20))
def test_what_a_list_shows_leads_back_to_the_name(name: str) -> None:
    if all(each.isascii() and each != " " for each in name):
        assert name_of(path_of(name)) == name.rstrip("/")


@pytest.mark.django_db
@pytest.mark.parametrize("path", PATHS)
def test_it_is_written_read_listed_and_deleted(ask: Ask, path: str) -> None:
    address = quote(path)
    assert ask("POST", f"secret/data/n/{address}", put(VALUE)).json()["data"]["version"] == 1
    assert ask("GET", f"secret/data/n/{address}").json()["data"]["data"] == {"value": VALUE}
    first, slash, rest = path.partition("/")
    assert ask("LIST", "secret/metadata/n").json()["data"]["keys"] == (
        [first + slash] if path != "a=20b" else ["a b"]
    )
    if rest:
        assert ask("LIST", f"secret/metadata/n/{quote(first)}").json()["data"]["keys"] == [rest]
    assert ask("GET", f"secret/metadata/n/{address}").json()["data"]["current_version"] == 1
    assert ask("DELETE", f"secret/data/n/{address}").status_code == 204
    assert ask("GET", f"secret/data/n/{address}").status_code == 404
    undeleted = ask("POST", f"secret/undelete/n/{address}", json.dumps({"versions": [1]}).encode())
    assert undeleted.status_code == 204
    assert Secret.objects.get().name == f"n/{name_of(path)}"


@pytest.mark.django_db
def test_a_prefix_holds_for_the_name(cast: Cast, ask: Ask) -> None:
    keep(cast, "my=20app/db")
    own, other = token(cast, "reader", prefix="my=20app"), token(cast, "reader", prefix="my")
    assert ask("GET", "secret/data/my%20app/db", token=own).json()["data"]["data"] == {"value": VALUE}
    assert ask("GET", "secret/data/my%20app/db", token=other).status_code == 403
    asked = json.dumps({"paths": ["secret/data/my app/db"]}).encode()
    assert ask("POST", "sys/capabilities-self", asked, token=own).json()["data"]["capabilities"] == ["read"]
    assert ask("POST", "sys/capabilities-self", asked, token=other).json()["data"]["capabilities"] == ["deny"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    "path", ["a%00b", "a%0Ab", "%2e%2e/x", "a/../b", "a%7F", "a%E2%80%8Bb", "a/%2e", "%C2%85"]
)
def test_what_is_not_printed_or_leads_elsewhere_is_refused(ask: Ask, path: str) -> None:
    assert ask("POST", f"secret/data/{path}", put(1)).status_code in {400, 404}
    assert not Secret.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_openbao_answers_the_same(ask: Ask, openbao: tuple[str, str]) -> None:
    def told(send: Any) -> Any:
        found = []
        for path in PATHS:
            if path == "a=20b":
                continue
            address = f"names/{quote(path)}"
            found.append(send("POST", f"secret/data/{address}", {"data": {"v": 1}})[0])
            read = send("GET", f"secret/data/{address}")
            found.append((read[0], read[1]["data"]["data"]))
        # OpenBao scans level by level.
        lists = [
            (answer[0], sorted(answer[1]["data"].get("keys", ())))
            for method, path in (("LIST", "names"), ("SCAN", "names"), ("SCAN", "names/none"))
            for answer in [send(method, f"secret/metadata/{path}")]
        ]
        return [*found, *lists]

    assert told(of_keeper(ask)) == told(of_openbao(openbao))
