"""One process sets the database up while others wait, and a setup that was killed is finished or named."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import MySQLdb
import pytest
from django.db.migrations.loader import MigrationLoader

from keeper_project.runtime import database_setup
from tests.processes import begin_on, dumped, load, run_commands
from tests.servers.__main__ import installation
from tests.servers.server import free_port

ROOT = Path(__file__).resolve().parents[3]
# To migrate takes a busy machine minutes.
WAIT_SECONDS = 600


@dataclass
class Place:
    """An empty database, and processes of Keeper that set it up."""

    directory: Path
    mariadb: str = ""
    processes: ExitStack = field(default_factory=ExitStack)

    @property
    def name(self) -> str:
        return urlsplit(self.mariadb).path[1:]

    @property
    def variables(self) -> dict[str, str]:
        own = {"DATABASE_URL": self.mariadb} if self.mariadb else {}
        return {**os.environ, **installation(self.directory / "var"), **own}

    def begin(self, *arguments: str) -> tuple["subprocess.Popen[bytes]", Path]:
        """Begin a command of Keeper and return it with what it prints."""
        output = self.directory / f"output-{uuid4().hex[:8]}"
        with output.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "keeper_project.runtime.cli", *arguments],
                cwd=ROOT, env=self.variables, stdout=out, stderr=subprocess.STDOUT,
            )  # fmt: skip
        self.processes.callback(process.wait, WAIT_SECONDS)
        self.processes.callback(process.terminate)
        return process, output

    def run(self, *commands: list[str]) -> list[str]:
        """Run several commands of Keeper to their ends, and return what each one printed."""
        return run_commands(self.variables, *commands)

    def finish(self, *arguments: str) -> tuple[int, str]:
        """Run a command of Keeper to its end."""
        process, output = self.begin(*arguments)
        return process.wait(WAIT_SECONDS), output.read_text()

    def sql(self, statement: str) -> Any:
        server = urlsplit(self.mariadb)
        connected = MySQLdb.connect(
            host=server.hostname or "",
            port=server.port or 3306,
            user=server.username or "",
            database=self.name,
        )
        with closing(connected) as made:
            cursor = made.cursor()
            cursor.execute(statement)
            rows = cursor.fetchall()
            made.commit()
            return rows

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock as a process does that sets the database up."""
        if self.mariadb:
            server = urlsplit(self.mariadb)
            connected = MySQLdb.connect(
                host=server.hostname or "",
                port=server.port or 3306,
                user=server.username or "",
                database=self.name,
            )
            with closing(connected) as made:
                made.cursor().execute("SELECT GET_LOCK(%s, 0)", [database_setup.lock_name(self.name)])
                yield
            return
        with (self.directory / "var" / "keeper.db.setup-lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


@pytest.fixture(params=["SQLite", "MariaDB"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "SQLite":
        made = Place(tmp_path)
        with made.processes:
            yield made
        return
    with _on_mariadb(tmp_path) as made:
        yield made


@pytest.fixture
def on_mariadb(tmp_path: Path) -> Iterator[Place]:
    with _on_mariadb(tmp_path) as made:
        yield made


@contextmanager
def _on_mariadb(directory: Path) -> Iterator[Place]:
    server, name = urlsplit(os.environ["KEEPER_TEST_MARIADB_URL"]), f"setup_{uuid4().hex[:12]}"
    Place(directory, server._replace(path="/mysql").geturl()).sql(
        f"CREATE DATABASE {name} CHARACTER SET utf8mb4"
    )
    made = Place(directory, server._replace(path=f"/{name}").geturl())
    try:
        with made.processes:
            yield made
    finally:
        made.sql(f"DROP DATABASE {name}")


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, bytes]]:
    """Return the folder of an installation on MariaDB and its database as statements, after each command."""
    found = {}
    with _on_mariadb(tmp_path_factory.mktemp("set_up")) as place:
        for command in ("migrate", "init-db"):
            code, printed = place.finish(command)
            assert code == 0, printed
            data = shutil.copytree(place.directory / "var", place.directory / command)
            found[command] = data, dumped(urlsplit(place.mariadb))
    return found


def copy_of(stage: tuple[Path, bytes], place: Place) -> Place:
    """Let an empty place be like that installation, which takes a tenth of the time of another one."""
    data, statements = stage
    shutil.copytree(data, place.directory / "var")
    load(urlsplit(place.mariadb), statements)
    return place


@pytest.fixture
def migrated(stages: dict[str, tuple[Path, bytes]], on_mariadb: Place) -> Place:
    return copy_of(stages["migrate"], on_mariadb)


@pytest.fixture
def initialised(stages: dict[str, tuple[Path, bytes]], on_mariadb: Place) -> Place:
    return copy_of(stages["init-db"], on_mariadb)


@pytest.fixture
def migrated_place(place: Place, schema: Path | None, request: pytest.FixtureRequest) -> Place:
    """Return an installation whose database has its tables and nothing in them."""
    if place.mariadb:
        return copy_of(request.getfixturevalue("stages")["migrate"], place)
    begin_on(schema, place.directory / "var")
    return place


def until(holds: Callable[[], bool], what: Callable[[], str]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not holds():
        assert time.monotonic() < deadline, what()
        time.sleep(0.05)


def serves(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=30) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def test_processes_that_start_together_set_it_up_once(place: Place) -> None:
    # Replicas share a database of MariaDB alone.
    ports = [free_port() for _ in range(2 if place.mariadb else 1)]
    begun = [place.begin("run", "--no-worker", "--port", str(port)) for port in ports]
    begun.append(place.begin("init-db"))

    def written() -> str:
        return "\n".join(output.read_text() for _, output in begun)

    for port in ports:
        until(lambda port=port: serves(port), written)  # type: ignore[misc]
    assert begun[-1][0].wait(WAIT_SECONDS) == 0, written()
    assert written().count("shown once") == 1
    assert "Traceback" not in written()


def test_a_process_that_waits_says_so(migrated_place: Place) -> None:
    place = migrated_place
    with place.locked():
        process, output = place.begin("init-db")
        until(lambda: "Another process is setting up this database" in output.read_text(), output.read_text)
        assert process.poll() is None
    assert process.wait(WAIT_SECONDS) == 0, output.read_text()
    assert "Keeper is initialised." in output.read_text()


def test_a_setup_that_was_killed_is_finished_by_the_next_start(place: Place) -> None:
    process, output = place.begin("init-db")
    if place.mariadb:
        until(lambda: len(place.sql("SHOW TABLES")) > 12, output.read_text)
    else:
        until((place.directory / "var" / "keeper.db-wal").exists, output.read_text)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it was done before it was killed"
    printed, verified = place.run(["init_db"], ["verify_audit"])
    assert "Keeper is initialised." in printed
    assert verified.endswith(", 0 problems")


def test_a_new_database_that_holds_half_a_migration_starts_over(migrated: Place) -> None:
    # As if the process had been killed between the statement and its note.
    migrated.sql("DELETE FROM django_migrations WHERE app = 'sessions'")
    code, printed = migrated.finish("init-db")
    assert code == 0, printed
    assert "An earlier setup was stopped during the migration sessions.0001_initial" in printed
    assert "Keeper is initialised." in printed


def test_it_says_how_many_migrations_waited(initialised: Place) -> None:
    initialised.sql("DROP TABLE keeper_project_runningprocess")
    initialised.sql("DELETE FROM django_migrations WHERE app = 'keeper_project' AND name LIKE '0005_%'")
    assert "Keeper was initialised before; 1 migrations were applied." in initialised.run(["init_db"])[0]
    assert "Keeper was initialised before; nothing changed." in initialised.run(["init_db"])[0]


OURS = ("audit_app", "environments_app", "secrets_app", "sync_app", "keeper_project")


def as_before_the_squash() -> list[tuple[str, str]]:
    """Return Keeper's migrations as a database of an earlier commit records them."""
    on_disk = MigrationLoader(None, ignore_no_migrations=True).disk_migrations
    return [old for (app, _), migration in on_disk.items() if app in OURS for old in migration.replaces]


def record(place: Place, migrations: list[tuple[str, str]]) -> None:
    """Let the database name these in place of the squashed migrations."""
    # Applying a squashed migration records those that it replaces as well.
    place.sql("DELETE FROM django_migrations WHERE name LIKE '0001_squashed_%'")
    for app, name in as_before_the_squash():
        place.sql(f"DELETE FROM django_migrations WHERE app = '{app}' AND name = '{name}'")
    for app, name in migrations:
        place.sql(
            f"INSERT INTO django_migrations (app, name, applied) VALUES ('{app}', '{name}', '2026-11-27')"
        )


def test_a_database_from_before_the_squash_is_brought_up_to_date(initialised: Place) -> None:
    assert len(as_before_the_squash()) == 48
    record(initialised, as_before_the_squash())
    _, verified = initialised.run(["init_db"], ["verify_audit"])
    assert verified.endswith(", 0 problems")
    assert initialised.sql("SELECT COUNT(*) FROM django_migrations WHERE name LIKE '0001_squashed_%'") == (
        (5,),
    )


def test_a_database_that_has_some_of_the_squashed_migrations_only_is_left_as_it_is(
    initialised: Place,
) -> None:
    record(
        initialised,
        [each for each in as_before_the_squash() if each != ("sync_app", "0010_versions_on_plan_lines")],
    )
    code, printed = initialised.finish("init-db")
    assert code == 1, printed
    assert "but not sync_app.0010_versions_on_plan_lines" in printed
    assert "Traceback" not in printed
    assert initialised.sql("SELECT username FROM environments_app_user") == (("admin",),)


def test_half_a_migration_of_a_database_in_use_is_named(initialised: Place) -> None:
    initialised.sql("DELETE FROM django_migrations WHERE app = 'sessions'")
    for command in ("init-db", "run"):
        code, printed = initialised.finish(command)
        assert code == 1, printed
        assert "The migration sessions.0001_initial is half applied" in printed
        assert "Traceback" not in printed
    assert initialised.sql("SELECT username FROM environments_app_user") == (("admin",),)
