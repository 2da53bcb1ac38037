"""`keeper X` is `manage.py X`, also in the brief's spelling, and says clearly what is wrong."""

import json
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from unittest.mock import Mock

import pytest
from django.db import ProgrammingError
from django.db.migrations.recorder import MigrationRecorder

from keeper_project.runtime import cli
from keeper_project.runtime.cli import translate
from tests.processes import begin_on

ROOT = Path(__file__).resolve().parents[3]


def keeper(*arguments: str, data: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    return subprocess.run(
        [sys.executable, "-m", "keeper_project.runtime.cli", *arguments],
        cwd=ROOT,
        env={**inherited, "KEEPER_DATA_DIR": str(data), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("init-db", "init_db"),
        ("reset-db --yes", "reset_db --yes"),
        ("migrate", "migrate"),
        ("migrate secrets_app 0001", "migrate secrets_app 0001"),
        ("migrate --plan", "migrate --plan"),
        ("migrate to-kms --dry-run", "migrate_to_kms --dry-run"),
        (
            "migrate to-kms --environment production --no-dry-run",
            "migrate_to_kms --environment production --no-dry-run",
        ),
        ("migrate rollback-kms backup-file.json", "rollback_kms backup-file.json"),
        ("rollback-kms backup-file.json", "rollback_kms backup-file.json"),
        ("kms test-connection", "kms test-connection"),
        ("verify-audit --stream system", "verify_audit --stream system"),
        ("run --host 0.0.0.0 --port 8989", "run --host 0.0.0.0 --port 8989"),
        ("--version", "--version"),
        ("", ""),
    ],
)
def test_it_translates_the_briefs_spelling(typed: str, meant: str) -> None:
    assert translate(typed.split()) == meant.split()


def test_it_runs_a_command(tmp_path: Path) -> None:
    done = keeper("show-urls-of-nothing", data=tmp_path)
    assert done.returncode == 1
    assert "Unknown command: 'show_urls_of_nothing'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "typed", ["issue-token --environment development --role reader --name a", "verify-audit", "backup"]
)
def test_it_makes_nothing_before_the_database_is_set_up(tmp_path: Path, typed: str) -> None:
    done = keeper(*typed.split(), data=tmp_path / "var")
    assert done.returncode == os.EX_TEMPFAIL
    assert done.stderr == f"keeper: {cli.NOT_SET_UP}\n"
    assert list(tmp_path.rglob("*")) == []


def test_the_keys_of_a_database_that_is_not_set_up_are_not_shown(tmp_path: Path) -> None:
    done = keeper("kms", "key-info", data=tmp_path / "var")
    assert done.returncode == os.EX_TEMPFAIL
    assert done.stderr.endswith(f"keeper: {cli.NOT_SET_UP}\n")


@pytest.mark.parametrize(
    ("typed", "code"),
    [("status --format json", 2), ("alerts --format json", 75), ("tokens list --format=json", 75)],
)
def test_in_json_the_problem_is_a_document(tmp_path: Path, typed: str, code: int) -> None:
    done = keeper(*typed.split(), data=tmp_path / "var")
    told = json.loads(done.stdout)
    assert (done.returncode, told["exit_code"], told["status"]) == (code, code, "unavailable")
    assert told["problem"] == cli.NOT_SET_UP


@pytest.mark.parametrize("typed", ["verify-audit", "alerts --format json"])
def test_a_database_that_does_not_answer_has_a_code_of_its_own(tmp_path: Path, typed: str) -> None:
    url = "mysql://keeper:none@127.0.0.1:1/keeper"
    done = keeper(*typed.split(), data=tmp_path, DATABASE_URL=url)
    assert done.returncode == os.EX_TEMPFAIL
    assert "Can't use the database at DATABASE_URL" in done.stderr
    assert ("Can't use the database" in done.stdout) == ("json" in typed)


@pytest.mark.parametrize("typed", ["backup", "verify-audit", "kms key-info", "tokens list --format json"])
def test_a_database_that_waits_for_migrations_says_so(
    tmp_path: Path, schema: Path | None, typed: str
) -> None:
    if schema is None:
        return
    data = tmp_path / "var"
    begin_on(schema, data)
    with closing(sqlite3.connect(data / "keeper.db")) as database, database:
        database.execute("DELETE FROM django_migrations WHERE app = 'environments_app' AND name > '0040'")
        for table in ("environment", "servicetoken"):
            database.execute(f"ALTER TABLE environments_app_{table} RENAME COLUMN name TO later")
    done = keeper(*typed.split(), data=data)
    assert done.returncode == os.EX_TEMPFAIL
    assert done.stderr.startswith("keeper: The database waits for its migrations")
    assert "keeper init-db" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("typed", "waits"),
    [("backup", True), ("restore f --compare", True), ("restore f", False), ("init_db", False)],
)
def test_what_migrates_itself_is_not_told_to(typed: str, *, waits: bool) -> None:
    lacks = ProgrammingError(1146, "Table 'keeper.environments_app_a' doesn't exist")
    assert cli._sentence(lacks, typed.split()) == ("", False)
    MigrationRecorder.Migration.objects.filter(app="environments_app", name__gt="0040").delete()
    assert ("waits for its migrations" in cli._sentence(lacks, typed.split())[0]) == waits


def test_help_names_keepers_own_commands_with_a_line_each(tmp_path: Path) -> None:
    done = keeper("--help", data=tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^  init-db +Migrate the database", done.stdout, re.MULTILINE)
    assert re.search(r"^  issue-token +Issue a service token", done.stdout, re.MULTILINE)
    assert not re.search(r"^ +(flush|startapp|auditlogflush|sqlsequencereset)", done.stdout, re.MULTILINE)
    assert max(map(len, done.stdout.splitlines())) < 120


@pytest.mark.parametrize("typed", ["flush", "auditlogflush --yes", "sqlflush"])
def test_it_refuses_what_deletes_without_a_record(tmp_path: Path, typed: str) -> None:
    done = keeper(*typed.split(), data=tmp_path)
    assert done.returncode == 1
    assert "deletes rows without a record" in done.stderr


def test_a_database_without_tables_is_not_set_up(tmp_path: Path) -> None:
    (tmp_path / "keeper.db").touch()
    done = keeper("verify-audit", data=tmp_path)
    assert "has not been set up" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["keeper.db"]


def test_a_new_folder_for_a_database_that_is_set_up_gets_its_files(
    tmp_path: Path, schema: Path | None
) -> None:
    begin_on(schema, tmp_path / "var")
    assert "has not been set up" not in keeper("approvals", "list", data=tmp_path / "var").stderr
    assert {"secret_key", "token_pepper"} < {path.name for path in (tmp_path / "var").iterdir()}


def test_manage_py_takes_the_same_words(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "compliance-report", "--help"],
        cwd=ROOT, env={**os.environ, "KEEPER_DATA_DIR": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "usage: manage.py compliance-report" in done.stdout


def test_it_writes_files_for_its_own_user_only(tmp_path: Path) -> None:
    data = tmp_path / "var"
    assert keeper("check", data=data).returncode == 0
    assert data.stat().st_mode & 0o077 == 0


def test_it_says_in_a_line_which_database_it_does_not_know(tmp_path: Path) -> None:
    done = keeper("check", data=tmp_path, DATABASE_URL="oracle://keeper:hunter2@db/keeper")
    assert done.returncode == 2
    assert done.stderr.startswith("keeper: DATABASE_URL: the scheme 'oracle' is unknown")
    assert len(done.stderr.splitlines()) == 1
    assert "hunter2" not in done.stderr


@pytest.mark.parametrize(
    ("module", "typed"),
    [(None, "status"), ("raise ImportError('libmariadb.so.3')", "status"), (None, "verify-audit")],
)
def test_a_driver_that_cannot_be_loaded_is_named_with_what_to_install(
    tmp_path: Path, module: str | None, typed: str
) -> None:
    if module:
        (tmp_path / "MySQLdb.py").write_text(module)
    else:
        (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['MySQLdb'] = None")
    url = "mysql://keeper:none@127.0.0.1:1/keeper"
    done = keeper(
        typed, "--format", "json", data=tmp_path / "var", DATABASE_URL=url, PYTHONPATH=str(tmp_path)
    )
    document = json.loads(done.stdout)
    assert (done.returncode, document["exit_code"], document["status"]) == (2, 2, "misconfigured")
    assert "needs mysqlclient: apt-get install" in document["problem"]
    assert done.stderr == f"keeper: {document['problem']}\n"


def test_settings_that_a_check_refuses_end_a_command_as_wrong_options_do(
    tmp_path: Path, schema: Path | None
) -> None:
    begin_on(schema, tmp_path / "var")
    done = keeper("verify-audit", "--format=json", data=tmp_path / "var", KEEPER_TRUSTED_PROXIES="nowhere")
    document = json.loads(done.stdout)
    assert (done.returncode, document["exit_code"], document["status"]) == (2, 2, "misconfigured")
    assert "KEEPER_TRUSTED_PROXIES" in document["problem"]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KEEPER_TOKEN_DEFAULT_DAYS", "hunter2"),
        ("KEEPER_APPROVAL_HOURS", "1,5"),
        ("KEEPER_DIGEST_HOUR", "six"),
        ("KMS_ENCRYPTION_CONTEXT", "team=payments"),
    ],
)
def test_a_setting_that_cannot_be_read_is_named(tmp_path: Path, name: str, value: str) -> None:
    done = keeper("status", "--format", "json", data=tmp_path, **{name: value})
    document = json.loads(done.stdout)
    assert (done.returncode, document["exit_code"], document["status"]) == (2, 2, "misconfigured")
    assert document["problem"].startswith(f"{name}: Keeper cannot read its value. Set a ")
    assert done.stderr == f"keeper: {document['problem']}\n"
    assert value not in done.stderr


@pytest.mark.parametrize(
    ("typed", "code", "status"),
    [("verify-audit", 1, "damaged"), ("access", os.EX_TEMPFAIL, "unavailable")],
)
def test_only_verification_ends_with_the_code_of_damage_by_a_file_that_is_no_database(
    tmp_path: Path, typed: str, code: int, status: str
) -> None:
    (tmp_path / "keeper.db").write_bytes(b"x" * 8192)
    done = keeper(typed, "--format", "json", data=tmp_path, DATABASE_URL=f"sqlite:///{tmp_path}/keeper.db")
    document = json.loads(done.stdout)
    assert (done.returncode, document["exit_code"], document["status"]) == (code, code, status)
    assert "The database is damaged: file is not a database." in document["problem"]


@pytest.mark.parametrize(
    "typed", [["backup"], ["activate", "--yes"], ["kms", "rotate", "--reencrypt", "--format=json"]]
)
def test_what_needs_keys_that_do_not_open_ends_as_unavailable(
    tmp_path: Path, schema: Path | None, typed: list[str]
) -> None:
    data = tmp_path / "var"
    begin_on(schema, data)
    assert keeper("init-db", data=data).returncode == 0
    (data / "local.key").write_bytes(b"k" * 32)
    done = keeper(*typed, data=data)
    assert done.returncode == os.EX_TEMPFAIL, done.stderr
    assert "put the right key file" in done.stderr
    if "--format=json" in typed:
        assert json.loads(done.stdout)["status"] == "unavailable"


@pytest.mark.parametrize("typed", [["status"], ["kms", "key-info"], ["kms", "test-connection"], ["backup"]])
def test_a_key_file_that_is_gone_is_named_and_not_made_again(
    tmp_path: Path, schema: Path | None, typed: list[str]
) -> None:
    data = tmp_path / "var"
    begin_on(schema, data)
    assert keeper("init-db", data=data).returncode == 0
    (data / "local.key").unlink()
    done = keeper(*typed, data=data)
    assert done.returncode
    assert "local.key cannot be read (No such file or directory)" in done.stdout + done.stderr
    assert not (data / "local.key").exists()


def test_in_json_a_refusal_is_a_document(tmp_path: Path, schema: Path | None) -> None:
    begin_on(schema, tmp_path / "var")
    done = keeper("kms", "rotate", "--environment", "absent", "--format", "json", data=tmp_path / "var")
    problem = "Environment not found."
    assert json.loads(done.stdout) == {"exit_code": 2, "status": "failed", "problem": problem}
    assert (done.returncode, done.stderr) == (2, f"CommandError: {problem}\n")


def test_it_says_in_a_line_that_the_database_does_not_answer(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/missing/keeper.db"
    done = keeper("init-db", data=tmp_path, DATABASE_URL=url, KEEPER_LOG_FILE="-")
    assert done.returncode == os.EX_TEMPFAIL
    (line,) = [each for each in done.stderr.splitlines() if not each.startswith("{")]
    assert line.startswith("keeper: Can't use the database at DATABASE_URL: unable to open database file")
    assert "Traceback" in keeper("init-db", "--traceback", data=tmp_path, DATABASE_URL=url).stderr


def test_status_says_that_the_database_does_not_answer_and_exits_with_2(tmp_path: Path) -> None:
    done = keeper("status", data=tmp_path, DATABASE_URL="mysql://keeper:hunter2@127.0.0.1:1/keeper")
    assert done.returncode == 2
    assert re.search(r"  database: 200\d: Can't connect to .*127\.0\.0\.1", done.stdout)
    assert "hunter2" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_status_exits_with_2_before_the_database_is_set_up(tmp_path: Path) -> None:
    done = keeper("status", data=tmp_path / "var")
    assert done.returncode == 2
    assert done.stderr.startswith("keeper: The database has not been set up.")
    assert list(tmp_path.rglob("*")) == []


def test_it_says_in_a_line_that_it_cannot_write_its_data() -> None:
    done = keeper("check", data=Path("/dev/null/var"), SECRET_KEY="")
    assert done.returncode == 2
    assert done.stderr.startswith("keeper: ")
    assert "/dev/null" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("serves", [False, True])
def test_what_is_loaded_is_set_aside_before_a_command_and_the_rest_is_collected(
    monkeypatch: pytest.MonkeyPatch, *, serves: bool
) -> None:
    collector = Mock()
    monkeypatch.setattr(cli, "gc", collector)
    monkeypatch.setattr(cli, "_run", collector.command)
    cli._execute(["check"], needs_setup=False, serves=serves)
    # Where Keeper serves, the supervisor does so once all of it is loaded.
    before = [] if serves else ["freeze", "set_threshold", "enable"]
    assert [name for name, _, _ in collector.method_calls] == [*before, "command"]


@pytest.mark.parametrize("table", ["secrets_app_secretversion", "audit_app_auditevent"])
def test_a_damaged_file_of_sqlite_is_named_by_verification_and_backup(
    tmp_path: Path, schema: Path | None, table: str
) -> None:
    if schema is None:
        return
    data = tmp_path / "var"
    begin_on(schema, data)
    assert keeper("init-db", data=data).returncode == 0
    assert keeper("verify-audit", data=data).returncode in {0, 1}
    file = data / "keeper.db"
    with closing(sqlite3.connect(file)) as database:
        (root,) = database.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", [table]).fetchone()
        (size,) = database.execute("PRAGMA page_size").fetchone()
    with file.open("r+b") as pages:
        pages.seek((root - 1) * size)
        pages.write(b"\xff" * size)
    verified = keeper("verify-audit", data=data)
    assert verified.returncode == 1
    assert "restore the last backup" in verified.stdout + verified.stderr
    assert "damaged" in verified.stdout + verified.stderr
    backed_up = keeper("backup", "--output", str(tmp_path / "made.kbk"), data=data)
    assert backed_up.returncode == os.EX_TEMPFAIL
    assert "Traceback" not in verified.stderr + backed_up.stderr
    assert "keeper: The database is damaged" in backed_up.stderr
    assert not (tmp_path / "made.kbk").exists()
