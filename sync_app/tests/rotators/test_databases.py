"""What MySQL's and PostgreSQL's rotators do alike: logs, quoting, grants, locks, and workers that sleep."""

import json
import random
import time
import traceback
from pathlib import Path

import pytest

from sync_app.errors import (
    BackendError,
    BadDestination,
    CredentialsRejected,
    LoginMissing,
    PermissionMissing,
    RequestRefused,
    TargetBusy,
    TargetUnreachable,
    UnsupportedAuthPlugin,
)
from sync_app.rotators.base import LoginAnswer, PendingCredential
from sync_app.rotators.mysql.accounts import hash_ed25519, hash_native
from sync_app.rotators.mysql.tests.world import MariaDbWorld
from sync_app.rotators.postgresql.tests.world import PostgreSqlWorld
from sync_app.tests.rotators.worlds import DatabaseWorld, fence

# Of a turn that is waited out: longer than a busy machine takes to begin it.
SHORT = 8
AWKWARD = "'\"`\\%;$ {}()#-*/ü鍵\U0001f511azAZ09"


def awkward_passwords(count: int) -> list[str]:
    drawn = random.Random(count)
    return ["".join(drawn.choices(AWKWARD, k=24)) + "'\\" for _ in range(count)]


def with_password(world: DatabaseWorld, password: str) -> PendingCredential:
    value = json.dumps({**json.loads(world.current), "username": world.users[1], "password": password})
    return PendingCredential(login=world.users[1], value=value)


def test_no_log_of_the_server_holds_a_password(database: DatabaseWorld) -> None:
    rotator, current = database.rotator(), database.current
    passwords = [database.password]
    for _ in range(2):
        pending = rotator.prepare(current)
        new = rotator.set(pending, current=current, fence=fence())
        rotator.probe(new)
        rotator.compare_logins(current)
        rotator.retire(current, current=new, fence=fence())
        current = new
        passwords.append(json.loads(new)["password"])
    logged = database.logged()
    # What was changed is there, so that what is looked for would be.
    assert database.mark in logged
    assert "SCRAM-SHA-256$" in logged or "IDENTIFIED WITH" in logged
    for password in passwords[1:]:
        assert password not in logged


def set_all(database: DatabaseWorld, count: int) -> None:
    rotator = database.rotator()
    passwords = awkward_passwords(count)
    for number, password in enumerate(passwords):
        new = rotator.set(with_password(database, password), current=database.current, fence=fence())
        if number % 10 == 0:
            assert database.works(new)
    assert database.works(database.current)
    logged = database.logged()
    assert not any(password in logged for password in passwords)


def test_awkward_passwords_break_no_statement(database: DatabaseWorld) -> None:
    """MariaDB's server runs under ANSI_QUOTES and NO_BACKSLASH_ESCAPES."""
    set_all(database, 30)


@pytest.mark.torture
def test_a_thousand_awkward_passwords_break_no_statement(database: DatabaseWorld) -> None:
    set_all(database, 1000)


def test_backslashes_mean_the_same_without_those_modes(mariadb: MariaDbWorld) -> None:
    before = mariadb.execute("SELECT @@GLOBAL.sql_mode")[0][0]
    mariadb.execute("SET GLOBAL sql_mode = ''")
    try:
        set_all(mariadb, 30)
        mariadb.rotator().check_setup(mariadb.current)
    finally:
        mariadb.execute("SET GLOBAL sql_mode = %s", before)


def test_no_error_holds_a_password(database: DatabaseWorld) -> None:
    drop(database, database.users[1])
    rotator = database.rotator()
    for password in awkward_passwords(20):
        pending = with_password(database, password)
        with pytest.raises(BackendError) as caught:
            rotator.set(pending, current=database.current, fence=fence())
        shown = "".join(traceback.format_exception(caught.value)) + repr(pending)
        assert password not in shown
        assert json.dumps(password) not in shown
        assert pending.value is not None
        assert rotator.probe(pending.value).answer is LoginAnswer.REFUSED


def drop(database: DatabaseWorld, username: str) -> None:
    if isinstance(database, MariaDbWorld):
        for (host,) in database.execute("SELECT Host FROM mysql.user WHERE User = %s", username):
            database.execute("DROP USER %s@%s", username, host)
    else:
        quoted = username.replace('"', '""')
        database.execute(f'DROP OWNED BY "{quoted}"')
        database.execute(f'DROP ROLE "{quoted}"')


def test_it_names_a_login_that_is_missing(database: DatabaseWorld) -> None:
    drop(database, database.users[1])
    with pytest.raises(LoginMissing, match=database.mark):
        database.rotator().check_setup(database.current)


def test_it_names_what_the_administrator_lacks(mariadb: MariaDbWorld, postgres: PostgreSqlWorld) -> None:
    mariadb.execute("REVOKE CREATE USER ON *.* FROM %s@'%%'", mariadb.administrator)
    postgres.execute(f"ALTER ROLE {postgres.administrator} NOCREATEROLE")
    for world, name in ((mariadb, "CREATE USER"), (postgres, "CREATEROLE")):
        rotator = world.rotator()
        with pytest.raises(PermissionMissing, match=name):
            rotator.check_setup(world.current)
        with pytest.raises(PermissionMissing, match=name):
            rotator.set(rotator.prepare(world.current), current=world.current, fence=fence())
        assert world.works(world.current)


def test_it_names_the_grant_that_is_missing(mariadb: MariaDbWorld) -> None:
    mariadb.execute("REVOKE SELECT ON mysql.* FROM %s@'%%'", mariadb.administrator)
    with pytest.raises(PermissionMissing, match=r"SELECT ON mysql\.\*"):
        mariadb.rotator().check_setup(mariadb.current)


def test_an_administrator_that_is_revoked_is_told_from_a_server_that_is_away(database: DatabaseWorld) -> None:
    with pytest.raises(CredentialsRejected):
        database.rotator(password="wrong").check_setup(database.current)
    with pytest.raises(TargetUnreachable):
        database.rotator(port="9").check_setup(database.current)


def test_a_lock_that_somebody_holds_is_waited_for_and_no_longer(
    mariadb: MariaDbWorld, postgres: PostgreSqlWorld
) -> None:
    for world in (mariadb, postgres):
        rotator, other = world.rotator(), world.rotator()
        inner: list[BaseException] = []

        def meanwhile(world: DatabaseWorld = world, other: object = other) -> bool:
            """Try as a second worker while the first one holds the lock."""
            with pytest.raises(TargetBusy) as caught:
                other.set(other.prepare(world.current), current=world.current, fence=fence(seconds=SHORT))  # type: ignore[attr-defined]
            inner.append(caught.value)  # noqa: B023
            return True

        # Its own turn lasts longer than the other one waits, however busy the machine is.
        held = fence(meanwhile, seconds=60)
        new = rotator.set(rotator.prepare(world.current), current=world.current, fence=held)
        assert len(inner) == 1
        assert world.works(new)


def sessions(world: DatabaseWorld) -> int:
    if isinstance(world, MariaDbWorld):
        query = "SELECT count(*) FROM information_schema.processlist WHERE user = %s"
    else:
        query = "SELECT count(*) FROM pg_stat_activity WHERE usename = %s"
    return int(world.execute(query, world.administrator)[0][0])


def test_a_worker_that_wakes_up_after_its_lease_changes_nothing(database: DatabaseWorld) -> None:
    """It was ours when it asked, and then it slept while another worker went on."""
    rotator = database.rotator()
    late = rotator.prepare(database.current)
    finished: list[str] = []

    def sleep_through_the_lease() -> bool:
        # That of the rotator; the server may not have let go of one before.
        assert sessions(database)
        while sessions(database):
            time.sleep(0.05)
        other = database.rotator()
        pending = other.prepare(database.current)
        finished.append(other.set(pending, current=database.current, fence=fence()))
        return True

    with pytest.raises(TargetUnreachable):
        rotator.set(late, current=database.current, fence=fence(sleep_through_the_lease, seconds=SHORT))
    assert database.works(finished[0])
    assert late.value is not None
    assert not database.works(late.value)


def test_without_tls_only_by_name_and_where_allowed(database: DatabaseWorld) -> None:
    rotator = database.rotator(tls="off")
    assert rotator.probe(database.current).answer is LoginAnswer.ACCEPTED
    with pytest.raises(BadDestination) as caught:
        database.rotator(tls="prefer")
    assert caught.value.field == "tls"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("host", "db.example:3306"),
        ("host", "a,b"),
        ("port", "0"),
        ("port", "x"),
        ("ca_certificate", "nonsense"),
        ("login_b", ""),
    ],
)
def test_it_says_which_field_is_wrong(database: DatabaseWorld, field: str, value: str) -> None:
    with pytest.raises(BadDestination) as caught:
        database.rotator(**{field: value})
    assert caught.value.field == field


def test_two_logins_and_an_administrator_are_three(database: DatabaseWorld) -> None:
    with pytest.raises(BadDestination):
        database.rotator(login_b=database.settings()["login_a"])
    with pytest.raises(BadDestination):
        database.rotator(username=database.users[0])


def test_what_else_a_value_holds_stays(database: DatabaseWorld) -> None:
    rotator = database.rotator()
    new = json.loads(rotator.set(rotator.prepare(database.current), current=database.current, fence=fence()))
    old = json.loads(database.current)
    assert list(new) == list(old)
    assert {key for key in old if old[key] != new[key]} == {"username", "password"}


def test_an_account_without_a_host_part_means_all_of_them(mariadb: MariaDbWorld) -> None:
    mariadb.execute("CREATE USER %s@'localhost' IDENTIFIED VIA ed25519 USING PASSWORD('x')", mariadb.users[1])
    rotator = mariadb.rotator()
    new = rotator.set(rotator.prepare(mariadb.current), current=mariadb.current, fence=fence())
    assert mariadb.works(new)
    hashes = mariadb.execute("SELECT authentication_string FROM mysql.user WHERE User = %s", mariadb.users[1])
    expected = {hash_native(json.loads(new)["password"]), hash_ed25519(json.loads(new)["password"])}
    assert {text for (text,) in hashes} == expected


def test_a_login_by_another_plug_in_is_refused(mariadb: MariaDbWorld) -> None:
    mariadb.execute("ALTER USER %s@'127.0.0.%%' IDENTIFIED VIA unix_socket", mariadb.users[1])
    with pytest.raises(BackendError, match="unix_socket"):
        mariadb.rotator().check_setup(mariadb.current)


def test_a_server_that_refuses_hashes_is_told_before_anything_is_set(mariadb: MariaDbWorld) -> None:
    """Keeper sends hashes, which a plug-in of validation cannot judge; strict_password_validation refuses them."""
    rotator = mariadb.rotator()
    mariadb.execute("INSTALL SONAME 'simple_password_check'")
    try:
        with pytest.raises(RequestRefused, match="strict_password_validation = OFF"):
            rotator.check_setup(mariadb.current)
        mariadb.execute("SET GLOBAL strict_password_validation = OFF")
        rotator.check_setup(mariadb.current)
        new = rotator.set(rotator.prepare(mariadb.current), current=mariadb.current, fence=fence())
        assert mariadb.works(new)
    finally:
        mariadb.execute("UNINSTALL SONAME 'simple_password_check'")
        mariadb.execute("SET GLOBAL strict_password_validation = ON")


def test_a_second_method_of_authentication_is_not_replaced(mariadb: MariaDbWorld) -> None:
    rotator = mariadb.rotator()
    late = rotator.prepare(mariadb.current)
    # After the check, and before the act.
    statement = (
        "ALTER USER %s@'127.0.0.%%' IDENTIFIED VIA mysql_native_password USING PASSWORD('x') OR unix_socket"
    )
    mariadb.execute(statement, mariadb.users[1])
    for act in (
        lambda: rotator.check_setup(mariadb.current),
        lambda: rotator.set(late, current=mariadb.current, fence=fence()),
    ):
        with pytest.raises(UnsupportedAuthPlugin, match="mysql_native_password or unix_socket"):
            act()
    shown = mariadb.execute("SHOW CREATE USER %s@'127.0.0.%%'", mariadb.users[1])[0][0]
    assert "OR unix_socket" in shown


def test_a_login_whose_password_is_expired_is_refused(mariadb: MariaDbWorld) -> None:
    """The server lets it in, and refuses each statement (1820)."""
    rotator = mariadb.rotator()
    new = rotator.set(rotator.prepare(mariadb.current), current=mariadb.current, fence=fence())
    mariadb.execute("ALTER USER %s@'127.0.0.%%' PASSWORD EXPIRE", mariadb.users[1])
    assert rotator.probe(new).answer is LoginAnswer.REFUSED


@pytest.mark.parametrize("code", [1927, 1317, 1047, 1053, 1205, 4031])
def test_a_session_that_was_ended_is_tried_again(code: int) -> None:
    """By the error reference of MariaDB: killed, interrupted, node not ready, shutdown, lock wait, idle."""
    from pymysql import OperationalError

    from sync_app.rotators.mysql.client import translate_error

    assert not translate_error(OperationalError(code, "p4ssword")).permanent


def test_a_line_of_pg_hba_for_one_login_alone_is_found(postgres: PostgreSqlWorld) -> None:
    (path,) = postgres.execute("SHOW hba_file")[0]
    file = Path(path)
    before = file.read_text()
    quoted = postgres.users[0].replace('"', '""')
    line = f'host app_{postgres.mark} "{quoted}" 127.0.0.1/32 scram-sha-256'
    try:
        # The view shows the file as it is; the server takes it with the next reload.
        file.write_text(f"{before}\n{line}\n")
        assert postgres.rotator().compare_logins(postgres.current) == ()
        for object_ in ("pg_hba_file_rules", "FUNCTION pg_hba_file_rules()"):
            privilege = "EXECUTE" if "FUNCTION" in object_ else "SELECT"
            postgres.execute(f"GRANT {privilege} ON {object_} TO {postgres.administrator}")
        (found,) = postgres.rotator().compare_logins(postgres.current)
        assert "of pg_hba.conf is for" in found.what
        assert "+group" in found.todo
        both = line.replace('" 127', f'","{postgres.users[1].replace(chr(34), chr(34) * 2)}" 127')
        file.write_text(f"{before}\n{both}\n")
        assert postgres.rotator().compare_logins(postgres.current) == ()
    finally:
        file.write_text(before)


def test_a_column_of_a_later_version_is_named_without_its_value() -> None:
    from sync_app.rotators.postgresql import logins

    class Later:
        """A server whose pg_roles has one column more."""

        def execute(self, *_asked: object) -> "Later":
            return self

        def fetchall(self) -> list[tuple[str, dict[str, str]]]:
            return [("a", {"rolname": "a", "rolmoon": "canary"}), ("b", {"rolname": "b"})]

    (found,) = logins._compare_attributes(Later(), "a", "b")  # type: ignore[arg-type]
    assert "pg_roles.rolmoon" in found.what
    assert "canary" not in f"{found}"
    assert found.sql == ""
