"""What accounts and their grants are as text: read as the servers write them, and as statements."""

import pytest

from sync_app.errors import BadDestination
from sync_app.rotators.mysql.accounts import (
    ADMIN_OPTION,
    GRANT_OPTION,
    Account,
    Grant,
    parse_grant,
    quote_account,
)

ACCOUNT = "`app_a`@`%`"
SHOP = "`shop`.*"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (" app ", Account("app")),
        ("app@10.0.%", Account("app", "10.0.%")),
        ("'ap''p @x'@'10.0.%'", Account("ap'p @x", "10.0.%")),
        ('"ap""p"', Account('ap"p')),
        # The servers compare host parts without case.
        ("`ap``p`@`LocalHost`", Account("ap`p", "localhost")),
    ],
)
def test_an_account_is_read_as_it_is_quoted(text: str, found: Account) -> None:
    assert Account.parse(text, field="login_a") == found


@pytest.mark.parametrize("text", ["", "a b", "app@", "@host", "'app", "'a'b'", "'a\0b'", "app@h@h"])
def test_what_is_no_account_is_refused(text: str) -> None:
    with pytest.raises(BadDestination) as caught:
        Account.parse(text, field="login_b")
    assert caught.value.field == "login_b"


def test_an_account_in_a_statement_cannot_end_its_quotes() -> None:
    assert quote_account("a`; DROP", "h`") == "`a``; DROP`@`h```"


@pytest.mark.parametrize(
    ("line", "found"),
    [
        # Neither the password's hash nor what a login requires is granted, whatever words these hold.
        (f"GRANT USAGE ON *.* TO {ACCOUNT} IDENTIFIED BY PASSWORD '*ABC'", set()),
        (f"GRANT SELECT ON *.* TO {ACCOUNT} REQUIRE SUBJECT '/O=WITH GRANT OPTION'", {Grant("SELECT", "*.*")}),
        (
            f"GRANT SELECT, INSERT (`a,b`, `c`), CREATE VIEW ON {SHOP} TO {ACCOUNT}",
            {
                Grant("SELECT", SHOP), Grant("INSERT (`a,b`)", SHOP), Grant("INSERT (`c`)", SHOP),
                Grant("CREATE VIEW", SHOP),
            },
        ),
        (
            f"GRANT ALL PRIVILEGES ON {SHOP} TO {ACCOUNT} WITH GRANT OPTION",
            {Grant("ALL PRIVILEGES", SHOP), Grant(GRANT_OPTION, SHOP)},
        ),
        (f"REVOKE INSERT ON {SHOP} FROM {ACCOUNT}", {Grant("INSERT", SHOP, verb="REVOKE")}),
        (f"GRANT `reader`@`%` TO {ACCOUNT}", {Grant("`reader`@`%`")}),
        (
            f"GRANT `a`@`%`,`b`@`%` TO {ACCOUNT} WITH ADMIN OPTION",
            {Grant(f"`{name}`@`%`", option=option) for name in "ab" for option in ("", ADMIN_OPTION)},
        ),
        (f"SET DEFAULT ROLE `reader` FOR {ACCOUNT}", {Grant("`reader`", verb="SET DEFAULT ROLE")}),
        # Of a later version: kept whole, and alike for both accounts.
        (f"DENY SELECT ON {SHOP} TO {ACCOUNT}", {Grant(f"DENY SELECT ON {SHOP} TO …", verb="")}),
    ],
)  # fmt: skip
def test_a_line_of_show_grants_is_what_it_gives(line: str, found: set[Grant]) -> None:
    assert parse_grant(line, ACCOUNT) == found


@pytest.mark.parametrize(
    ("grant", "gives", "takes"),
    [
        (Grant("SELECT", SHOP), f"GRANT SELECT ON {SHOP} TO {ACCOUNT}", f"REVOKE SELECT ON {SHOP} FROM {ACCOUNT}"),
        # To have a revocation is to have less.
        (
            Grant("INSERT", SHOP, verb="REVOKE"),
            f"REVOKE INSERT ON {SHOP} FROM {ACCOUNT}", f"GRANT INSERT ON {SHOP} TO {ACCOUNT}",
        ),
        (Grant("`r`@`%`"), f"GRANT `r`@`%` TO {ACCOUNT}", f"REVOKE `r`@`%` FROM {ACCOUNT}"),
        (
            Grant("`r`@`%`", option=ADMIN_OPTION),
            f"GRANT `r`@`%` TO {ACCOUNT} WITH ADMIN OPTION", f"REVOKE ADMIN OPTION FOR `r`@`%` FROM {ACCOUNT}",
        ),
        (
            Grant("`r`", verb="SET DEFAULT ROLE"),
            f"SET DEFAULT ROLE `r` FOR {ACCOUNT}", f"SET DEFAULT ROLE NONE FOR {ACCOUNT}",
        ),
        # What is not understood is run for nobody.
        (Grant("DENY SELECT", verb=""), "", ""),
    ],
)  # fmt: skip
def test_a_grant_is_given_and_taken_by_a_statement(grant: Grant, gives: str, takes: str) -> None:
    assert (grant.statement(ACCOUNT, gives=True), grant.statement(ACCOUNT, gives=False)) == (gives, takes)
