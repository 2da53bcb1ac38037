"""What MySQL 8 keeps of an account, which no server of the tests is: read by its columns, and compared."""

from typing import Any

import pytest

from sync_app.errors import UnsupportedAuthPlugin
from sync_app.rotators.base import LoginDifference
from sync_app.rotators.mysql.logins import compare_attributes, read_account

ROW = {
    "Host": "%",
    "User": "app_a",
    "Select_priv": "Y",
    "ssl_type": "",
    "ssl_cipher": b"",
    "max_questions": 0,
    "plugin": "caching_sha2_password",
    "authentication_string": b"$A$005$canary",
    "password_expired": "N",
    "password_last_changed": "2026-01-01",
    "password_lifetime": None,
    "account_locked": "N",
    "Create_role_priv": "N",
    "Password_reuse_history": None,
    "User_attributes": None,
}


class Server:
    """A cursor at a MySQL 8 whose table of users has one row."""

    server_version = "8.4.0"

    def __init__(self, row: dict[str, Any] | None) -> None:
        self.connection, self.row = self, row
        self.description = [(name,) for name in ROW]

    def execute(self, statement: str, parameters: tuple[str, ...]) -> None:
        assert (statement.count("%s"), parameters) == (2, ("app_a", "localhost"))

    def fetchone(self) -> tuple[Any, ...] | None:
        return tuple(self.row.values()) if self.row else None


def read(**changes: Any) -> dict[str, str]:
    server: Any = Server(ROW | changes)
    # MySQL keeps host parts in lower case.
    return dict(read_account(server, "app_a", "LocalHost"))


def test_what_a_rotation_changes_is_not_read_and_nothing_is_empty() -> None:
    assert {name for name, text in read().items() if text} == {"plugin"}
    assert not read().keys() & {"authentication_string", "account_locked", "user", "select_priv"}
    nobody: Any = Server(None)
    assert read_account(nobody, "app_a", "LocalHost") == {}


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("password_lifetime", 0, "0"),
        ("password_lifetime", -1, ""),
        ("password_lifetime", 90, "90"),
        ("ssl_cipher", b"TLS_AES", "TLS_AES"),
        ("max_questions", 100, "100"),
        ("max_questions", 2.5, "2.5"),
        ("max_questions", "10.000", "10"),
        ("Password_reuse_history", 3, "3"),
    ],
)
def test_a_value_is_a_text(name: str, value: Any, text: str) -> None:
    assert read(**{name: value})[name.lower()] == text


def test_a_second_factor_is_refused() -> None:
    more = '{"multi_factor_authentication": [{"plugin": "authentication_webauthn"}]}'
    with pytest.raises(UnsupportedAuthPlugin, match="caching_sha2_password or authentication_webauthn"):
        read(User_attributes=more)
    assert read(User_attributes='{"comment": "ours"}')["user_attributes"]


def compared(theirs: dict[str, Any], mine: dict[str, Any]) -> list[LoginDifference]:
    return list(compare_attributes("a", read(**theirs), "b", read(**mine), account="`b`@`%`"))


@pytest.mark.parametrize(
    ("theirs", "mine", "sql"),
    [
        ({"ssl_type": "ANY"}, {}, "REQUIRE SSL"),
        ({"ssl_type": "X509"}, {}, "REQUIRE X509"),
        ({}, {"ssl_type": "ANY"}, "REQUIRE NONE"),
        ({"ssl_type": "SPECIFIED", "ssl_cipher": b"it's"}, {}, "REQUIRE CIPHER 'it''s'"),
        ({"max_questions": 7}, {}, "WITH MAX_QUERIES_PER_HOUR 7"),
        ({}, {"max_questions": 7}, "WITH MAX_QUERIES_PER_HOUR 0"),
        ({"password_lifetime": 90}, {}, "PASSWORD EXPIRE INTERVAL 90 DAY"),
        ({"password_lifetime": 0}, {}, "PASSWORD EXPIRE NEVER"),
        ({}, {"password_lifetime": 90}, "PASSWORD EXPIRE DEFAULT"),
    ],
)
def test_a_difference_that_a_statement_mends_has_that(
    theirs: dict[str, Any], mine: dict[str, Any], sql: str
) -> None:
    (found,) = compared(theirs, mine)
    assert found.sql == f"ALTER USER `b`@`%` {sql}"


def test_what_may_be_a_secret_is_named_without_its_value() -> None:
    (found,) = compared({"User_attributes": '{"canary": 1}'}, {})
    assert (found.sql, "user_attributes differs" in found.what, "canary" in str(found)) == ("", True, False)


def test_another_plug_in_is_for_a_person() -> None:
    (found,) = compared({"plugin": "mysql_native_password"}, {})
    assert (found.sql, "with the plug-in of a" in found.todo) == ("", True)
