"""The command that exports the audit log for verification without Keeper."""

import json
import os
import sys
from pathlib import Path
from typing import Any, BinaryIO

from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit_app.errors import BadBundle
from audit_app.events import actors, streams
from audit_app.events.actions import Action
from audit_app.models import deployment_uuid
from audit_app.recording.drafts import AuditObject
from audit_app.recording.recorder import commit_record
from audit_app.retention.bundles import bundle
from core.db.snapshot import snapshot
from core.listing import add_format


class Command(BaseCommand):
    help = "Write the audit log to a new file that docs/verify_offline.py checks without Keeper."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", help="the file to make, or - for standard output")
        parser.add_argument("--stream", action="append", help="this stream only; repeatable")
        add_format(parser)

    def handle(self, *_args: Any, **options: Any) -> None:
        stream_names = options["stream"]
        commit_record(
            actor=actors.system(),
            action=Action.TRAIL_EXPORT,
            stream=streams.SYSTEM,
            object=AuditObject("trail", deployment_uuid(), ", ".join(stream_names or ["all streams"])[:500]),
        )
        try:
            if options["file"] == "-":
                _write(sys.stdout.buffer, stream_names)
                return
            path = Path(options["file"])
            # Names and addresses are in it: for its owner alone, and never over another file.
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                try:
                    _write(file, stream_names)
                except BadBundle:
                    path.unlink()
                    raise
        except BadBundle as error:
            raise CommandError(f"Nothing was exported: {error}.") from error
        except OSError as error:
            raise CommandError(f"cannot write {options['file']}: {error.strerror}") from error
        if options["format"] == "json":
            self.stdout.write(json.dumps({"file": str(path)}))
            return
        self.stdout.write(f"Written to {path}. Verify it by docs/verify_offline.py.")


def _write(file: BinaryIO, streams: list[str] | None) -> None:
    with snapshot():
        file.writelines(bundle(streams))
