"""In what two roles of PostgreSQL differ by what is granted to them and what they own, by the catalogues."""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from psycopg import Connection, errors, sql

from sync_app.rotators.base import LoginDifference

# No more of one kind: the list is for a person, who mends the cause.
SHOWN: Final = 50
# Of pg_identify_object, for GRANT.
_GRANTED_ON: Final = {
    **dict.fromkeys(("table", "view", "materialized view", "foreign table", "table column"), "TABLE"),
    **dict.fromkeys(("view column", "materialized view column", "foreign table column"), "TABLE"),
    **dict.fromkeys(("function", "aggregate"), "FUNCTION"),
    "procedure": "PROCEDURE",
    "sequence": "SEQUENCE",
    "schema": "SCHEMA",
    "database": "DATABASE",
    "language": "LANGUAGE",
    "type": "TYPE",
    "foreign-data wrapper": "FOREIGN DATA WRAPPER",
    "server": "FOREIGN SERVER",
    "tablespace": "TABLESPACE",
    "large object": "LARGE OBJECT",
    "parameter ACL": "PARAMETER",
}
_DEFAULTS_ON: Final = {
    "r": "TABLES",
    "S": "SEQUENCES",
    "f": "FUNCTIONS",
    "T": "TYPES",
    "n": "SCHEMAS",
    "L": "LARGE OBJECTS",
}


class Roles(NamedTuple):
    """The two roles, with the ids of those whose rights each has in the same way as the other."""

    old: str
    new: str
    old_ids: list[int]
    new_ids: list[int]

    def sentence(self, has: str, *, by_old: bool) -> str:
        """Return that one has it and the other has not."""
        first, second = (self.old, self.new) if by_old else (self.new, self.old)
        return f"{first} has {has}, {second} has not"

    @property
    def parameters(self) -> dict[str, Any]:
        return {
            "old": self.old,
            "new": self.new,
            "old_ids": self.old_ids,
            "new_ids": self.new_ids,
            "shown": SHOWN,
        }


def compare_in_database(connection: Connection[Any], *, old: str, new: str) -> Iterator[LoginDifference]:
    """Yield what differs in the database of the connection."""
    roles = _roles(connection, old, new)
    owned = list(_compare_owners(connection, roles, shared=False))
    yield from owned
    yield from _compare_grants(connection, roles, shared=False)
    yield from _compare_default_privileges(connection, roles)
    yield from _compare_policies(connection, roles)
    yield from _compare_user_mappings(connection, roles)


def compare_shared(connection: Connection[Any], *, old: str, new: str) -> Iterator[LoginDifference]:
    """Yield what differs in the objects that all databases share."""
    roles = _roles(connection, old, new)
    yield from _compare_grants(connection, roles, shared=True)
    yield from _compare_owners(connection, roles, shared=True)


def _roles(connection: Connection[Any], old: str, new: str) -> Roles:
    """Return the roles with what both inherit; a membership of one alone is a difference of its own."""
    rows = connection.execute(
        """
        SELECT oid, rolname, pg_has_role(%(old)s::name, oid, 'USAGE'),
               pg_has_role(%(new)s::name, oid, 'USAGE')
          FROM pg_roles
         WHERE pg_has_role(%(old)s::name, oid, 'USAGE') OR pg_has_role(%(new)s::name, oid, 'USAGE')
        """,
        {"old": old, "new": new},
    ).fetchall()
    own = {old, new}
    old_ids = [oid for oid, name, first, second in rows if first and (second or name in own)]
    new_ids = [oid for oid, name, first, second in rows if second and (first or name in own)]
    return Roles(old, new, [0, *old_ids], [0, *new_ids])


def _compare_grants(connection: Connection[Any], roles: Roles, *, shared: bool) -> Iterator[LoginDifference]:
    """Compare what every catalogue with a column of grants has for the roles.

    pg_init_privs is a memory of initdb for pg_dump, and grants nothing.
    """
    catalogues = connection.execute(
        """
        SELECT quote_ident(relname), quote_ident(attname), EXISTS (
                   SELECT FROM pg_attribute AS id WHERE id.attrelid = pg_class.oid AND id.attname = 'oid')
          FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
         WHERE atttypid = 'aclitem[]'::regtype AND relnamespace = 'pg_catalog'::regnamespace
           AND relkind = 'r' AND relname <> 'pg_init_privs' AND relisshared = %s
         ORDER BY relname
        """,
        (shared,),
    ).fetchall()
    database = "" if shared else connection.info.dbname
    for catalogue, column, has_oid in catalogues:
        statement = _grants_of(catalogue, column, has_oid=has_oid)
        try:
            rows = connection.execute(statement, roles.parameters).fetchall()
        except errors.InternalError_:
            # A catalogue of a later version, whose objects its server cannot describe.
            what = f"the grants in {catalogue} cannot be compared between {roles.old} and {roles.new}"
            yield LoginDifference(what=what, todo="update Keeper, or compare them there", database=database)
            continue
        for row in rows:
            yield _describe_grant(_Grant(*row), roles, catalogue=catalogue, database=database)


class _Grant(NamedTuple):
    privilege: str
    old_has: bool
    new_has: bool
    old_may_grant: bool
    new_may_grant: bool
    described: str | None
    kind: str | None
    identity: str | None
    column: str | None
    for_role: str | None
    in_schema: str | None
    objects: str | None


def _grants_of(catalogue: str, column: str, *, has_oid: bool) -> str:
    # The address of a large object names the catalogue of its pages.
    named = "pg_largeobject" if catalogue == "pg_largeobject_metadata" else catalogue
    place = f"'pg_catalog.{named}'::regclass::oid AS class, t.oid AS id, 0 AS part, NULL::text AS other"
    if catalogue == "pg_attribute":
        place = (
            "'pg_class'::regclass::oid AS class, t.attrelid AS id, t.attnum::int AS part, NULL::text AS other"
        )
    elif not has_oid:
        # A catalogue of a later version: its row is the description.
        place = f"NULL::oid AS class, NULL::oid AS id, 0 AS part, (to_jsonb(t) - '{column}')::text AS other"
    where = ""
    if catalogue == "pg_default_acl":
        # What the two roles give to others is compared by itself.
        where = "WHERE defaclrole NOT IN (SELECT oid FROM own)"
    default_acl = (
        "(SELECT defaclrole::regrole::text FROM pg_default_acl WHERE oid = id),"
        " (SELECT defaclnamespace::regnamespace::text FROM pg_default_acl"
        "   WHERE oid = id AND defaclnamespace <> 0),"
        " (SELECT defaclobjtype::text FROM pg_default_acl WHERE oid = id)"
        if catalogue == "pg_default_acl"
        else "NULL, NULL, NULL"
    )
    return f"""
        WITH own AS (
            SELECT oid FROM pg_roles WHERE rolname IN (%(old)s, %(new)s)
        ), held AS (
            SELECT {place}, (aclexplode(t.{column})).* FROM pg_catalog.{catalogue} AS t {where}
        ), judged AS (
            SELECT class, id, part, other, privilege_type,
                   bool_or(grantee = ANY(%(old_ids)s::oid[])) AS old_has,
                   bool_or(grantee = ANY(%(new_ids)s::oid[])) AS new_has,
                   bool_or(is_grantable AND grantee = ANY(%(old_ids)s::oid[])) AS old_may_grant,
                   bool_or(is_grantable AND grantee = ANY(%(new_ids)s::oid[])) AS new_may_grant
              FROM held GROUP BY class, id, part, other, privilege_type
        ), differing AS (
            SELECT * FROM judged WHERE (old_has <> new_has OR old_may_grant <> new_may_grant) AND NOT EXISTS (
                   -- The owner's own entry adds nothing to the ownership, which is compared by itself.
                   SELECT FROM pg_shdepend AS tie
                    WHERE tie.refclassid = 'pg_authid'::regclass AND tie.deptype = 'o'
                      AND tie.classid = class AND tie.objid = id
                      AND tie.dbid IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
                      AND (tie.refobjid = ANY(%(old_ids)s::oid[]))
                          <> (tie.refobjid = ANY(%(new_ids)s::oid[])))
        )
        SELECT privilege_type, old_has, new_has, old_may_grant, new_may_grant,
               coalesce(other, pg_describe_object(class, id, part)), whole.type, whole.identity,
               (SELECT quote_ident(attname) FROM pg_attribute
                 WHERE part <> 0 AND attrelid = id AND attnum = part),
               {default_acl}
          FROM differing LEFT JOIN LATERAL pg_identify_object(class, id, 0) AS whole ON class IS NOT NULL
         WHERE other IS NOT NULL
            OR whole.identity IS NOT NULL AND coalesce(whole.schema, '') !~ '^pg_(toast_)?temp'
         ORDER BY 6, 1 LIMIT %(shown)s
    """  # noqa: S608 - names of the catalogue, quoted by the server


def _describe_grant(found: _Grant, roles: Roles, *, catalogue: str, database: str) -> LoginDifference:
    privilege, new = found.privilege, quote_identifier(roles.new)
    has = f"{privilege} on {found.described}"
    by_old = found.old_has and not found.new_has
    only_option = found.old_has is found.new_has
    if only_option:
        has, by_old = f"{has} with the right to grant it", found.old_may_grant
    what = roles.sentence(has, by_old=by_old)
    option = " WITH GRANT OPTION" if found.old_may_grant else ""
    revoked = "GRANT OPTION FOR " * only_option
    columns = f" ({found.column})" if found.column else ""
    if found.objects is not None:
        place = f" IN SCHEMA {found.in_schema}" if found.in_schema else ""
        head = f"ALTER DEFAULT PRIVILEGES FOR ROLE {found.for_role}{place}"
        objects = _DEFAULTS_ON.get(found.objects)
        target = f"{privilege} ON {objects}"
    else:
        objects = _GRANTED_ON.get(found.kind or "")
        head, target = "", f"{privilege}{columns} ON {objects} {found.identity}"
    if objects is None:
        return LoginDifference(what=what, todo=f"see {catalogue}, and make {roles.new} like {roles.old}")
    act = f"GRANT {target} TO {new}{option}" if by_old else f"REVOKE {revoked}{target} FROM {new}"
    return LoginDifference(what=what, sql=f"{head} {act}".strip(), database=database)


def _compare_owners(connection: Connection[Any], roles: Roles, *, shared: bool) -> Iterator[LoginDifference]:
    """Compare what depends on the roles: what they own, and what a later version ties to a role."""
    rows = connection.execute(
        """
        WITH tied AS (
            SELECT classid, objid, objsubid, deptype::text,
                   bool_or(refobjid = ANY(%(old_ids)s::oid[])) AS old,
                   bool_or(refobjid = ANY(%(new_ids)s::oid[])) AS new
              FROM pg_shdepend
             WHERE refclassid = 'pg_authid'::regclass AND deptype NOT IN ('a', 'r', 'i')
               AND dbid = CASE WHEN %(shared)s THEN 0
                               ELSE (SELECT oid FROM pg_database WHERE datname = current_database()) END
             GROUP BY 1, 2, 3, 4
        )
        SELECT deptype, old, pg_describe_object(classid, objid, objsubid)
          FROM tied, pg_identify_object(classid, objid, objsubid)
         WHERE old <> new AND identity IS NOT NULL AND type NOT IN ('default acl', 'user mapping')
           AND coalesce(schema, '') !~ '^pg_(toast_)?temp'
         ORDER BY 3 LIMIT %(shown)s
        """,
        {**roles.parameters, "shared": shared},
    ).fetchall()
    for kind, by_old, described in rows:
        first, second = (roles.old, roles.new) if by_old else (roles.new, roles.old)
        if kind == "o":
            what, todo = f"{first} owns {described}, {second} does not", _SHARE_OWNER
        else:
            what = f"{described} depends on {first} ({kind}) and not on {second}"
            todo = f"see pg_shdepend, and make {roles.new} like {roles.old}"
        yield LoginDifference(what=what, todo=todo, database="" if shared else connection.info.dbname)


_SHARE_OWNER: Final = "let a role own it that both logins are members of: ALTER … OWNER TO that role"


def _compare_default_privileges(connection: Connection[Any], roles: Roles) -> Iterator[LoginDifference]:
    """Compare what others get on what each of the two creates."""
    rows = connection.execute(
        """
        WITH login AS (
            SELECT oid, rolname = %(old)s AS by_old FROM pg_roles WHERE rolname IN (%(old)s, %(new)s)
        ), place AS (
            SELECT DISTINCT defaclobjtype AS objects, defaclnamespace AS namespace
              FROM pg_default_acl JOIN login ON login.oid = defaclrole
        ), given AS (
            SELECT by_old, objects::text AS objects,
                   CASE WHEN namespace <> 0 THEN namespace::regnamespace::text END AS place,
                   CASE WHEN grantee = 0 THEN 'PUBLIC'
                        WHEN grantee <> login.oid THEN grantee::regrole::text END AS getter,
                   privilege_type AS privilege, is_grantable
              FROM login CROSS JOIN place
              LEFT JOIN pg_default_acl ON defaclrole = login.oid AND defaclobjtype = objects
                                      AND defaclnamespace = namespace,
                   aclexplode(coalesce(defaclacl, CASE WHEN namespace = 0 THEN
                       acldefault(CASE objects WHEN 'S' THEN 's' ELSE objects END, login.oid) END))
        )
        SELECT objects, place, getter, privilege, bool_or(by_old), bool_or(is_grantable) FROM given
         GROUP BY objects, place, getter, privilege, is_grantable HAVING count(DISTINCT by_old) = 1
         ORDER BY 1, 2, 3, 4 LIMIT %(shown)s
        """,
        roles.parameters,
    ).fetchall()
    for objects, place, getter, privilege, by_old, grantable in rows:
        new = quote_identifier(roles.new)
        where = f" IN SCHEMA {place}" if place else ""
        kind = _DEFAULTS_ON.get(objects, objects)
        act, of = ("GRANT", "TO") if by_old else ("REVOKE", "FROM")
        option = " WITH GRANT OPTION" if grantable and by_old else ""
        given = f"default privileges: {privilege} on its new {kind}{where} for {getter or 'itself'}"
        yield LoginDifference(
            what=roles.sentence(given, by_old=by_old),
            sql=f"ALTER DEFAULT PRIVILEGES FOR ROLE {new}{where} {act} {privilege} ON {kind} "
            f"{of} {getter or new}{option}",
            database=connection.info.dbname,
        )


def _compare_policies(connection: Connection[Any], roles: Roles) -> Iterator[LoginDifference]:
    """Compare which policies of row security are for each role, and whether their conditions name one."""
    rows = connection.execute(
        """
        WITH judged AS (
            SELECT quote_ident(polname) AS policy, polrelid::regclass::text AS place, polroles,
                   polroles && %(old_ids)s::oid[] AS old, polroles && %(new_ids)s::oid[] AS new,
                   coalesce(pg_get_expr(polqual, polrelid), '') || ' '
                       || coalesce(pg_get_expr(polwithcheck, polrelid), '') AS condition
              FROM pg_policy
        ), named AS (
            SELECT *,
                   position('''' || replace(%(old)s, '''', '''''') || '''' IN condition) > 0 AS names_old,
                   position('''' || replace(%(new)s, '''', '''''') || '''' IN condition) > 0 AS names_new
              FROM judged
        )
        SELECT policy, place, old, new, names_old, names_new,
               (SELECT string_agg(role::regrole::text, ', ' ORDER BY role) FROM unnest(polroles) AS role
                 WHERE role <> 0 AND role::regrole <> quote_ident(%(new)s::text)::regrole)
          FROM named WHERE old <> new OR names_old <> names_new ORDER BY place, policy LIMIT %(shown)s
        """,
        roles.parameters,
    ).fetchall()
    for policy, place, is_old, is_new, names_old, names_new, others in rows:
        if is_old is not is_new:
            first, second = (roles.old, roles.new) if is_old else (roles.new, roles.old)
            listed = ", ".join(filter(None, (others, quote_identifier(roles.new) if is_old else "")))
            yield LoginDifference(
                what=f"the policy {policy} of row security on {place} is for {first} and not for {second}",
                sql=f"ALTER POLICY {policy} ON {place} TO {listed}" if listed else "",
                todo="" if listed else f"drop the policy {policy} on {place}, or give it other roles",
                database=connection.info.dbname,
            )
        if names_old is not names_new:
            only = roles.old if names_old else roles.new
            yield LoginDifference(
                what=f"the condition of the policy {policy} of row security on {place} names {only} alone",
                todo="write the condition for a role that both logins are members of (pg_has_role)",
                database=connection.info.dbname,
            )


def _compare_user_mappings(connection: Connection[Any], roles: Roles) -> Iterator[LoginDifference]:
    """Compare at which foreign servers each role has a login of its own; the options are secrets."""
    rows = connection.execute(
        """
        SELECT srvname, bool_or(usename = %(old)s) FROM pg_user_mappings WHERE usename IN (%(old)s, %(new)s)
         GROUP BY srvname HAVING count(DISTINCT usename) = 1 ORDER BY srvname
        """,
        roles.parameters,
    ).fetchall()
    for server, by_old in rows:
        verb, way = ("CREATE", "with the options of the other") if by_old else ("DROP", "")
        statement = f"{verb} USER MAPPING FOR {quote_identifier(roles.new)} SERVER {quote_identifier(server)}"
        yield LoginDifference(
            what=roles.sentence(f"a user mapping for the foreign server {server}", by_old=by_old),
            sql="" if by_old else statement,
            todo=f"{statement} {way}".strip() if by_old else "",
            database=connection.info.dbname,
        )


def quote_identifier(name: str) -> str:
    """Return a name for a statement."""
    return sql.Identifier(name).as_string()


def quote_literal(text: str) -> str:
    """Return a text for a statement."""
    return sql.Literal(text).as_string().strip()
