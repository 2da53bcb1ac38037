"""In what two roles of PostgreSQL differ for a client, read from all that the catalogues have about roles.

The catalogues decide what is compared: every column of pg_roles, every catalogue with a column of grants,
every dependency on a role. What a later version adds there is compared, and named as it is stored there.
Each role counts with what it inherits, so that the way to a right makes no difference.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

from psycopg import Connection

from sync_app.rotators.base import LoginDifference
from sync_app.rotators.postgresql.grants import SHOWN, compare_shared, quote_identifier, quote_literal

# Which role it is, and what a password changes.
_NOT_COMPARED: Final = frozenset({"rolname", "oid", "rolpassword", "rolconfig"})
_FLAGS: Final = {
    "rolsuper": "SUPERUSER",
    "rolinherit": "INHERIT",
    "rolcreaterole": "CREATEROLE",
    "rolcreatedb": "CREATEDB",
    "rolcanlogin": "LOGIN",
    "rolreplication": "REPLICATION",
    "rolbypassrls": "BYPASSRLS",
}
# Settings that are lists of names: each is a literal of its own in ALTER ROLE (guc_tables.c, GUC_LIST_QUOTE).
_LISTS: Final = frozenset(
    {
        "search_path",
        "temp_tablespaces",
        "local_preload_libraries",
        "session_preload_libraries",
        "shared_preload_libraries",
        "unix_socket_directories",
    }
)
_SPLIT_OF_OPTIONS: Final = 160_000
# Of pg_has_role, and the options of a membership that each stands for from PostgreSQL 16 on.
_MEMBER: Final = "MEMBER"
_ADMIN: Final = "MEMBER WITH ADMIN OPTION"
_OPTIONS: Final = {"USAGE": "INHERIT", "SET": "SET"}
_LIST_ITEM: Final = re.compile(r'\s*(?:"((?:[^"]|"")*)"|([^,\s]+))\s*(?:,|$)')


def compare_roles(connection: Connection[Any], *, old: str, new: str) -> Iterator[LoginDifference]:
    """Yield what differs in the whole server, as any role that may log in sees it."""
    yield from _compare_attributes(connection, old, new)
    yield from _compare_settings(connection, old, new)
    yield from _compare_memberships(connection, old, new)
    yield from _compare_labels(connection, old, new)
    yield from compare_shared(connection, old=old, new=new)


def other_databases(connection: Connection[Any], *, old: str, new: str) -> list[str]:
    """Return the other databases where one of the two roles has, or owns, anything of its own."""
    rows = connection.execute(
        """
        SELECT DISTINCT datname FROM pg_shdepend JOIN pg_database ON pg_database.oid = dbid
         WHERE refclassid = 'pg_authid'::regclass AND datallowconn AND datname <> current_database()
           AND refobjid IN (SELECT oid FROM pg_roles WHERE rolname IN (%(old)s, %(new)s))
           AND has_database_privilege(datname, 'CONNECT')
         ORDER BY datname
        """,
        {"old": old, "new": new},
    )
    return [row[0] for row in rows.fetchall()]


def _compare_attributes(connection: Connection[Any], old: str, new: str) -> Iterator[LoginDifference]:
    rows = connection.execute(
        "SELECT rolname, to_jsonb(pg_roles) FROM pg_roles WHERE rolname IN (%s, %s)", (old, new)
    ).fetchall()
    found = dict(rows)
    theirs, mine = found.get(old, {}), found.get(new, {})
    for column in sorted((theirs.keys() | mine.keys()) - _NOT_COMPARED):
        wanted, have = _plain(column, theirs.get(column)), _plain(column, mine.get(column))
        if wanted == have:
            continue
        if column in _FLAGS:
            what = f"{old} is {_flag(column, on=wanted)}, {new} is {_flag(column, on=have)}"
            yield _alter(what, new, _flag(column, on=wanted))
        elif column == "rolconnlimit":
            what = f"CONNECTION LIMIT is {wanted} for {old} and {have} for {new}"
            yield _alter(what, new, f"CONNECTION LIMIT {int(wanted)}")
        elif column == "rolvaliduntil":
            what = f"VALID UNTIL is {wanted} for {old} and {have} for {new}"
            yield _alter(what, new, f"VALID UNTIL {quote_literal(wanted)}")
        else:
            # Of a later version, and so perhaps a secret: its value is not repeated.
            what = f"pg_roles.{column} differs between {old} and {new}"
            yield LoginDifference(what=what, todo=f"give {new} the value of {old}")


def _plain(column: str, value: Any) -> Any:
    return "infinity" if column == "rolvaliduntil" and value is None else value


def _flag(column: str, *, on: bool) -> str:
    return _FLAGS[column] if on else f"NO{_FLAGS[column]}"


def _compare_settings(connection: Connection[Any], old: str, new: str) -> Iterator[LoginDifference]:
    rows = connection.execute(
        """
        SELECT rolname, coalesce(datname, ''), setting
          FROM pg_db_role_setting JOIN pg_roles ON pg_roles.oid = setrole
          LEFT JOIN pg_database ON pg_database.oid = setdatabase, unnest(setconfig) AS setting
         WHERE rolname IN (%s, %s)
        """,
        (old, new),
    ).fetchall()
    found: dict[str, dict[tuple[str, str], str]] = {old: {}, new: {}}
    for role, database, setting in rows:
        name, _, value = setting.partition("=")
        found[role][database, name] = value
    for database, name in sorted(found[old].keys() | found[new].keys()):
        wanted, have = found[old].get((database, name)), found[new].get((database, name))
        if wanted == have:
            continue
        where = f" in database {database}" if database else ""
        place = f"IN DATABASE {quote_identifier(database)} " if database else ""
        if "." in name:
            # A setting of an application may be a secret.
            yield LoginDifference(
                what=f"the setting {name}{where} differs between {old} and {new}",
                todo=f"ALTER ROLE {quote_identifier(new)} {place}SET it as for {old}",
            )
            continue
        words = [repr(value) if value is not None else "not set" for value in (wanted, have)]
        yield _alter(
            f"the setting {name}{where} is {words[0]} for {old} and {words[1]} for {new}",
            new,
            f"{place}RESET {quote_identifier(name)}"
            if wanted is None
            else f"{place}SET {quote_identifier(name)} = {_setting(name, wanted)}",
        )


def _setting(name: str, value: str) -> str:
    if name not in _LISTS:
        return quote_literal(value)
    items = [quoted.replace('""', '"') or bare for quoted, bare in _LIST_ITEM.findall(value)]
    return ", ".join(map(quote_literal, items)) or "''"


def _compare_memberships(connection: Connection[Any], old: str, new: str) -> Iterator[LoginDifference]:
    """Compare the memberships that each was given; what follows from them differs with them."""
    splits = connection.info.server_version >= _SPLIT_OF_OPTIONS
    rows = connection.execute(
        f"""
        WITH kind(kind) AS (SELECT unnest(%(kinds)s::text[])),
        judged AS (
            SELECT kind, oid, rolname, pg_has_role(%(old)s::name, oid, kind) AS old,
                   pg_has_role(%(new)s::name, oid, kind) AS new
              FROM pg_roles, kind
             WHERE rolname NOT IN (%(old)s, %(new)s)
               AND NOT (SELECT bool_or(rolsuper) FROM pg_roles WHERE rolname IN (%(old)s, %(new)s))
        )
        SELECT kind, rolname, old FROM judged
         WHERE old <> new AND EXISTS (
               SELECT FROM pg_auth_members WHERE roleid = judged.oid
                  AND member = quote_ident(CASE WHEN old THEN %(old)s::text ELSE %(new)s::text END)::regrole)
         ORDER BY rolname, array_position(%(kinds)s::text[], kind) LIMIT {SHOWN}
        """,  # noqa: S608 - a number
        {"old": old, "new": new, "kinds": [_MEMBER, _ADMIN, *(_OPTIONS if splits else ())]},
    ).fetchall()
    members = {group for kind, group, _ in rows if kind == _MEMBER}
    for kind, group, by_old in rows:
        if kind in _OPTIONS and group in members:
            continue
        role, login = quote_identifier(group), quote_identifier(new)
        if kind == _MEMBER:
            has = f"membership in {group}"
            sql = f"GRANT {role} TO {login}" if by_old else f"REVOKE {role} FROM {login}"
        elif kind == _ADMIN:
            has = f"ADMIN OPTION on {group}"
            sql = f"GRANT {role} TO {login} WITH ADMIN OPTION"
            sql = sql if by_old else f"REVOKE ADMIN OPTION FOR {role} FROM {login}"
        else:
            has = f"membership in {group} WITH {_OPTIONS[kind]}"
            sql = f"GRANT {role} TO {login} WITH {_OPTIONS[kind]} {'TRUE' if by_old else 'FALSE'}"
        first, second = (old, new) if by_old else (new, old)
        yield LoginDifference(what=f"{first} has {has}, {second} has not", sql=sql)


def _compare_labels(connection: Connection[Any], old: str, new: str) -> Iterator[LoginDifference]:
    rows = connection.execute(
        """
        SELECT provider, max(label) FILTER (WHERE rolname = %(old)s),
               max(label) FILTER (WHERE rolname = %(new)s)
          FROM pg_shseclabel JOIN pg_roles ON pg_roles.oid = objoid
         WHERE classoid = 'pg_authid'::regclass AND rolname IN (%(old)s, %(new)s)
         GROUP BY provider ORDER BY provider
        """,
        {"old": old, "new": new},
    ).fetchall()
    for provider, wanted, have in rows:
        if wanted != have:
            label = "NULL" if wanted is None else quote_literal(wanted)
            named = f"FOR {quote_identifier(provider)} ON ROLE {quote_identifier(new)}"
            yield LoginDifference(
                what=f"the security label of {provider} is {wanted} for {old} and {have} for {new}",
                sql=f"SECURITY LABEL {named} IS {label}",
            )


def compare_addresses(connection: Connection[Any], old: str, new: str) -> Iterator[LoginDifference]:
    """Compare the lines of pg_hba.conf, where the role of the connection may read them."""
    readable = connection.execute(
        "SELECT has_table_privilege('pg_hba_file_rules', 'SELECT')"
        " AND has_function_privilege('pg_hba_file_rules()', 'EXECUTE')"
    ).fetchone()
    if not readable or not readable[0]:
        return
    groups = {
        role: {
            row[0]
            for row in connection.execute(
                "SELECT rolname FROM pg_roles WHERE pg_has_role(%s::name, oid, 'MEMBER')", (role,)
            ).fetchall()
        }
        for role in (old, new)
    }
    lines = connection.execute(
        "SELECT line_number, user_name FROM pg_hba_file_rules WHERE error IS NULL ORDER BY line_number"
    ).fetchall()
    for number, users in lines:
        meant = {role: _is_meant(role, users or [], groups[role]) for role in (old, new)}
        if meant[old] is not meant[new]:
            only, other = (old, new) if meant[old] else (new, old)
            yield LoginDifference(
                what=f"line {number} of pg_hba.conf is for {only} and not for {other}",
                todo="name both logins in that line, or a group of both (+group), and reload the server",
            )


def _is_meant(role: str, users: list[str], groups: set[str]) -> bool:
    for user in users:
        if user in {"all", role} or (user.startswith("+") and user[1:] in groups):
            return True
        if user.startswith("/"):
            try:
                if re.search(user[1:], role):
                    return True
            except re.error:
                continue
    return False


def _alter(what: str, role: str, change: str) -> LoginDifference:
    return LoginDifference(what=what, sql=f"ALTER ROLE {quote_identifier(role)} {change}")
