"""What can differ between two logins: for each server a table of statements that make one difference.

Each has a word that the finding holds, the statements that make the difference (run as the server's
superuser), and those that undo it. `{a}` and `{b}` are the quoted logins; the tables were written from the
servers' manuals (CREATE ROLE, GRANT, CREATE USER), not from the code that compares.
"""

from typing import NamedTuple


class Difference(NamedTuple):
    """One difference. `names` is part of the finding of the dry run and of the problem."""

    kind: str
    names: str
    make: list[str]
    undo: list[str]
    # Where a login that is refused stops the test before anything is compared.
    refuses: bool = False
    # Part of the dry run, where it finds another thing first.
    dry_run: str = ""


def _one(kind: str, names: str, make: str, undo: str, **more: object) -> Difference:
    return Difference(kind, names, make.split(";; "), undo.split(";; "), **more)  # type: ignore[arg-type]


# In the database of the application, unless a statement begins with the name of another and a colon.
POSTGRESQL_SETUP = [
    "CREATE SCHEMA app",
    'CREATE TABLE app.t (id int PRIMARY KEY, "se\'cret" text)',
    "CREATE TABLE app.owned (id int)",
    "CREATE VIEW app.v AS SELECT id FROM app.t",
    "CREATE SEQUENCE app.s",
    "CREATE FUNCTION app.f(int) RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "REVOKE ALL ON FUNCTION app.f(int) FROM PUBLIC",
    "CREATE PROCEDURE app.p() LANGUAGE sql AS 'SELECT 1'",
    "REVOKE ALL ON PROCEDURE app.p() FROM PUBLIC",
    "CREATE AGGREGATE app.ag(int) (sfunc = int4pl, stype = int)",
    "REVOKE ALL ON FUNCTION app.ag(int) FROM PUBLIC",
    "CREATE TYPE app.colour AS ENUM ('red')",
    "REVOKE ALL ON TYPE app.colour FROM PUBLIC",
    "REVOKE ALL ON LANGUAGE plpgsql FROM PUBLIC",
    "CREATE FOREIGN DATA WRAPPER fdw",
    "CREATE SERVER far FOREIGN DATA WRAPPER fdw",
    "SELECT lo_create(4711)",
    "CREATE TABLE app.guarded (owner name)",
    "ALTER TABLE app.guarded ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY for_others ON app.guarded TO pg_monitor USING (true)",
    "CREATE ROLE {group}",
    "CREATE ROLE {maker}",
    "ALTER LARGE OBJECT 4711 OWNER TO {maker}",
    "ALTER TABLE app.owned OWNER TO {maker}",
]
POSTGRESQL = [
    _one("VALID UNTIL", "VALID UNTIL", "ALTER ROLE {b} VALID UNTIL '2096-01-01'", "ALTER ROLE {b} VALID UNTIL 'infinity'"),
    _one("VALID UNTIL of A", "VALID UNTIL", "ALTER ROLE {a} VALID UNTIL '2097-01-01'", "ALTER ROLE {a} VALID UNTIL 'infinity'"),
    _one("VALID UNTIL in the past", "cannot log in", "ALTER ROLE {b} VALID UNTIL '2001-01-01'", "ALTER ROLE {b} VALID UNTIL 'infinity'", refuses=True, dry_run="VALID UNTIL"),
    _one("CONNECTION LIMIT", "CONNECTION LIMIT", "ALTER ROLE {b} CONNECTION LIMIT 3", "ALTER ROLE {b} CONNECTION LIMIT -1"),
    _one("BYPASSRLS", "BYPASSRLS", "ALTER ROLE {a} BYPASSRLS", "ALTER ROLE {a} NOBYPASSRLS"),
    _one("SUPERUSER", "SUPERUSER", "ALTER ROLE {a} SUPERUSER", "ALTER ROLE {a} NOSUPERUSER", dry_run="the administrator lacks"),
    _one("REPLICATION", "REPLICATION", "ALTER ROLE {a} REPLICATION", "ALTER ROLE {a} NOREPLICATION"),
    _one("INHERIT", "NOINHERIT", "ALTER ROLE {b} NOINHERIT", "ALTER ROLE {b} INHERIT"),
    _one("CREATEDB", "CREATEDB", "ALTER ROLE {a} CREATEDB", "ALTER ROLE {a} NOCREATEDB"),
    _one("CREATEROLE", "CREATEROLE", "ALTER ROLE {b} CREATEROLE", "ALTER ROLE {b} NOCREATEROLE"),
    _one("LOGIN", "NOLOGIN", "ALTER ROLE {b} NOLOGIN", "ALTER ROLE {b} LOGIN", refuses=True),
    _one("search_path", "search_path", 'ALTER ROLE {a} SET search_path = app, "$user", public', "ALTER ROLE {a} RESET search_path"),
    _one("statement_timeout", "statement_timeout", "ALTER ROLE {b} SET statement_timeout = '50s'", "ALTER ROLE {b} RESET statement_timeout"),
    _one("role set at login", "the setting role", "GRANT {group} TO {a}, {b};; ALTER ROLE {a} SET role = {group}", "ALTER ROLE {a} RESET role;; REVOKE {group} FROM {a}, {b}"),
    _one("setting in one database", "in database", "ALTER ROLE {a} IN DATABASE {database} SET work_mem = '8MB'", "ALTER ROLE {a} IN DATABASE {database} RESET work_mem"),
    _one("setting of the application", "app.tenant", "ALTER ROLE {a} SET app.tenant = 'canary-7'", "ALTER ROLE {a} RESET app.tenant"),
    _one("membership", "membership in", "GRANT {group} TO {a}", "REVOKE {group} FROM {a}"),
    _one("membership of B alone", "membership in", "GRANT pg_read_all_data TO {b}", "REVOKE pg_read_all_data FROM {b}"),
    _one("ADMIN OPTION", "ADMIN OPTION", "GRANT {group} TO {a} WITH ADMIN OPTION;; GRANT {group} TO {b}", "REVOKE {group} FROM {a}, {b}"),
    _one("database", "CREATE on database", "GRANT CREATE ON DATABASE {database} TO {a}", "REVOKE CREATE ON DATABASE {database} FROM {a}"),
    _one("schema", "USAGE on schema app", "GRANT USAGE ON SCHEMA app TO {a}", "REVOKE USAGE ON SCHEMA app FROM {a}"),
    _one("table", "SELECT on table app.t", "GRANT SELECT ON app.t TO {a}", "REVOKE SELECT ON app.t FROM {a}"),
    _one("table of B alone", "DELETE on table app.t", "GRANT DELETE ON app.t TO {b}", "REVOKE DELETE ON app.t FROM {b}"),
    _one("column", "of table app.t", "GRANT SELECT (\"se'cret\") ON app.t TO {a}", "REVOKE SELECT (\"se'cret\") ON app.t FROM {a}"),
    _one("view", "SELECT on view app.v", "GRANT SELECT ON app.v TO {a}", "REVOKE SELECT ON app.v FROM {a}"),
    _one("grant option", "the right to grant it", "GRANT SELECT ON app.t TO {a} WITH GRANT OPTION;; GRANT SELECT ON app.t TO {b}", "REVOKE SELECT ON app.t FROM {a}, {b}"),
    _one("sequence", "USAGE on sequence app.s", "GRANT USAGE ON SEQUENCE app.s TO {a}", "REVOKE USAGE ON SEQUENCE app.s FROM {a}"),
    _one("function", "EXECUTE on function app.f", "GRANT EXECUTE ON FUNCTION app.f(int) TO {a}", "REVOKE EXECUTE ON FUNCTION app.f(int) FROM {a}"),
    _one("function of the server", "pg_ls_waldir", "GRANT EXECUTE ON FUNCTION pg_ls_waldir() TO {a}", "REVOKE EXECUTE ON FUNCTION pg_ls_waldir() FROM {a}"),
    _one("procedure", "app.p()", "GRANT EXECUTE ON PROCEDURE app.p() TO {a}", "REVOKE EXECUTE ON PROCEDURE app.p() FROM {a}"),
    _one("aggregate", "app.ag", "GRANT EXECUTE ON FUNCTION app.ag(int) TO {a}", "REVOKE EXECUTE ON FUNCTION app.ag(int) FROM {a}"),
    _one("type", "USAGE on type app.colour", "GRANT USAGE ON TYPE app.colour TO {a}", "REVOKE USAGE ON TYPE app.colour FROM {a}"),
    _one("language", "USAGE on language plpgsql", "GRANT USAGE ON LANGUAGE plpgsql TO {a}", "REVOKE USAGE ON LANGUAGE plpgsql FROM {a}"),
    _one("foreign-data wrapper", "foreign-data wrapper fdw", "GRANT USAGE ON FOREIGN DATA WRAPPER fdw TO {a}", "REVOKE USAGE ON FOREIGN DATA WRAPPER fdw FROM {a}"),
    _one("foreign server", "on server far", "GRANT USAGE ON FOREIGN SERVER far TO {a}", "REVOKE USAGE ON FOREIGN SERVER far FROM {a}"),
    _one("user mapping", "a user mapping", "CREATE USER MAPPING FOR {a} SERVER far OPTIONS (password 'canary-8')", "DROP USER MAPPING FOR {a} SERVER far"),
    _one("tablespace", "CREATE on tablespace", "GRANT CREATE ON TABLESPACE pg_default TO {a}", "REVOKE CREATE ON TABLESPACE pg_default FROM {a}"),
    _one("parameter", "on parameter log_statement", "GRANT SET ON PARAMETER log_statement TO {a}", "REVOKE SET ON PARAMETER log_statement FROM {a}"),
    _one("large object", "large object 4711", "GRANT SELECT ON LARGE OBJECT 4711 TO {a}", "REVOKE SELECT ON LARGE OBJECT 4711 FROM {a}"),
    _one("default privileges for A", "default privileges", "ALTER DEFAULT PRIVILEGES FOR ROLE {maker} IN SCHEMA app GRANT SELECT ON TABLES TO {a}", "ALTER DEFAULT PRIVILEGES FOR ROLE {maker} IN SCHEMA app REVOKE SELECT ON TABLES FROM {a}"),
    _one("default privileges of A", "default privileges", "ALTER DEFAULT PRIVILEGES FOR ROLE {a} GRANT SELECT ON TABLES TO {group}", "ALTER DEFAULT PRIVILEGES FOR ROLE {a} REVOKE SELECT ON TABLES FROM {group}"),
    _one("owner of a table", "owns table app.owned", "ALTER TABLE app.owned OWNER TO {a}", "ALTER TABLE app.owned OWNER TO {maker}"),
    _one("owner of a large object", "owns large object", "ALTER LARGE OBJECT 4711 OWNER TO {a}", "ALTER LARGE OBJECT 4711 OWNER TO {maker}"),
    _one("owner of a database", "owns database", "postgres:ALTER DATABASE {other} OWNER TO {a}", "postgres:ALTER DATABASE {other} OWNER TO {maker}"),
    _one("policy for A", "row security", "CREATE POLICY for_one ON app.guarded TO {a} USING (true)", "DROP POLICY for_one ON app.guarded"),
    _one("policy that names A", "names", "CREATE POLICY naming ON app.guarded USING (owner = {a_text})", "DROP POLICY naming ON app.guarded"),
    _one("security label", "security label of", "SET allow_system_table_mods = on;; INSERT INTO pg_shseclabel SELECT oid, 'pg_authid'::regclass, 'selinux', 'high' FROM pg_roles WHERE rolname = {a_text}", "DELETE FROM pg_shseclabel WHERE provider = 'selinux'"),
    _one("table of another database", "table public.there", "{other}:GRANT SELECT ON there TO {a}", "{other}:REVOKE SELECT ON there FROM {a}"),
    _one("owner in another database", "owns table public.there", "{other}:ALTER TABLE there OWNER TO {a}", "{other}:ALTER TABLE there OWNER TO postgres"),
]  # fmt: skip

MARIADB_SETUP = [
    "CREATE TABLE {database}.t (id int, word text)",
    "CREATE PROCEDURE {database}.p() SELECT 1",
    "CREATE FUNCTION {database}.f() RETURNS int RETURN 1",
    "CREATE ROLE {group}",
    "GRANT EVENT, TRIGGER, SHOW VIEW ON {database}.* TO {a}",
    "GRANT EVENT, TRIGGER, SHOW VIEW ON {database}.* TO {b}",
    "GRANT EXECUTE ON FUNCTION {database}.f TO {a}",
    "GRANT EXECUTE ON FUNCTION {database}.f TO {b}",
    "CREATE USER {third} IDENTIFIED BY 'x'",
]
_NO_LIMIT = "ALTER USER {b} WITH MAX_QUERIES_PER_HOUR 0 MAX_UPDATES_PER_HOUR 0 MAX_CONNECTIONS_PER_HOUR 0 MAX_USER_CONNECTIONS 0 MAX_STATEMENT_TIME 0"
_NO_SSL = "ALTER USER {b} REQUIRE NONE"
MARIADB = [
    _one("host part", "logs in from", "RENAME USER {b} TO {b_anywhere}", "RENAME USER {b_anywhere} TO {b}"),
    _one("a second host of A", "logs in from", "CREATE USER {a_local} IDENTIFIED VIA mysql_native_password", "DROP USER {a_local}"),
    _one("REQUIRE SSL", "REQUIRE SSL", "ALTER USER {a} REQUIRE SSL", "ALTER USER {a} REQUIRE NONE"),
    _one("REQUIRE X509", "cannot log in", "ALTER USER {b} REQUIRE X509", _NO_SSL, refuses=True, dry_run="REQUIRE X509"),
    _one("REQUIRE ISSUER", "cannot log in", "ALTER USER {b} REQUIRE ISSUER '/CN=x''y'", _NO_SSL, refuses=True, dry_run="REQUIRE ISSUER"),
    _one("REQUIRE CIPHER", "cannot log in", "ALTER USER {b} REQUIRE CIPHER 'NULL-SHA'", _NO_SSL, refuses=True, dry_run="REQUIRE CIPHER"),
    _one("MAX_QUERIES_PER_HOUR", "max_questions", "ALTER USER {b} WITH MAX_QUERIES_PER_HOUR 1000", _NO_LIMIT),
    _one("MAX_UPDATES_PER_HOUR", "max_updates", "ALTER USER {b} WITH MAX_UPDATES_PER_HOUR 1000", _NO_LIMIT),
    _one("MAX_CONNECTIONS_PER_HOUR", "max_connections", "ALTER USER {b} WITH MAX_CONNECTIONS_PER_HOUR 1000", _NO_LIMIT),
    _one("MAX_USER_CONNECTIONS", "max_user_connections", "ALTER USER {b} WITH MAX_USER_CONNECTIONS 2", _NO_LIMIT),
    _one("MAX_STATEMENT_TIME", "max_statement_time", "ALTER USER {b} WITH MAX_STATEMENT_TIME 2.5", _NO_LIMIT),
    _one("PASSWORD EXPIRE INTERVAL", "password_lifetime", "ALTER USER {b} PASSWORD EXPIRE INTERVAL 3 DAY", "ALTER USER {b} PASSWORD EXPIRE DEFAULT"),
    _one("PASSWORD EXPIRE NEVER", "password_lifetime", "ALTER USER {a} PASSWORD EXPIRE NEVER", "ALTER USER {a} PASSWORD EXPIRE DEFAULT"),
    _one("plug-in", "plugin is", "ALTER USER {b} IDENTIFIED VIA ed25519 USING PASSWORD('x')", "ALTER USER {b} IDENTIFIED VIA mysql_native_password USING PASSWORD('x')"),
    _one("second method", "unix_socket", "ALTER USER {b} IDENTIFIED VIA mysql_native_password USING PASSWORD('x') OR unix_socket", "ALTER USER {b} IDENTIFIED VIA mysql_native_password USING PASSWORD('x')"),
    _one("second method, the socket first", "unix_socket", "ALTER USER {b} IDENTIFIED VIA unix_socket OR mysql_native_password USING PASSWORD('x')", "ALTER USER {b} IDENTIFIED VIA mysql_native_password USING PASSWORD('x')"),
    _one("role", "the role", "GRANT {group} TO {a}", "REVOKE {group} FROM {a}"),
    _one("role WITH ADMIN OPTION", "ADMIN OPTION", "GRANT {group} TO {a} WITH ADMIN OPTION;; GRANT {group} TO {b}", "REVOKE {group} FROM {a};; REVOKE {group} FROM {b}"),
    _one("default role", "the default role", "GRANT {group} TO {a};; GRANT {group} TO {b};; SET DEFAULT ROLE {group} FOR {a}", "SET DEFAULT ROLE NONE FOR {a};; REVOKE {group} FROM {a};; REVOKE {group} FROM {b}"),
    _one("global privilege", "PROCESS ON", "GRANT PROCESS ON *.* TO {a}", "REVOKE PROCESS ON *.* FROM {a}"),
    _one("database privilege", "DELETE ON", "GRANT DELETE ON {database}.* TO {a}", "REVOKE DELETE ON {database}.* FROM {a}"),
    _one("database privilege of B alone", "DROP ON", "GRANT DROP ON {database}.* TO {b}", "REVOKE DROP ON {database}.* FROM {b}"),
    _one("table privilege", "UPDATE ON", "GRANT UPDATE ON {database}.t TO {a}", "REVOKE UPDATE ON {database}.t FROM {a}"),
    _one("column privilege", "UPDATE (`word`)", "GRANT UPDATE (word) ON {database}.t TO {a}", "REVOKE UPDATE (word) ON {database}.t FROM {a}"),
    _one("grant option", "GRANT OPTION", "GRANT INDEX ON {database}.t TO {a} WITH GRANT OPTION;; GRANT INDEX ON {database}.t TO {b}", "REVOKE INDEX, GRANT OPTION ON {database}.t FROM {a};; REVOKE INDEX ON {database}.t FROM {b}"),
    _one("procedure", "EXECUTE ON PROCEDURE", "GRANT EXECUTE ON PROCEDURE {database}.p TO {a}", "REVOKE EXECUTE ON PROCEDURE {database}.p FROM {a}"),
    _one("function", "ALTER ROUTINE ON FUNCTION", "GRANT ALTER ROUTINE ON FUNCTION {database}.f TO {a}", "REVOKE ALTER ROUTINE ON FUNCTION {database}.f FROM {a}"),
    _one("proxy", "PROXY ON", "GRANT PROXY ON {third} TO {a}", "REVOKE PROXY ON {third} FROM {a}"),
    _one("definer of a view", "definer of view", "CREATE DEFINER = {a} VIEW {database}.v AS SELECT id FROM {database}.t", "DROP VIEW {database}.v"),
    _one("definer of a routine", "definer of routine", "CREATE DEFINER = {a} FUNCTION {database}.g() RETURNS int RETURN 1", "DROP FUNCTION {database}.g"),
    _one("definer of an event", "definer of event", "CREATE DEFINER = {a} EVENT {database}.e ON SCHEDULE EVERY 1 YEAR DO SELECT 1", "DROP EVENT {database}.e"),
    _one("definer of a trigger", "definer of trigger", "CREATE DEFINER = {a} TRIGGER {database}.tr BEFORE INSERT ON {database}.t FOR EACH ROW SET NEW.id = 1", "DROP TRIGGER {database}.tr"),
    _one("key of a later version", "lunar_phase", "UPDATE mysql.global_priv SET Priv = JSON_SET(Priv, '$.lunar_phase', 'canary-9') WHERE User = {a_text};; FLUSH PRIVILEGES", "UPDATE mysql.global_priv SET Priv = JSON_REMOVE(Priv, '$.lunar_phase') WHERE User = {a_text};; FLUSH PRIVILEGES"),
    _one("table of a later version", "mysql.moon_priv", "CREATE TABLE mysql.moon_priv (Host varchar(60), User varchar(80), Phase int);; INSERT INTO mysql.moon_priv VALUES ('127.0.0.%', {a_text}, 3)", "DROP TABLE mysql.moon_priv"),
]  # fmt: skip
