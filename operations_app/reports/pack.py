"""An evidence pack: the compliance report of a period, and the segment of the audit log that proves it.

The report is written first. An event records the SHA-256 of its files, and a checkpoint signs that event
before the log is exported. `docs/verify_offline.py --file` so finds each byte that was changed afterwards.
"""

import hashlib
import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final
from zipfile import ZIP_DEFLATED, ZipFile

from audit_app.checkpoints.schedule import anchor_log
from audit_app.errors import SigningRefused
from audit_app.events import streams
from audit_app.events.actions import Action
from audit_app.models import deployment_uuid
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import commit_record
from audit_app.retention.bundles import bundle, checkpoint_before
from core.canonical_json import utc_text
from core.db.snapshot import snapshot
from environments_app.authorization.policy import Principal
from environments_app.reviews.evidence import begin_of, last_event, review_lines, reviews_between
from operations_app.reports.formats import FORMATS
from operations_app.reports.service import ALL, make

_REPORTS: Final = ("report.html", "report.json")
EVENTS: Final = "events.jsonl"
README: Final = "README.txt"
_README: Final = """Evidence pack of Keeper, installation {deployment}
{since} to {until}

report.html   the report, to read and to print
report.json   the same with all rows
review-*.jsonl  a review of access: who had what when it began, and each decision
events.jsonl  the audit log since then, signed: it begins after a checkpoint before that time

To verify it you need Python 3.10 with the package cryptography, and three things that are not from this pack:
verify_offline.py of Keeper's documentation, the public key that you wrote down before, and the file of
checkpoints that you fetched from a sink.

    python3 verify_offline.py events.jsonl --public-key KEY --checkpoint FILE \\
        {files}
"""


def write_pack(
    path: Path, *, actor: Principal, since: datetime | None = None, until: datetime | None = None
) -> None:
    """Write a pack to a new file, for its owner alone. Goes over the network, to the sinks of checkpoints.

    Raises what `make` and `anchor_log` raise, BadBundle, SigningRefused, or OSError; then there is no file.
    """
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "w+b") as file:
        try:
            _write(file, actor, since, until)
        except BaseException:
            path.unlink()
            raise


def _write(file: BinaryIO, actor: Principal, since: datetime | None, until: datetime | None) -> None:
    report = make(actor=actor, key=ALL, since=since, until=until)
    with ZipFile(file, "x", ZIP_DEFLATED) as archive:
        with snapshot():
            # The events up to this one tell which reviews must be among them.
            through = last_event()
            reviews = {
                f"review-{review.uuid}.jsonl": review
                for review in reviews_between(report.scope.since, report.scope.until)
            }
            after = checkpoint_before(begin_of(report.scope.since, reviews.values()))
        readme = _README.format(
            files=" ".join(f"--file {name}" for name in (*_REPORTS, *reviews, README)),
            deployment=deployment_uuid(),
            since=f"{report.scope.since:%Y-%m-%d %H:%M} UTC",
            until=f"{report.scope.until:%Y-%m-%d %H:%M} UTC",
        )
        digests = {README: _add(archive, README, [readme.encode()])}
        digests |= {
            name: _add(archive, name, FORMATS[name.partition(".")[2]].write(report)) for name in _REPORTS
        }
        for name, review in reviews.items():
            with snapshot():
                digests[name] = _add(archive, name, review_lines(review))
        commit_record(
            actor=actor,
            action=Action.TRAIL_EXPORT,
            stream=streams.SYSTEM,
            object=AuditObject("trail", deployment_uuid(), "evidence pack"),
            details={
                "files": {**digests},
                "reviews_through": through,
                "after": after.number if after else 0,
                "since": utc_text(report.scope.since),
                "until": utc_text(report.scope.until),
            },
        )
        if anchor_log(at_once=True) is None:
            raise SigningRefused("this installation is not active, so nothing of it is signed")
        with snapshot():
            _add(archive, EVENTS, bundle(after=after))


def _add(archive: ZipFile, name: str, pieces: Iterable[bytes]) -> str:
    """Write a file of a pack, piece by piece, and return its SHA-256."""
    digest = hashlib.sha256()
    with archive.open(name, "w", force_zip64=True) as out:
        for piece in pieces:
            out.write(piece)
            digest.update(piece)
    return digest.hexdigest()
