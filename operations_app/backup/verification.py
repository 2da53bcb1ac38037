"""Proves a backup: that it opens here, is whole and genuine, and that what is in it is sound.

The rows are loaded into a throw-away SQLite database, and Keeper verifies that as it verifies itself: every
event of the chain, every row MAC, every value against its fingerprint. Nothing else is touched.

Everything that Keeper checks, it checks against its default connection. So a process that proves a backup
points that connection at a file of its own, loads the backup there and checks it as it would check itself.
This is for a process of its own alone, such as a command: what the process remembers of keys and of the
deployment is dropped before and after.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final

from django.apps import apps
from django.conf import settings
from django.contrib.contenttypes.models import ContentType
from django.db import DEFAULT_DB_ALIAS, DatabaseError, OperationalError, connection, connections, transaction
from django.db.migrations import AddField, CreateModel, Migration, RunPython
from django.db.migrations.loader import MigrationLoader
from django.utils.module_loading import import_string

from audit_app.errors import KeyringUnavailable
from audit_app.integrity.check_registry import Problem, run_checks
from audit_app.interfaces import Keyring, forget_keyring, keyring
from audit_app.models import StreamHead, deployment_uuid, forget_deployment
from audit_app.verification.stream_verifier import verify
from audit_app.verification.stream_walker import ReportingStats, VerificationStats
from core.config.database_url import database_settings
from operations_app.backup.archive import rows
from operations_app.backup.archive.format import BackupFile, open_backup, unfinished_folder
from operations_app.backup.archive.manifest import Manifest, open_file_key
from operations_app.backup.archive.rows import Added, Progress
from operations_app.backup.errors import Altered, Incomplete, KeyMissing, OtherRelease, Unwritable
from secrets_app.errors import EnvelopeError, KeyRefused, KeyUnavailable
from secrets_app.keys.data_keys import forget_data_keys
from secrets_app.keys.wrapping import unwrap
from secrets_app.models import DataKey


@contextmanager
def scratch_database(*, tables: bool = True) -> Iterator[None]:
    """Let the default connection lead to a new, empty SQLite database, with Keeper's tables if wanted.

    Raises Unwritable if KEEPER_DATA_DIR does not take it.
    """
    folder = Path(settings.KEEPER_DATA_DIR)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with unfinished_folder(folder, "proof") as place:
            entry = database_settings(f"sqlite:///{place / 'proof.db'}", base_dir=folder)
            # This file need not survive a power failure.
            entry["OPTIONS"]["init_command"] = "PRAGMA synchronous=OFF; PRAGMA journal_mode=MEMORY;"
            with standing_in(entry, tables=tables):
                yield
    except OSError as error:
        raise Unwritable(f"there is no room to prove the backup in {folder}: {error.strerror}") from error


@contextmanager
def standing_in(entry: dict[str, Any], *, tables: bool = True) -> Iterator[None]:
    """Let the default connection lead to an empty database, an entry of DATABASES, and make the tables."""
    own = connections[DEFAULT_DB_ALIAS]
    unset = dict.fromkeys(("USER", "PASSWORD", "HOST", "PORT"), "")
    engine = import_string(f"{entry['ENGINE']}.base.DatabaseWrapper")
    stand_in = engine({**own.settings_dict, **unset, "CONN_HEALTH_CHECKS": False, **entry}, DEFAULT_DB_ALIAS)
    connections[DEFAULT_DB_ALIAS] = stand_in
    _forget()
    try:
        if tables:
            _make_tables()
        yield
    finally:
        stand_in.close()
        connections[DEFAULT_DB_ALIAS] = own
        _forget()


def _make_tables() -> None:
    try:
        with connection.schema_editor() as editor:
            for model in apps.get_models():
                if model._meta.managed and not model._meta.proxy:
                    editor.create_model(model)
    except OperationalError as error:
        raise Unwritable(f"there is no room for a database: {error}") from error


def _forget() -> None:
    forget_keyring()
    forget_deployment()
    forget_data_keys()
    ContentType.objects.clear_cache()


_PROBLEMS_SHOWN: Final = 100
VERIFIED: Final = "audit log, verified"


@dataclass(kw_only=True)
class Proof:
    """What a backup was found to be.

    `problems` are damage that the installation had when it was backed up: the file is genuine,
    and holds it. Only the first hundred are kept; `damaged` counts all.
    """

    manifest: Manifest
    digest: str = ""
    data_keys: int = 0
    tally: VerificationStats = field(default_factory=VerificationStats)
    problems: list[Problem] = field(default_factory=list)
    damaged: int = 0


def verify_backup(path: Path, progress: Progress | None = None) -> Proof:
    """Return what a backup is, after everything about it was checked; see `proved`."""
    with verified_backup(path, progress) as (proof, _):
        return proof


@contextmanager
def verified_backup(path: Path, progress: Progress | None = None) -> Iterator[tuple[Proof, "OpenedBackup"]]:
    """Prove a backup, and give it open, with the keys that the proof has opened.

    For a process of its own. `progress(what, count)` is called as rows are loaded and events are verified.
    Raises Malformed, Truncated or Altered if the file is not what Keeper
    wrote, KeyMissing if a key it needs cannot be used here, OtherRelease if it was made by a later
    release, Incomplete if rows are missing, Unwritable if there is no room to check it.
    """
    with open_backup(path) as file:
        manifest = file.manifest
        later_migrations(manifest)
        key = open_file_key(manifest.file_key, deployment=manifest.deployment, backup=manifest.backup)
        with scratch_database():
            proof = _examined(manifest, file, key, progress or _silent)
            keys = keyring()
        yield proof, OpenedBackup(file=file, key=key, keys=keys)


@dataclass(frozen=True, kw_only=True)
class OpenedBackup:
    """A backup's file together with the key that opens it, and the system keys in it, open."""

    file: BackupFile
    key: bytes = field(repr=False)
    keys: Keyring = field(repr=False)


def load_rows(file: BackupFile, key: bytes, progress: Progress | None = None) -> str:
    """Insert every row, in the caller's transaction; return the SHA-256 of the file that was read.

    Rows of an earlier release become what its update would have made of them.

    Raises what reading and inserting raise, and Incomplete if the counts are not the manifest's.
    """
    later = later_migrations(file.manifest)
    counts, counted = rows.load(file.lines(key), progress, added=_added_by(later)), file.manifest.counts
    differing = sorted(name for name in counts if counts[name] != counted.get(name))
    if differing or counts.keys() != counted.keys():
        named = ", ".join(differing) or "its list of tables"
        raise Incomplete(f"the backup does not hold what its manifest counts: {named}")
    _run(later)
    return file.digest()[0]


def later_migrations(manifest: Manifest) -> list[Migration]:
    """Return the migrations that the backup's release had not, in their order.

    Raises OtherRelease if it was made by a later release, or by one from before a squashed migration.
    """
    there, loader = set(manifest.migrations), MigrationLoader(None, ignore_no_migrations=True)
    ours = {model._meta.app_label for model in rows.tables()}
    plan = dict.fromkeys(chain.from_iterable(map(loader.graph.forwards_plan, loader.graph.leaf_nodes())))
    later, known = [], set()
    for key in plan:
        migration, name = loader.disk_migrations[key], ".".join(key)
        replaced = {".".join(each) for each in migration.replaces}
        known |= {name, *replaced}
        if key[0] in ours and name not in there and not (replaced and replaced <= there):
            later.append(migration)
    differing = {name for name in there - known if name.partition(".")[0] in ours}
    differing |= {f"{each.app_label}.{each.name}" for each in later if each.replaces}
    if differing:
        named = sorted(differing)
        listed = ", ".join(named[:5]) + (" and others" if named[5:] else "")
        raise OtherRelease(
            f"the backup was made by another release of Keeper (they differ in {listed}): restore it with "
            "that release, and update afterwards"
        )
    return later


def _added_by(migrations: Iterable[Migration]) -> Added:
    added = set()
    for migration in migrations:
        for each in migration.operations:
            if isinstance(each, AddField):
                added.add((f"{migration.app_label}.{each.model_name_lower}", each.name.lower()))
            elif isinstance(each, CreateModel):
                added.add((f"{migration.app_label}.{each.name_lower}", ""))
    return frozenset(added)


def _run(migrations: Iterable[Migration]) -> None:
    """Change the rows as the migrations do at an update."""
    for migration in migrations:
        for each in migration.operations:
            if isinstance(each, RunPython):
                state = MigrationLoader(None).project_state((migration.app_label, migration.name))
                each.code(state.apps, connection.schema_editor())


def _silent(_what: str, _count: int) -> None:
    """Report nothing."""


def _examined(manifest: Manifest, file: BackupFile, key: bytes, progress: Progress) -> Proof:
    try:
        with transaction.atomic():
            load_rows(file, key, progress)
            connection.check_constraints()
    except OperationalError as error:
        raise Unwritable(f"there is no room to prove the backup in {settings.KEEPER_DATA_DIR}") from error
    except DatabaseError as error:
        raise Altered(f"the rows of the backup do not fit together ({type(error).__name__})") from error
    if deployment_uuid() != manifest.deployment:
        raise Altered("the manifest names another deployment than the rows")
    # Before any key is opened, which may add an event.
    _require_heads(manifest)
    data_keys = _open_every_key()
    tally = ReportingStats(lambda events: progress(VERIFIED, events))
    proof = Proof(manifest=manifest, digest=file.require_signature(), data_keys=data_keys, tally=tally)
    found = chain(verify(tally=proof.tally), run_checks())
    proof.problems = list(islice(found, _PROBLEMS_SHOWN))
    proof.damaged = len(proof.problems) + sum(1 for _ in found)
    return proof


def _open_every_key() -> int:
    """Open each data key, and the system keys; return their number.

    Raises KeyMissing if one does not open here.
    """
    try:
        keyring().open_all()
        opened = 0
        for row in DataKey.objects.select_related("environment").order_by("pk").iterator(chunk_size=500):
            unwrap(row)
            opened += 1
    except (KeyUnavailable, KeyRefused, EnvelopeError, KeyringUnavailable) as error:
        raise KeyMissing(f"a key that the backup needs does not open here: {error}") from error
    return opened


def _require_heads(manifest: Manifest) -> None:
    stored = StreamHead.objects.values_list("stream", "sequence", "hash")
    heads = {stream: (sequence, bytes(tip).hex()) for stream, sequence, tip in stored}
    if heads != {stream: (head.sequence, head.hash) for stream, head in manifest.heads.items()}:
        raise Altered("the heads of the audit log are not those that the manifest names")
