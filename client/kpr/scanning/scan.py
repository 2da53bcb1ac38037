"""`kpr scan`: find secrets of known kinds, and values of Keeper by their fingerprints, in files.

It works on this machine alone. A finding names the place and the kind, never what was found.
"""

import sys
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from kpr.api import Api
from kpr.cli.output import print_document, print_result
from kpr.errors import FoundError, UsageError
from kpr.running.run import read_export
from kpr.scanning.fingerprints import Fingerprints
from kpr.scanning.patterns import ALLOWED, find_patterns
from kpr.scanning.sources import files, is_scanned, staged
from kpr.settings import Settings, resolve


@dataclass(frozen=True)
class Finding:
    """Where a secret is, and what it is."""

    path: str
    line: int
    kind: str


def learn(options: Namespace, settings: Settings, api: Api) -> int:
    """Store the fingerprints of the environment's values. Raises KprError."""
    environment = settings.required_environment()
    count = Fingerprints(settings.server).learn(environment, read_export(settings, api).document())
    told = {"environment": environment, "secrets": count}
    return print_result(options, told, f"Learned the fingerprints of {count} secrets of {environment}.")


def scan(options: Namespace) -> int:
    """Scan and print the findings. Raises FoundError if there are any, or UsageError."""
    if options.staged and options.paths:
        raise UsageError("--staged takes no paths.")
    known = _fingerprints(options)
    found, skipped, seen = list[Finding](), 0, 0
    for path, content in staged() if options.staged else files(options.paths):
        if not is_scanned(content):
            skipped += 1
            continue
        seen += 1
        found += _findings(path, content.decode("utf-8", "surrogateescape"), known)
    _report(options, found, seen, skipped)
    if found:
        raise FoundError(
            f"{len(found)} found: remove them and rotate what was shared, or mark a false one by {ALLOWED}."
        )
    return 0


def _findings(path: str, text: str, known: Fingerprints | None) -> Iterator[Finding]:
    lines = text.split("\n")
    found = set(find_patterns(text))
    if known is not None:
        found |= {
            (place, f"value of {name}") for place, line in enumerate(lines) for name in known.find(line)
        }
    for place, kind in sorted(found):
        if ALLOWED not in lines[place]:
            yield Finding(path, place + 1, kind)


def _fingerprints(options: Namespace) -> Fingerprints | None:
    """Return what was learned of the server that is configured, if any is and anything was."""
    try:
        known = Fingerprints(resolve(options).server)
    except UsageError:
        return None
    return known if known.load() else None


def _report(options: Namespace, found: list[Finding], seen: int, skipped: int) -> None:
    if options.format == "json":
        print_document({"findings": [asdict(each) for each in found], "files": seen, "skipped": skipped})
        return
    for each in found:
        place = each.path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        sys.stdout.write(f"{place}:{each.line}: {each.kind}\n")
    if not found:
        sys.stdout.write(f"Nothing found in {seen} files ({skipped} binary or large ones skipped).\n")
