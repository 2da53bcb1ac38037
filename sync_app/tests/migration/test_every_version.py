"""Each version of a real OpenBao is here after the worker, the database and the source were killed in between.

The long form (`make torture`) has MIGRATION_SECRETS (10,000) secrets of five versions, and prints what took how long.
"""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import MySQLdb
import pytest
import requests

from tests.processes import begin_on
from tests.servers.__main__ import installation
from tests.servers.mariadb import MariaDb
from tests.servers.openbao import OpenBao

ROOT: Final = Path(__file__).resolve().parents[3]
PATIENCE_SECONDS: Final = 900
VERSIONS: Final = 5
THREADS: Final = 6
# From so many secrets on, a fault falls inside its pass.
LOOKED_AT: Final = 1_000
UNICODE: Final = 'pässwörd 🔑 \u2028 <&> "quoted" \\ \t'
KINDS: Final = ("text", "json", "unicode", "numbers", "deleted", "destroyed", "trimmed", "mixed")
# One in so many of the texts is as long as a value may be.
LARGE: Final = 20
# What the worker runs whenever it takes the message of a migration, until that has ended.
WORK: Final = """
import time, django
django.setup()
from sync_app.models import Migration
from sync_app.tasks import execute_migration
while (state := Migration.objects.get().state) in {"planning", "planned", "applying"}:
    time.sleep(0.1) if state == "planned" else execute_migration(1)
    time.sleep(0.02)
"""
SECRETS: Final = int(os.environ.get("MIGRATION_SECRETS", "10000"))
SHORT: Final = pytest.param(130, 1, 1, id="short")
QUIET: Final = pytest.param(SECRETS, 0, 0, id="undisturbed", marks=pytest.mark.torture)
LONG: Final = pytest.param(SECRETS, 20, 5, id="long", marks=pytest.mark.torture)


class Old:
    """An OpenBao of its own, which may be killed, and what was written to it."""

    def __init__(self, server: OpenBao) -> None:
        self.server, self.url = server, f"http://127.0.0.1:{server.port}"
        self._session = requests.Session()
        self._session.headers["X-Vault-Token"] = server.token
        self._session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=THREADS))

    def ask(self, method: str, path: str, body: Any = None) -> requests.Response:
        return self._session.request(method, f"{self.url}/v1/secret/{path}", json=body, timeout=60)

    def fill(self, count: int) -> None:
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(self._put, range(count)))
        self.ask("DELETE", "metadata/ready")

    def _put(self, number: int) -> None:
        kind, path = KINDS[number % len(KINDS)], path_of(number)
        first = 1
        if kind == "trimmed":
            self.ask("POST", f"metadata/{path}", {"max_versions": VERSIONS}).raise_for_status()
            first = -2
        for version in range(first, VERSIONS + 1):
            body = {"data": content(number, version)}
            self.ask("POST", f"data/{path}", body).raise_for_status()
        if kind in {"deleted", "destroyed"}:
            act = "delete" if kind == "deleted" else "destroy"
            self.ask("POST", f"{act}/{path}", {"versions": [2, 4]}).raise_for_status()

    def versions(self, number: int) -> dict[int, tuple[str, str | None, datetime]]:
        """Return the state, the object of fields as it was written, and the time of each version there."""
        path, found = path_of(number), {}
        for version, facts in self.ask("GET", f"metadata/{path}").json()["data"]["versions"].items():
            state = "destroyed" if facts["destroyed"] else "deleted" if facts["deletion_time"] else "readable"
            reply = self.ask("GET", f"data/{path}?version={version}")
            assert (reply.status_code == 200) == (state == "readable")
            fields = tree(reply.text)["data"]["data"] if state == "readable" else None
            found[int(version)] = (state, fields, moment(facts["created_time"]))
        return found


def path_of(number: int) -> str:
    return f"team-{number % 17}/app/s{number}"


def content(number: int, version: int) -> dict[str, Any]:
    text = f"{number} in version {version}"
    match KINDS[number % len(KINDS)]:
        case "json":
            return {"user": "app", "nested": {"list": [1, None, True, text], "empty": {}}, "a b": "<&>"}
        case "unicode":
            return {"value": f"{UNICODE}{text}"}
        case "numbers":
            return {"a": 1.10, "b": 12345678901234567890123, "c": 1e3, "d": 10**18, "e": version}
        case "mixed":
            return {"value": text} if version % 2 else {"value": text, "other": version}
        case "text" if number // len(KINDS) % LARGE == 0:
            return {"value": text.ljust(65_536, "x")}
    return {"value": text}


def tree(text: str) -> Any:
    """Return JSON with its numbers as they are written."""
    return json.loads(
        text, parse_float=lambda each: ("number", each), parse_int=lambda each: ("number", each)
    )


def moment(text: str) -> datetime:
    whole, _, rest = text.rstrip("Z").partition(".")
    return datetime.fromisoformat(f"{whole}.{(rest + '000000')[:6]}+00:00")


class Installed:
    """A Keeper of its own, whose worker is a process that may be killed."""

    def __init__(self, data: Path, schema: Path | None, server: MariaDb | None) -> None:
        self._server, self._data = server, data
        self.variables = {
            **installation(data),
            "KEEPER_OUTBOUND_ALLOWED": "127.0.0.0/8",
            "DJANGO_SETTINGS_MODULE": "keeper_project.settings",
            "PYTHONPATH": str(ROOT),
            "PATH": os.environ["PATH"],
        }
        begin_on(None if server else schema, data)
        if server:
            self.variables["DATABASE_URL"] = server.environment()["KEEPER_TEST_MARIADB_URL"]

    def query(self, statement: str) -> Any:
        if self._server:
            at = urlsplit(self.variables["DATABASE_URL"])
            rows: Any = MySQLdb.connect(host=at.hostname, port=at.port, user="root", db="keeper")
        else:
            rows = sqlite3.connect(self._data / "keeper.db", timeout=60)
        with closing(rows):
            cursor = rows.cursor()
            cursor.execute(statement)
            found = cursor.fetchone()
            rows.commit()
            return found[0] if found else None

    def count(self, what: str) -> int:
        return int(self.query(f"SELECT COUNT(*) FROM {what}"))

    def has(self, table: str) -> bool:
        """Return whether a table, which may not be there yet, has a row."""
        try:
            return self.count(table) > 0
        except (sqlite3.OperationalError, MySQLdb.ProgrammingError):
            return False

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        with (self._data / "worker.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, *command], cwd=ROOT, env=self.variables, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def work(self) -> subprocess.Popen[bytes]:
        # The lease of the one before is over.
        self.query("UPDATE sync_app_migration SET lease_until = '2000-01-01 00:00:00', due_at = NULL")
        return self.start("-c", WORK)

    @property
    def state(self) -> str:
        return str(self.query("SELECT state FROM sync_app_migration"))


def until(holds: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while process.poll() is None and time.monotonic() < end and not holds():
        time.sleep(0.02)


def kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def carry_with_faults(
    keeper: Installed, process: subprocess.Popen[bytes], what: str, total: int, end: str,
    faults: Sequence[Callable[[subprocess.Popen[bytes]], None]],
) -> subprocess.Popen[bytes]:  # fmt: skip
    """Let workers carry a pass on; each fault happens once some more of it is done. Return the last worker."""
    interrupted = 0
    for number, fault in enumerate(faults, 1):
        share = total * number // (len(faults) + 1)
        until(lambda share=share: keeper.count(what) >= share, process)  # type: ignore[misc]
        fault(process)
        interrupted += 0 < keeper.count(what) < total
        if process.poll() is not None:
            process = keeper.work()
    until(lambda: keeper.state not in {"planning", "applying"}, process)
    assert keeper.state == end
    # A short pass may end before it is looked at once more, on a machine that is busy.
    assert interrupted or not faults or total < LOOKED_AT, "each fault came before or after the pass"
    return process


def differences(old: Old, export: Path, count: int) -> list[str]:
    """Compare each version with the source's, by the specification of an equal one."""
    here: dict[str, tuple[dict[str, Any], dict[int, dict[str, Any]]]] = {}
    names: dict[str, str] = {}
    with export.open(encoding="utf-8") as lines:
        for line in map(json.loads, lines):
            if "version" in line:
                here[names[line["secret"]]][1][line["number"]] = line
            elif "name" in line:
                names[line["secret"]] = line["name"]
                here[line["name"]] = (line, {})

    def compare(number: int) -> list[str]:
        secret, mine = here.get(path_of(number), ({}, {}))
        theirs = old.versions(number)
        if mine.keys() != theirs.keys() or len(mine) != VERSIONS or secret["current"] != max(theirs):
            return [f"{number}: {sorted(mine)} here, {sorted(theirs)} there"]
        return [f"{number} version {each}" for each in mine if not equal(mine[each], *theirs[each])]

    def equal(line: dict[str, Any], state: str, fields: Any, written: datetime) -> bool:
        number, value, origin = line["number"], line["value"], line["origin"]
        if (line["state"], origin["number"], datetime.fromisoformat(origin["written"])) != (
            state,
            number,
            written,
        ):
            return False
        if fields is None or (fields.keys() == {"value"} and fields["value"] == value):
            return fields is not None or value is None
        return bool(value.startswith("{") and tree(value) == fields)

    with ThreadPoolExecutor(THREADS) as pool:
        return [each for found in pool.map(compare, range(count)) for each in found]


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Old]:
    with OpenBao(tmp_path_factory.mktemp("old")) as server:
        yield Old(server)


@pytest.fixture(params=["sqlite", pytest.param("mariadb", marks=pytest.mark.torture)])
def keeper(
    request: pytest.FixtureRequest, tmp_path: Path, schema: Path | None
) -> Iterator[tuple[Installed, MariaDb | None]]:
    if request.param == "sqlite":
        yield Installed(tmp_path / "var", schema, None), None
        return
    with MariaDb(tmp_path) as server:
        yield Installed(tmp_path / "var", schema, server), server


@pytest.mark.parametrize(("count", "workers", "servers"), [SHORT, QUIET, LONG])
def test_killed(
    keeper: tuple[Installed, MariaDb | None], old: Old, tmp_path: Path, count: int, workers: int, servers: int
) -> None:
    installed, database = keeper
    token = tmp_path / "token"
    token.write_text(old.server.token, encoding="utf-8")
    took: dict[str, float] = {}

    def step(name: str, act: Callable[[], Any]) -> Any:
        begun = time.monotonic()
        done = act()
        took[name] = round(time.monotonic() - begun, 1)
        return done

    def kill_source(process: subprocess.Popen[bytes]) -> None:
        old.server.kill()
        waits = "SELECT 1 FROM sync_app_migration WHERE due_at IS NOT NULL OR state IN ('planned', 'done')"
        until(lambda: installed.query(waits), process)
        old.server.start_again()
        installed.query("UPDATE sync_app_migration SET due_at = NULL")

    def kill_database(process: subprocess.Popen[bytes]) -> None:
        if database:
            database.kill()
            process.wait(PATIENCE_SECONDS)
            database.start_again()
        else:
            kill(process)

    if not old.ask("GET", f"metadata/{path_of(count - 1)}").ok:
        step("fill", lambda: old.fill(count))
    faults = [*[kill] * workers, *[kill_source, kill_database] * servers]
    random.Random(count).shuffle(faults)
    half = len(faults) // 2
    begin = json.dumps([
        ["init_db"],
        ["migrate_from", "vault", old.url, "--token-file", str(token), "--rule", "secret=development"],
    ])  # fmt: skip
    lines = "sync_app_migrationline"

    def start() -> subprocess.Popen[bytes]:
        # The command is a worker as well.
        begun = installed.start("-m", "tests.several_commands", begin)
        until(lambda: bool(faults) and installed.has(lines), begun)
        kill(begun)
        return installed.work()

    process = step("begin", start)
    process = step(
        "plan", lambda: carry_with_faults(installed, process, lines, count, "planned", faults[:half])
    )
    # As a person's act leaves it, for whichever worker comes first.
    installed.query("UPDATE sync_app_migration SET state = 'applying'")
    carried = "sync_app_migrationline WHERE state = 'carried'"
    process = step(
        "apply", lambda: carry_with_faults(installed, process, carried, count, "done", faults[half:])
    )
    assert process.wait(PATIENCE_SECONDS) == 0
    assert installed.count("secrets_app_secret WHERE live") == count
    assert installed.count("secrets_app_secretversion") == VERSIONS * count
    assert installed.count("secrets_app_versionorigin") == VERSIONS * count
    events = (
        "SELECT SUM(m.size) FROM audit_app_auditevent e JOIN audit_app_readmanifest m ON m.id = e.manifest_id"
    )
    assert installed.query(f"{events} WHERE e.action = 'secret.migrate'") == VERSIONS * count
    out = tmp_path / "all.jsonl"
    tmp_path.chmod(0o700)
    name = "keeper" if database else "keeper.db"
    commands = [["verify_audit"], ["export_all", "json", str(out), "--plain"]]
    written = step("verify and export", lambda: subprocess.run(
        [sys.executable, "-m", "tests.several_commands", json.dumps(commands)], cwd=ROOT, env=installed.variables, input=f"{name}\n", text=True, capture_output=True, check=False,
    ))  # fmt: skip
    assert written.returncode == 0, written.stdout + written.stderr
    assert step("compare", lambda: differences(old, out, count)) == []
    print(json.dumps({"secrets": count, "database": "MariaDB" if database else "SQLite", **took}))  # noqa: T201
