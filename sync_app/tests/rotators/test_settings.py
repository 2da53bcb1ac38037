"""What a policy's settings may be, before any server is asked."""

import json
import ssl
import string
from typing import Any

import pytest
from pytest_django import Settings

from sync_app.errors import BadDestination, TargetUnreachable, ValueUnusable
from sync_app.rotators import endpoint
from sync_app.rotators.ab_logins import MAX_PROPAGATION_SECONDS, MAX_REPLICAS, AbLogins, generate_password
from sync_app.rotators.base import Login, LoginDifference, PendingCredential, Rotator
from sync_app.rotators.endpoint import Endpoint
from sync_app.rotators.generated.rotator import GeneratedValue
from sync_app.rotators.mysql.rotator import MySql
from sync_app.rotators.postgresql.rotator import PostgreSql
from sync_app.tests.rotators.worlds import fence

# No address inside, where an operator would have to allow it.
PUBLIC = "8.8.8.8"


def made(**changes: str) -> AbLogins:
    settings = {"host": "db.example", "port": "5306", "login_a": "app_a", "login_b": "app_b", **changes}
    return MySql(settings=settings, admin={"username": "keeper", "password": "canary"})


def placed(**changes: str) -> Endpoint:
    return made(**changes).server


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("\n  db-2 \r\n\ndb-3:3307\n", [("db-2", 5306), ("db-3", 3307)]),
        ("[2001:DB8::1]:3307", [("2001:db8::1", 3307)]),
        ("[2001:db8::1]", [("2001:db8::1", 5306)]),
        # One server is tried once, however it is written.
        ("db-2\nDB-2.\ndb-2:5306", [("db-2", 5306)]),
    ],
)
def test_replicas_are_lines_of_host_and_port(text: str, found: list[tuple[str, int]]) -> None:
    assert [(each.host, each.port) for each in made(replicas=text).replicas] == found


def test_replicas_are_under_the_tls_rules_of_their_server() -> None:
    (replica,) = made(replicas="db-2", tls="verify-ca").replicas
    assert replica.tls == "verify-ca"


@pytest.mark.parametrize("text", ["db-2 db-3", "db-2:", "db-2:0", "db-2:65536", "2001:db8::1", "-db"])
def test_a_line_that_names_no_replica_is_refused(text: str) -> None:
    with pytest.raises(BadDestination) as caught:
        made(replicas=text)
    assert caught.value.field == "replicas"


def test_replicas_are_limited_in_number() -> None:
    lines = [f"db-{number}" for number in range(MAX_REPLICAS + 1)]
    assert len(made(replicas="\n".join(lines[:-1])).replicas) == MAX_REPLICAS
    with pytest.raises(BadDestination, match=f"at most {MAX_REPLICAS}") as caught:
        made(replicas="\n".join(lines))
    assert caught.value.field == "replicas"


@pytest.mark.parametrize(("text", "seconds"), [("", 0), ("0", 0), ("1200", MAX_PROPAGATION_SECONDS)])
def test_a_new_value_waits_as_long_as_the_policy_says(text: str, seconds: int) -> None:
    assert made(propagation_seconds=text).settle_seconds == seconds


@pytest.mark.parametrize(
    ("host", "port", "found"),
    [
        (" DB.Example. ", "1", ("db.example", 1)),
        ("10.0.0.7", "65535", ("10.0.0.7", 65535)),
        ("2001:DB8::1", "5306", ("2001:db8::1", 5306)),
    ],
)
def test_a_server_has_one_spelling(host: str, port: str, found: tuple[str, int]) -> None:
    server = placed(host=host, port=port)
    assert (server.host, server.port) == found


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"host": "2001:db8:::1"}, "host"),
        ({"host": "db/x"}, "host"),
        ({"host": "-db"}, "host"),
        ({"port": "65536"}, "port"),
        ({"port": "²"}, "port"),
    ],
)
def test_a_server_that_cannot_be_is_refused(changes: dict[str, str], field: str) -> None:
    with pytest.raises(BadDestination) as caught:
        made(**changes)
    assert caught.value.field == field


@pytest.mark.parametrize(("tls", "compares"), [("verify-identity", True), ("verify-ca", False)])
def test_a_certificate_is_always_verified_and_the_name_by_the_mode(tls: str, compares: bool) -> None:
    context = placed(tls=tls).context()
    assert context is not None
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, compares)


def test_a_public_address_is_reached_by_tls_alone(settings: Settings) -> None:
    settings.KEEPER_OUTBOUND_ALLOWED = []
    assert placed(host=PUBLIC).addresses() == [PUBLIC]
    with pytest.raises(TargetUnreachable, match="without TLS"):
        placed(host=PUBLIC, tls="off").addresses()


def test_a_name_that_does_not_resolve_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> list[str]:
        raise OSError("Name or service not known")

    monkeypatch.setattr(endpoint, "permitted_addresses", unknown)
    with pytest.raises(TargetUnreachable, match=r"db\.example does not resolve"):
        placed().addresses()


@pytest.mark.parametrize(
    ("one", "other", "conflicts"),
    [
        (Login("app"), Login("app"), True),
        (Login("app", "10.%"), Login("app", "10.%"), True),
        # Without a place every account of the name is meant.
        (Login("app", "10.%"), Login("app"), True),
        (Login("app"), Login("app", "10.%"), True),
        (Login("app", "10.%"), Login("app", "localhost"), False),
        (Login("app"), Login("other"), False),
    ],
)
def test_two_policies_conflict_where_they_change_one_login(one: Login, other: Login, conflicts: bool) -> None:
    assert one.conflicts_with(other) is conflicts


def test_the_logins_of_a_policy_are_known_with_their_places() -> None:
    settings = {"login_a": "app_a", "login_b": "'app_b'@'10.0.%'"}
    assert MySql.logins_of(settings) == {Login("app_a"), Login("app_b", "10.0.%")}
    assert PostgreSql.logins_of(settings) == {Login("app_a"), Login("'app_b'@'10.0.%'")}


def test_two_logins_have_one_lock_whichever_policy_names_them_first() -> None:
    one, other = made(), made(login_a="app_b", login_b="app_a")
    assert one._lock_digest() == other._lock_digest() != made(login_b="app_c")._lock_digest()


def test_a_password_goes_into_a_url_as_it_is() -> None:
    unreserved = set(string.ascii_letters + string.digits + "-._~")
    passwords = {generate_password() for _ in range(20)}
    assert {len(each) for each in passwords} == {32}
    assert (len(passwords), set("".join(passwords)) <= unreserved) == (20, True)


def test_a_generated_value_is_of_its_kind_and_options() -> None:
    rotator = GeneratedValue(settings={"kind": "password", "options": '{"length": 41}'}, admin={})
    value = rotator.prepare("before").value
    assert value is not None
    assert len(value) == 41


@pytest.mark.parametrize(
    "options", ["nonsense", "[]", "null", '{"length": 0}', json.dumps({"unknown": 1})], ids=repr
)
def test_options_that_the_generator_does_not_take_are_refused(options: str) -> None:
    with pytest.raises(BadDestination) as caught:
        GeneratedValue(settings={"kind": "password", "options": options}, admin={})
    assert caught.value.field == "options"


@pytest.mark.parametrize("act", ["set", "revoke_unserved"])
def test_a_login_is_changed_by_no_run_that_wrote_no_value_down(
    monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    monkeypatch.setattr(MySql, "_change_password", lambda *_, **__: pytest.fail("a login was changed"))
    value = json.dumps({"username": "app_a", "password": "canary"})
    with pytest.raises(ValueUnusable, match="no pending value"):
        getattr(made(), act)(PendingCredential(login="app_b"), current=value, fence=fence())


def test_a_generated_value_that_was_not_written_down_is_none() -> None:
    rotator: Rotator = GeneratedValue(settings={}, admin={})
    with pytest.raises(ValueUnusable, match="no pending value"):
        rotator.set(PendingCredential(login=""), current="before", fence=fence())


@pytest.mark.parametrize(
    ("difference", "remedy", "is_for_keeper"),
    [
        (LoginDifference(what="w", sql="ALTER"), "run: ALTER", True),
        (LoginDifference(what="w", sql="ALTER", database="shop"), "run in database shop: ALTER", True),
        (LoginDifference(what="w", sql="ALTER", refused="no right"), "run: ALTER", False),
        (LoginDifference(what="w", sql="", todo="ask", database="shop"), "ask", False),
    ],
)
def test_a_difference_tells_who_mends_it_and_where(
    difference: LoginDifference, remedy: str, is_for_keeper: bool
) -> None:
    assert (difference.remedy, difference.is_for_keeper) == (remedy, is_for_keeper)
    assert str(difference) == f"w ({remedy})"
