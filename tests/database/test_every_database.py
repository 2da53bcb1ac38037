"""Code that writes SQL itself is tested on every database at each run of the suite."""

import re
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
APPS: Final = ("core", "audit_app", "environments_app", "secrets_app", "sync_app", "keeper_project")
# Claims, prepared queries and snapshots are Django's own SQL; to name a statement, or to divide a list, is not to write it.
WRITES_SQL: Final = re.compile(
    r"^\s*from (?:audit_app|core)\.db\b"
    r"(?!\.batches\b|\.prepared\b|\.snapshot\b| import prepared\b|\.joint_queries import Statement$"
    r"|\.concurrency import (?:(?:claim|unleased|is_disk_full)(?: as \w+)?(?:, |$))+)"
    r"|\bcursor\(\)|\.raw\(|\bRawSQL\(",
    re.MULTILINE,
)
# A module of its own for connections to other systems, whose SQL is theirs.
OTHER_SYSTEMS: Final = "sync_app/rotators/"

TESTED_BY: Final = {
    "audit_app/db/bulk_sql.py": "audit_app/tests/db/test_bulk_sql.py",
    "audit_app/db/mariadb_tls/base.py": "keeper_project/tests/test_init_db.py",
    "audit_app/db/prepared.py": "audit_app/tests/db/test_prepared.py",
    "audit_app/db/raw_sql.py": "audit_app/tests/recording/test_recorder.py",
    "audit_app/db/joint_queries.py": "audit_app/tests/db/test_joint_queries.py",
    "audit_app/queries/search_index.py": "audit_app/tests/queries/test_search_index.py",
    "audit_app/recording/event_store.py": "audit_app/tests/recording/test_concurrency.py",
    "environments_app/tokens/authentication.py": "tests/database/test_write_statements.py",
    "keeper_project/backup/restore.py": "keeper_project/tests/backup/restoring/test_restore.py",
    "audit_app/db/snapshot.py": "keeper_project/tests/backup/test_backup.py",
    "keeper_project/health/service.py": "keeper_project/tests/health/test_service.py",
    "keeper_project/health/probes.py": "keeper_project/tests/health/test_checking.py",
    "secrets_app/queries/plain_pages.py": "tests/api/test_plain_list.py",
    "secrets_app/read_engine/batches.py": "tests/operation/test_reads_under_kills.py",
    "secrets_app/read_engine/recorded_read.py": "tests/api/test_recorded_read.py",
    "core/http/problems.py": "tests/database/test_collisions.py",
    "keeper_project/runtime/database_setup.py": "keeper_project/tests/test_init_db.py",
    "secrets_app/key_operations/version_rows.py": "secrets_app/tests/keys/rotation/test_key_rotation.py",
    "secrets_app/persistence/bulk_insert.py": "secrets_app/tests/services/many_secrets/test_bulk_create.py",
    "secrets_app/persistence/current_version_rows.py": (
        "secrets_app/tests/persistence/test_current_version_rows.py"
    ),
    "secrets_app/persistence/secret_store.py": "tests/database/test_write_statements.py",
    "secrets_app/services/write.py": "tests/database/test_write_statements.py",
    "secrets_app/persistence/environment_snapshot.py": (
        "secrets_app/tests/persistence/test_environment_snapshot.py"
    ),
    "sync_app/jobs/bulk_rows.py": "sync_app/tests/applying/test_applying.py",
    "sync_app/jobs/leases.py": "sync_app/tests/applying/processes/test_due.py",
    "sync_app/rotation/execution/schedule.py": "sync_app/tests/rotation/processes/test_workers.py",
    "sync_app/runs/schedule.py": "sync_app/tests/applying/processes/test_due.py",
    "sync_app/state/entry_rows.py": "sync_app/tests/applying/test_entry_rows.py",
}


def modules_with_sql() -> set[str]:
    return {
        path.relative_to(ROOT).as_posix()
        for app in APPS
        for path in (ROOT / app).rglob("*.py")
        if not {"tests", "migrations"} & set(path.relative_to(ROOT).parts)
        and WRITES_SQL.search(path.read_text(encoding="utf-8"))
        and not path.relative_to(ROOT).as_posix().startswith(OTHER_SYSTEMS)
    }


def test_each_module_with_sql_names_its_test() -> None:
    assert modules_with_sql() == TESTED_BY.keys()


@pytest.mark.parametrize("app", APPS)
def test_each_of_these_tests_runs_on_every_database(app: str) -> None:
    unmarked = {
        test
        for module, test in TESTED_BY.items()
        if module.startswith(app)
        and not re.search(r"pytest\.mark\.every_database\b", (ROOT / test).read_text(encoding="utf-8"))
    }
    assert unmarked == set()
