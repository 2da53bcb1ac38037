"""`kpr diff`: which names differ between two environments. The server compares, and sends no value."""

import sys
from argparse import Namespace

from kpr.api import Api, path_of
from kpr.cli.output import print_document
from kpr.errors import Exit, UsageError
from kpr.settings import Settings

_SAME = "same"


def diff(options: Namespace, settings: Settings, api: Api) -> int:
    """Print the names that differ, and return 1 if there are any, else 0. Raises KprError."""
    left, right = options.left, options.right
    if left == right:
        raise UsageError("Name two different environments.")
    rows = api.get(path_of("environments", left, "compare", right)).document()["results"]
    below = settings.prefixes
    compared = [
        row for row in rows if not below or any(f"{row['name']}/".startswith(f"{each}/") for each in below)
    ]
    apart = [row for row in compared if row["difference"] != _SAME]
    if options.format == "json":
        print_document({"left": left, "right": right, "compared": len(compared), "differences": apart})
    else:
        words = {"only_left": f"only in {left}", "only_right": f"only in {right}"}
        for row in apart:
            sys.stdout.write(f"{row['name']}: {words.get(row['difference'], 'differs')}\n")
    return int(Exit.DIFFERENT if apart else Exit.DONE)
