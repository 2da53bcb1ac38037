"""Names for the completion of a shell, asked of the server: silent and short, and never a value.

Nothing is stored: a list of names on the disk would be one more place where others find them.
"""

import os
import re
import sys
import threading
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence

from kpr.api import Api, path_of
from kpr.errors import KprError
from kpr.settings import Settings, resolve
from kpr.signin.credentials import token_for

ENVIRONMENTS, SECRETS = "environments", "secrets"
_SECONDS = 2.0
_MOST = 200
# What a shell takes for itself is in no name of Keeper, and a server must not bring it in.
_NAME = re.compile(r"[A-Za-z0-9_.+=@/-]{1,512}")
_OPTIONS = {"-e": "environment", "--environment": "environment", "--server": "server"}


def complete(words: Sequence[str]) -> int:
    """Print the names of a kind, for the words of a command line; nothing if they cannot be had. Return 0.

    The words are the kind, what is typed of the name, and the line before it.
    """
    # A look-up of an address cannot be ended otherwise.
    watchdog = threading.Timer(_SECONDS, os._exit, (0,))
    watchdog.daemon = True
    watchdog.start()
    try:
        kind, typed, *line = words
        settings = resolve(_options(line))
        api = Api(settings.server, tries=1, seconds=_SECONDS)
        api.token = token_for(settings)
        found = [name for name in _KINDS[kind](settings, api, typed) if _NAME.fullmatch(name)]
    except (KprError, KeyError, ValueError):
        found = []
    finally:
        watchdog.cancel()
    sys.stdout.write("".join(f"{name}\n" for name in found if name.startswith(typed)))
    return 0


def _environments(_: Settings, api: Api, __: str) -> Iterator[str]:
    rows = api.get("environments", {"limit": str(_MOST), "ordering": "name"}).document()["results"]
    return (row["name"] for row in rows)


def _secrets(settings: Settings, api: Api, typed: str) -> Iterator[str]:
    query = {"environment": settings.required_environment(), "ordering": "name", "limit": str(_MOST)}
    folder = typed.rpartition("/")[0]
    if folder:
        query["prefix"] = folder
    return (row["name"] for row in api.get(path_of("secrets"), query).document()["results"])


_KINDS: dict[str, Callable[[Settings, Api, str], Iterator[str]]] = {
    ENVIRONMENTS: _environments,
    SECRETS: _secrets,
}


def _options(line: Sequence[str]) -> Namespace:
    """Return the options of a line that decide where the names are asked for."""
    found = dict.fromkeys(_OPTIONS.values(), "")
    for place, word in enumerate(line):
        name, equals, value = word.partition("=")
        if name in _OPTIONS:
            found[_OPTIONS[name]] = value if equals else next(iter(line[place + 1 :]), "")
    return Namespace(**found)
