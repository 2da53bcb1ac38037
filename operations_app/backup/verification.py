"""Proves a backup: that it opens here, is whole and genuine, and that what is in it is sound.

The rows are loaded into a throw-away SQLite database, and Keeper verifies that as it verifies itself: every
event of the chain, every row MAC, every value against its fingerprint. Nothing else is touched.

Everything that Keeper checks, it checks against its default connection. So a process that proves a backup
points that connection at a file of its own, loads the backup there and checks it as it would check itself.
This is for a process of its own alone, such as a command: what the process remembers of keys and of the
deployment is dropped before and after.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final

from django.apps import apps
from django.conf import settings
from django.contrib.contenttypes.models import ContentType
from django.db import DEFAULT_DB_ALIAS, DatabaseError, OperationalError, connection, connections, transaction
from django.db.migrations.loader import MigrationLoader
from django.utils.module_loading import import_string

from audit_app.errors import KeyringUnavailable
from audit_app.integrity.check_registry import Problem, run_checks
from audit_app.interfaces import Keyring, forget_keyring, keyring
from audit_app.models import StreamHead, deployment_uuid, forget_deployment
from audit_app.verification.stream_verifier import verify
from audit_app.verification.stream_walker import VerificationStats
from core.config.database_url import database_settings
from operations_app.backup.archive import rows
from operations_app.backup.archive.format import BackupFile, open_backup
from operations_app.backup.archive.manifest import Manifest, open_file_key
from operations_app.backup.archive.rows import Progress
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
        with tempfile.TemporaryDirectory(prefix="proof-", dir=folder) as place:
            entry = database_settings(f"sqlite:///{Path(place) / 'proof.db'}", base_dir=folder)
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


def verify_backup(path: Path) -> Proof:
    """Return what a backup is, after everything about it was checked; see `proved`."""
    with verified_backup(path) as (proof, _):
        return proof


@contextmanager
def verified_backup(path: Path) -> Iterator[tuple[Proof, "OpenedBackup"]]:
    """Prove a backup, and give it open, with the keys that the proof has opened.

    For a process of its own. Raises Malformed, Truncated or Altered if the file is not what Keeper
    wrote, KeyMissing if a key it needs cannot be used here, OtherRelease if it was made by a release
    with other tables, Incomplete if rows are missing, Unwritable if there is no room to check it.
    """
    with open_backup(path) as file:
        manifest = file.manifest
        require_release(manifest)
        key = open_file_key(manifest.file_key, deployment=manifest.deployment, backup=manifest.backup)
        with scratch_database():
            proof = _examined(manifest, file, key)
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

    Raises what reading and inserting raise, and Incomplete if the counts are not the manifest's.
    """
    counts, counted = rows.load(file.lines(key), progress), file.manifest.counts
    differing = sorted(name for name in counts if counts[name] != counted.get(name))
    if differing or counts.keys() != counted.keys():
        named = ", ".join(differing) or "its list of tables"
        raise Incomplete(f"the backup does not hold what its manifest counts: {named}")
    return file.digest()[0]


def require_release(manifest: Manifest) -> None:
    """Raise OtherRelease unless this release's tables are those that were backed up."""
    ours = {model._meta.app_label for model in rows.tables()}
    differing = sorted(
        name for name in _migrations_that_differ(set(manifest.migrations)) if name.partition(".")[0] in ours
    )
    if differing:
        listed = ", ".join(differing[:5]) + (" and others" if differing[5:] else "")
        raise OtherRelease(
            f"the backup was made by another release of Keeper (they differ in {listed}): restore it with "
            "that release, and update afterwards"
        )


def _migrations_that_differ(there: set[str]) -> set[str]:
    """Return the migrations of one side only; a squashed migration equals all that it replaces."""
    missing, known = set(), set()
    for key, migration in MigrationLoader(None, ignore_no_migrations=True).disk_migrations.items():
        name, replaced = ".".join(key), {".".join(each) for each in migration.replaces}
        known |= {name, *replaced}
        if name not in there and not (replaced and replaced <= there):
            missing.add(name)
    return missing | there - known


def _examined(manifest: Manifest, file: BackupFile, key: bytes) -> Proof:
    try:
        with transaction.atomic():
            load_rows(file, key)
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
    proof = Proof(manifest=manifest, digest=file.require_signature(), data_keys=data_keys)
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
        raise Altered("the heads of the trail are not those that the manifest names")
