"""`kpr run --watch`: start the command again when a secret that it uses has changed.

The manifest of the environment is polled with its ETag: an unchanged environment costs one 304 and no
event. Only if the manifest differs are values read, and only if what the command gets differs is it started
again.
"""

import random
import sys
from argparse import Namespace
from contextlib import ExitStack, suppress

from kpr.api import Api, path_of
from kpr.errors import KprError, NoAnswerError, UnreachableError
from kpr.running.process import Supervisor
from kpr.running.run import Prepared, masked, placed, prepare
from kpr.settings import Settings

_LONGEST_WAIT = 300.0
_PATIENCE = 10.0
_UNCHANGED = 304
# Each wait is longer or shorter by up to this share, so that many clients do not ask at once.
_JITTER = 0.1


def watch(options: Namespace, settings: Settings, api: Api, core_limits: object) -> int:
    """Run the command until it ends, and start it again on a change. Raises KprError for the first start."""
    manifest = Manifest(api, settings)
    # If no server answers, an offline copy may be there, and the next look finds every change.
    with suppress(NoAnswerError):
        manifest.has_changed()
    prepared = prepare(options, settings, api)
    with Supervisor(core_limits) as supervisor:
        while True:
            with ExitStack() as stack:
                variables = placed(prepared, options, stack)
                supervisor.start(options.command, variables, masked(prepared, options, stack))
                found = _until_changed(options, settings, api, supervisor, manifest, prepared)
                if isinstance(found, int):
                    return found
                prepared = found
                sys.stderr.write("kpr: a secret has changed; starting the command again\n")
                supervisor.stop(_PATIENCE)


class Manifest:
    """What the token may read, by the ETag of the whole."""

    def __init__(self, api: Api, settings: Settings) -> None:
        self._api = api
        self._path = path_of("environments", settings.required_environment(), "manifest")
        self._prefixes = settings.prefixes or ("",)
        self._last: dict[str, tuple[str, bytes]] = {}

    def has_changed(self) -> bool:
        """Ask, and return whether the manifest of a prefix differs from the last one. Raises KprError."""
        # Each is asked, so that the next look finds no change of this one again.
        return sum(self._differs(prefix) for prefix in self._prefixes) > 0

    def _differs(self, prefix: str) -> bool:
        etag, body = self._last.get(prefix, ("", b""))
        headers = {"If-None-Match": etag} if etag else {}
        query = {"prefix": prefix} if prefix else {}
        answer = self._api.send("GET", self._path, query=query, headers=headers, accepted=(_UNCHANGED,))
        if answer.status == _UNCHANGED or answer.body == body:
            return False
        self._last[prefix] = answer.headers.get("etag", ""), answer.body
        return True


def _until_changed(
    options: Namespace,
    settings: Settings,
    api: Api,
    supervisor: Supervisor,
    manifest: Manifest,
    prepared: Prepared,
) -> int | Prepared:
    """Return the code of a command that has ended, or what it gets now."""
    wait, has_failed, is_due = float(options.watch_interval), False, False
    while True:
        share = random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - spreads load, protects nothing
        code = supervisor.wait(wait * share)
        if code is not None:
            return code
        try:
            # Still due if the values could not be read after the manifest had changed.
            is_due = manifest.has_changed() or is_due
            found = prepare(options, settings, api) if is_due else prepared
        except KprError as error:
            if not has_failed:
                sys.stderr.write(f"kpr: cannot look for changes, the command runs on: {error}\n")
            has_failed, wait = True, min(wait * 2, _LONGEST_WAIT)
            if not isinstance(error, UnreachableError):
                wait = _LONGEST_WAIT
            continue
        wait, has_failed, is_due = float(options.watch_interval), False, False
        if found != prepared:
            return found
