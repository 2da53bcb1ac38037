"""Every kind of difference between the two logins is found by the dry run and by the test, before anything is served.

One rotation is retried for each kind: it stops again and again, and is served once the last difference is gone.
So each difference is also seen to be the only cause of its stop.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from psycopg import sql

from environments_app.tests.cast import Cast
from sync_app.domain.rotation_state import Step
from sync_app.models import RotationPolicy
from sync_app.rotation.execution import operator_actions
from sync_app.rotation.execution.dry_run import run_dry_run
from sync_app.rotators.mysql.tests.world import MariaDbWorld
from sync_app.rotators.postgresql.tests.world import PostgreSqlWorld
from sync_app.tests.rotation.differences import (
    MARIADB,
    MARIADB_SETUP,
    POSTGRESQL,
    POSTGRESQL_SETUP,
    Difference,
)
from sync_app.tests.rotation.making import asked, made_policy, made_secret, stages, worked
from sync_app.tests.rotators.worlds import DatabaseWorld
from tests.servers.postgresql import PASSWORD, SUPERUSER

pytestmark = pytest.mark.django_db(transaction=True)

Run = Callable[[list[str]], None]
CANARIES = ("canary-7", "canary-8", "canary-9")


@contextmanager
def on_postgresql(world: PostgreSqlWorld) -> Iterator[Run]:
    """Yield what runs statements of the table as the superuser."""
    database, other = f"app_{world.mark}", f"other_{world.mark}"
    names = {
        "a": sql.Identifier(world.users[0]).as_string(),
        "b": sql.Identifier(world.users[1]).as_string(),
        "a_text": sql.Literal(world.users[0]).as_string(),
        "group": f"group_{world.mark}",
        "maker": f"maker_{world.mark}",
        "database": database,
        "other": other,
    }
    world.execute(f"CREATE DATABASE {other}")
    with ExitStack() as held:
        sessions = {
            name: held.enter_context(world.connected(user=SUPERUSER, password=PASSWORD, dbname=name))
            for name in (database, other, "postgres")
        }
        sessions[other].execute("CREATE TABLE there (id int)")

        def run(statements: list[str]) -> None:
            for statement in statements:
                text = statement.format(**names)
                place, colon, rest = text.partition(":")
                if colon and place in sessions:
                    sessions[place].execute(rest.encode())
                else:
                    sessions[database].execute(text.encode())

        yield run


def on_mariadb(world: MariaDbWorld) -> Run:
    def account(user: str, host: str) -> str:
        return "@".join("`" + part.replace("`", "``") + "`" for part in (user, host))

    a, b = world.users
    names = {
        "a": account(a, "127.0.0.%"),
        "b": account(b, "127.0.0.%"),
        "a_local": account(a, "localhost"),
        "b_anywhere": account(b, "%"),
        "a_text": "'" + a.replace("'", "''") + "'",
        "third": account(f"third_{world.mark}", "%"),
        "group": f"group_{world.mark}",
        "database": f"app_{world.mark}",
    }

    def run(statements: list[str]) -> None:
        for statement in statements:
            world.execute(statement.format(**names))

    return run


def owner_of(difference: Difference, world: DatabaseWorld) -> str:
    """Return which login alone has what a difference grants; empty for one that grants nothing to one."""
    text = " ".join(difference.make)
    named = [user for user, name in zip(world.users, ("{a}", "{b}"), strict=True) if name in text]
    return named[0] if difference.make[0].startswith("GRANT ") and len(named) == 1 else ""


def missed(
    cast: Cast, world: DatabaseWorld, run: Run, table: list[Difference], policy: RotationPolicy
) -> list[str]:
    """Make each difference, and return those that the dry run or the test does not name."""
    erin = cast.principal(cast.erin)
    found = run_dry_run(actor=erin, policy=policy)
    assert found.ok, found.findings
    run(table[0].make)
    rotation = worked(asked(cast, policy))
    run(table[0].undo)
    problems = []
    for each in table:
        run(each.make)
        told = [
            finding.detail for finding in run_dry_run(actor=erin, policy=policy).findings if finding.fails
        ]
        wanted = each.dry_run or each.names
        if not any(wanted in detail for detail in told):
            problems.append(f"{each.kind}: dry run: {told}")
        if (has := owner_of(each, world)) and not any(detail.startswith(f"{has} has ") for detail in told):
            problems.append(f"{each.kind}: not {has} has it: {told}")
        rotation = worked(operator_actions.retry(actor=erin, rotation=rotation))
        # A login without an answer is tried again.
        stopped = (rotation.stopped_at or each.refuses) and rotation.step in {Step.SET, Step.TEST}
        if not stopped or each.names not in rotation.problem:
            problems.append(f"{each.kind}: {rotation.step}: {rotation.problem}")
        if any(canary in text for canary in CANARIES for text in (*told, rotation.problem)):
            problems.append(f"{each.kind}: a value that may be a secret is repeated")
        assert stages(cast, policy.secret)["current"] == world.current, each.kind
        run(each.undo)
    # Nothing else was in the way.
    rotation = worked(operator_actions.retry(actor=erin, rotation=rotation))
    assert (rotation.step, rotation.problem) == (Step.GRACE, "")
    return problems


def test_every_difference_of_two_roles_of_postgresql_is_found(cast: Cast, postgres: PostgreSqlWorld) -> None:
    with on_postgresql(postgres) as run:
        run(POSTGRESQL_SETUP)
        policy = made_policy(cast, postgres, secret=made_secret(cast, postgres))
        assert len(POSTGRESQL) >= 25
        assert missed(cast, postgres, run, POSTGRESQL, policy) == []


def test_every_difference_of_two_accounts_of_mariadb_is_found(cast: Cast, mariadb: MariaDbWorld) -> None:
    run = on_mariadb(mariadb)
    run(MARIADB_SETUP)
    changes = {"login_a": "`" + mariadb.users[0].replace("`", "``") + "`"}
    policy = made_policy(
        cast, mariadb, secret=made_secret(cast, mariadb), settings=mariadb.settings() | changes
    )
    assert len(MARIADB) >= 20
    assert missed(cast, mariadb, run, MARIADB, policy) == []
