"""In what two accounts of MySQL or MariaDB differ for a client, read from the tables of grants.

The server decides what is compared: every key of mysql.global_priv (MariaDB) or column of mysql.user
(MySQL), every line of SHOW GRANTS, and every other table of the schema mysql that has a user and a host.
What a later version adds there is compared, and named as it is stored there.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from sync_app.errors import UnsupportedAuthPlugin
from sync_app.rotators.base import LoginDifference
from sync_app.rotators.mysql.accounts import Grant, parse_grant, quote_account

if TYPE_CHECKING:
    from pymysql.cursors import Cursor

# Which account it is, and what setting or retiring a password changes. Global privileges are in SHOW GRANTS.
_NOT_COMPARED: Final = frozenset(
    {"user", "host", "version_id", "access", "authentication_string", "account_locked"}
    | {"password_last_changed", "password_expired"}
)
# SHOW GRANTS or the account itself shows what these hold.
_SHOWN_BY_GRANTS: Final = frozenset(
    {"user", "global_priv", "db", "tables_priv", "columns_priv", "procs_priv", "proxies_priv"}
    | {"roles_mapping", "default_roles", "role_edges", "global_grants", "password_history"}
)
_LIMITS: Final = {
    "max_questions": "MAX_QUERIES_PER_HOUR",
    "max_updates": "MAX_UPDATES_PER_HOUR",
    "max_connections": "MAX_CONNECTIONS_PER_HOUR",
    "max_user_connections": "MAX_USER_CONNECTIONS",
    "max_statement_time": "MAX_STATEMENT_TIME",
}
_REQUIRED: Final = frozenset({"ssl_type", "ssl_cipher", "x509_issuer", "x509_subject"})
_SSL: Final = {"": "NONE", "0": "NONE", "1": "SSL", "2": "X509", "any": "SSL", "x509": "X509"}
_NAME: Final = re.compile(r"[a-z_0-9]+")

Attributes = Mapping[str, Any]


def read_account(cursor: "Cursor", user: str, host: str) -> Attributes:
    """Return all that the server keeps of an account, by names in lower case.

    Raises UnsupportedAuthPlugin if it logs in by several methods: setting a password would leave one.
    """
    if "MariaDB" in cursor.connection.server_version:
        cursor.execute(
            "SELECT Priv FROM mysql.global_priv WHERE User = %s AND lower(Host) = %s", (user, host.lower())
        )
        row = cursor.fetchone()
        found: dict[str, Any] = json.loads(row[0]) if row else {}
        methods = [found.get("plugin", ""), *(each.get("plugin", "") for each in found.pop("auth_or", []))]
    else:
        cursor.execute("SELECT * FROM mysql.user WHERE User = %s AND lower(Host) = %s", (user, host.lower()))
        names = [column[0].lower() for column in cursor.description]
        row = cursor.fetchone()
        found = dict(zip(names, row, strict=True)) if row else {}
        found = {name: value for name, value in found.items() if not name.endswith("_priv")}
        more = json.loads(found.get("user_attributes") or "{}")
        factors = more.get("multi_factor_authentication", [])
        methods = [found.get("plugin", ""), *(each.get("plugin", "") for each in factors)]
    methods = list(filter(None, methods))
    if len(methods) > 1:
        raise UnsupportedAuthPlugin(
            f"{user}@{host} logs in by {' or '.join(methods)}, and a rotation would leave one of them: "
            "give it one method by ALTER USER"
        )
    return {name: _plain(name, value) for name, value in found.items() if name not in _NOT_COMPARED}


def _plain(name: str, value: Any) -> str:
    """Return a text, empty for what means nothing: absent, 0, false, or the lifetime that all have."""
    if name == "password_lifetime":
        return "" if value in {None, -1} else str(value)
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    text = "" if value in {None, 0, "", "N"} else str(value)
    return text.rstrip("0").rstrip(".") if re.fullmatch(r"\d+\.\d*", text) else text


def compare_attributes(
    old: str, theirs: Attributes, new: str, mine: Attributes, *, account: str
) -> Iterator[LoginDifference]:
    """Yield in what two accounts differ, but for their hosts and grants."""
    names = theirs.keys() | mine.keys()
    wanted = {name: theirs.get(name, "") for name in names}
    have = {name: mine.get(name, "") for name in names}
    differing = sorted(name for name in names if wanted[name] != have[name])
    if _REQUIRED & set(differing):
        words = [_requirement(each) for each in (wanted, have)]
        yield LoginDifference(
            what=f"{old} has REQUIRE {words[0]}, {new} has REQUIRE {words[1]}",
            sql=f"ALTER USER {account} REQUIRE {words[0]}",
        )
    for name in differing:
        what = f"{name} is {wanted[name] or 'not set'} for {old} and {have[name] or 'not set'} for {new}"
        # SHOW GRANTS has the default role, with its statement.
        if name in _REQUIRED or name == "default_role":
            continue
        if name in _LIMITS:
            sql = f"ALTER USER {account} WITH {_LIMITS[name]} {_number(wanted[name])}"
            yield LoginDifference(what=what, sql=sql)
        elif name == "password_lifetime":
            yield LoginDifference(what=what, sql=f"ALTER USER {account} PASSWORD {_lifetime(wanted[name])}")
        elif name == "plugin":
            todo = f"ALTER USER {account} with the plug-in of {old}, and any password"
            yield LoginDifference(what=what, todo=todo)
        else:
            # Of a later version, and so perhaps a secret: its value is not repeated.
            what = f"{name} differs between {old} and {new}"
            yield LoginDifference(what=what, todo=f"give {new} what {old} has")


def _requirement(of: Mapping[str, str]) -> str:
    kind = of.get("ssl_type", "").lower()
    if kind in _SSL:
        return _SSL[kind]
    fields = (("ISSUER", "x509_issuer"), ("SUBJECT", "x509_subject"), ("CIPHER", "ssl_cipher"))
    return " AND ".join(f"{word} {quote_text(of[name])}" for word, name in fields if of.get(name))


def _number(text: str) -> str:
    return text if re.fullmatch(r"-?\d+(\.\d+)?", text) else "0"


def _lifetime(text: str) -> str:
    if not text:
        return "EXPIRE DEFAULT"
    return f"EXPIRE INTERVAL {int(text)} DAY" if int(text) else "EXPIRE NEVER"


def quote_text(text: str) -> str:
    """Return a literal for a session with NO_BACKSLASH_ESCAPES."""
    return "'" + text.replace("'", "''") + "'"


def read_grants(cursor: "Cursor", user: str, host: str) -> set[Grant]:
    """Return what SHOW GRANTS has of an account, without its name."""
    cursor.execute(f"SHOW GRANTS FOR {quote_account(user, host)}")
    found: set[Grant] = set()
    for (line,) in cursor.fetchall():
        found |= parse_grant(line, quote_account(user, host))
    return found


def compare_grants(
    old: str, theirs: Iterable[Grant], new: str, mine: Iterable[Grant], *, account: str
) -> Iterator[LoginDifference]:
    """Yield what one is granted and the other is not."""
    wanted, have = set(theirs), set(mine)
    # First what is taken away: to have all includes what was had of it.
    for grant in (*sorted(have - wanted), *sorted(wanted - have)):
        by_old = grant in wanted
        first, second = (old, new) if by_old else (new, old)
        yield LoginDifference(
            what=f"{first} has {grant}, {second} has not",
            sql=grant.statement(account, gives=by_old),
            todo=f"make {new} like {old}",
        )


def compare_other_tables(
    cursor: "Cursor", *, old: tuple[str, str], new: tuple[str, str]
) -> Iterator[LoginDifference]:
    """Yield tables of a later version that have rows of one account and not of the other."""
    cursor.execute(
        "SELECT table_name FROM information_schema.columns WHERE table_schema = 'mysql'"
        " AND lower(column_name) IN ('user', 'host') GROUP BY table_name HAVING count(*) = 2"
        " ORDER BY table_name"
    )
    for (table,) in cursor.fetchall():
        if table.lower() in _SHOWN_BY_GRANTS or not _NAME.fullmatch(table.lower()):
            continue
        rows = []
        for user, host in (old, new):
            cursor.execute(
                f"SELECT * FROM mysql.{table} WHERE User = %s AND lower(Host) = %s",  # noqa: S608 - by _NAME
                (user, host.lower()),
            )
            names = [column[0].lower() for column in cursor.description]
            rows.append(
                {
                    tuple(str(value) for name, value in zip(names, row, strict=True) if _is_fact(name))
                    for row in cursor.fetchall()
                }
            )
        if rows[0] != rows[1]:
            yield LoginDifference(
                what=f"mysql.{table} has other rows for {old[0]} than for {new[0]}",
                todo=f"give {new[0]} what {old[0]} has there",
            )


def _is_fact(column: str) -> bool:
    return column not in {"user", "host", "grantor", "timestamp"}


def read_definers(cursor: "Cursor") -> list[tuple[str, str]]:
    """Return (kind and name, definer) of each view, routine, event and trigger that the account sees."""
    found: list[tuple[str, str]] = []
    for kind, columns, table in (
        ("view", "table_schema, table_name", "views"),
        ("routine", "routine_schema, routine_name", "routines"),
        ("event", "event_schema, event_name", "events"),
        ("trigger", "trigger_schema, trigger_name", "triggers"),
    ):
        cursor.execute(f"SELECT {columns}, definer FROM information_schema.{table}")  # noqa: S608 - constants
        found += [(f"{kind} {schema}.{name}", definer) for schema, name, definer in cursor.fetchall()]
    return sorted(found)


def compare_definers(
    found: Iterable[tuple[str, str]], *, old: tuple[str, str], new: tuple[str, str]
) -> Iterator[LoginDifference]:
    """Yield what one of the accounts has defined: the other may not change it."""
    names = {"@".join(each).lower(): each[0] for each in (old, new)}
    for described, definer in found:
        if definer.lower() in names:
            only = names[definer.lower()]
            other = new[0] if only == old[0] else old[0]
            yield LoginDifference(
                what=f"{only} is the definer of {described}, {other} is not",
                todo="let an account or a role define it that is neither of the two: DEFINER = …",
            )
