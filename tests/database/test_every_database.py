"""Code that writes SQL itself is tested on every database at each run of the suite."""

import re
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
APPS: Final = (
    "core",
    "audit_app",
    "environments_app",
    "secrets_app",
    "sync_app",
    "gateway_app",
    "operations_app",
    "keeper_project",
)
# Claims, prepared queries and snapshots are Django's own SQL; to name a statement or an error is not to write it.
WRITES_SQL: Final = re.compile(
    r"^\s*from core\.db(?: import (?:bulk|statements)\b|\.(?:sqlite3|mariadb|mariadb_tls)\b"
    r"|\.bulk import (?!(?:BATCH, )?in_batches$)|\.statements import (?!(?:(?:Precondition|Statement|have_rows)(?:, |$))+$)"
    r"|\.concurrency import (?!(?:(?:claim|unleased|is_disk_full|reason_of|repeatable)(?: as \w+)?(?:, |$))+$))"
    r"|\bcursor\(\)|\.raw\(|\bRawSQL\(",
    re.MULTILINE,
)
# A module of its own for connections to other systems, whose SQL is theirs.
OTHER_SYSTEMS: Final = "sync_app/rotators/"

TESTED_BY: Final = {
    "core/db/bulk.py": "audit_app/tests/db/test_bulk_sql.py sync_app/tests/applying/test_applying.py",
    "core/db/mariadb/base.py": "core/tests/db/test_hosts.py tests/database/test_lost_transactions.py",
    "core/db/mariadb/schema.py": "core/tests/db/test_schema.py",
    "core/db/mariadb_tls/base.py": "keeper_project/tests/test_init_db.py",
    "core/db/prepared.py": "audit_app/tests/db/test_prepared.py",
    "core/db/statements.py": "audit_app/tests/recording/test_recorder.py audit_app/tests/db/test_joint_queries.py",
    "audit_app/integrity/active_installation.py": "audit_app/tests/integrity/test_moved_databases.py",
    "audit_app/integrity/database_file.py": "audit_app/tests/integrity/test_database_file.py",
    "environments_app/approvals/gate.py": "secrets_app/tests/services/test_concurrent_guards.py",
    "audit_app/queries/search_index.py": "audit_app/tests/queries/test_search_index.py",
    "audit_app/queries/usage_index.py": "audit_app/tests/queries/test_usage_index.py",
    "audit_app/queries/stream_follower.py": "audit_app/tests/queries/test_usage_index.py",
    "secrets_app/queries/last_asked.py": "secrets_app/tests/queries/test_last_asked.py",
    "audit_app/recording/event_store.py": "audit_app/tests/recording/test_concurrency.py",
    "environments_app/operator_jobs.py": "environments_app/tests/test_verify_audit.py",
    "environments_app/tokens/authentication.py": "tests/database/test_write_statements.py",
    "operations_app/backup/restore.py": "operations_app/tests/backup/restoring/test_restore.py",
    "core/db/snapshot.py": "operations_app/tests/backup/test_backup.py",
    "operations_app/health/service.py": "operations_app/tests/health/test_service.py",
    "operations_app/health/probes.py": "operations_app/tests/health/test_checking.py",
    "secrets_app/queries/listed.py": "tests/api/test_plain_list.py",
    "gateway_app/engine/process.py": "tests/operation/test_reads_under_kills.py",
    "gateway_app/engine/reads.py": "tests/api/test_recorded_read.py",
    "keeper_project/http/middleware.py": "tests/database/test_lost_transactions.py",
    "keeper_project/runtime/cli.py": "tests/database/test_lost_transactions.py",
    "core/http/problems.py": "tests/database/test_collisions.py",
    "keeper_project/runtime/database_setup.py": "keeper_project/tests/test_init_db.py",
    "secrets_app/key_operations/reencrypt.py": "secrets_app/tests/key_operations/test_key_rotation.py",
    "secrets_app/rows/bulk_insert.py": "secrets_app/tests/services/many_secrets/test_bulk_create.py",
    "secrets_app/rows/current_versions.py": ("secrets_app/tests/rows/test_current_version_rows.py"),
    "secrets_app/services/histories.py": "secrets_app/tests/services/test_histories.py",
    "sync_app/migration/passes.py": "sync_app/tests/migration/test_engine.py",
    "secrets_app/rows/store.py": "tests/database/test_write_statements.py",
    "secrets_app/rows/environment_snapshot.py": ("secrets_app/tests/rows/test_environment_snapshot.py"),
    "sync_app/applying/batch.py": "sync_app/tests/applying/test_applying.py",
    "sync_app/planning/service.py": "sync_app/tests/applying/test_applying.py",
    "sync_app/planning/sync_entries.py": "sync_app/tests/applying/test_applying.py",
    "sync_app/jobs/leases.py": "sync_app/tests/applying/processes/test_due.py sync_app/tests/jobs/test_resuming.py",
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
        for module, tests in TESTED_BY.items()
        for test in tests.split()
        if module.startswith(app)
        and not re.search(r"pytest\.mark\.every_database\b", (ROOT / test).read_text(encoding="utf-8"))
    }
    assert unmarked == set()
