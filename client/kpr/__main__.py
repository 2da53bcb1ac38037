"""The entry of kpr: parses the command line, loads what the command needs, and turns errors into one line."""

import sys

try:
    import json
    import os
    from argparse import Namespace
    from collections.abc import Sequence
    from importlib import import_module
    from itertools import pairwise

    from kpr.cli.parser import build
    from kpr.errors import CommandError, DefectError, Exit, KprError, OutputError, UsageError
except KeyboardInterrupt:
    # Interrupted before there is a command, as `main` ends it.
    sys.exit(130)

# Each is loaded when it is needed, so that `kpr run` starts fast.
_COMMANDS = {
    "run": "kpr.running.run:run",
    "shell": "kpr.running.run:shell",
    "get": "kpr.commands:get",
    "list": "kpr.commands:list_secrets",
    "set": "kpr.commands:set_secret",
    "generate": "kpr.changing:generate",
    "delete": "kpr.changing:delete",
    "rename": "kpr.changing:rename",
    "versions": "kpr.changing:versions",
    "rollback": "kpr.changing:rollback",
    "export": "kpr.exporting:export",
    "template": "kpr.templating:template",
    "diff": "kpr.comparing:diff",
    "import": "kpr.importing:import_file",
    "scan": "kpr.scanning.scan:scan",
    "learn": "kpr.scanning.scan:learn",
    "login": "kpr.commands:login",
    "logout": "kpr.commands:logout",
    "whoami": "kpr.commands:whoami",
    "status": "kpr.status:status",
    "init": "kpr.commands:init",
    "completion": "kpr.cli.completion:completion",
    "man": "kpr.cli.manual:manual",
    "version": "kpr.commands:version",
}
# They become or start another program, which has the exit codes but one.
_RUN = frozenset({"run", "shell"})
# They get the options alone.
_LOCAL = frozenset({"scan", "init", "completion", "man", "version"})
# The status is that of the token as well.
_WITHOUT_TOKEN = frozenset({"login", "logout", "status"})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["_complete"]:
        # Of the scripts of `kpr completion`, and no command.
        from kpr.cli.names import complete  # noqa: PLC0415 - only there

        return complete(given[1:])
    is_json = "--format=json" in given or ("--format", "json") in pairwise(given)
    # Until the command line is parsed, for what is wrong in it.
    verb = next((each for each in given if not each.startswith("-")), "")
    options = Namespace(verb=verb, format="json" if is_json else "text")
    try:
        options = _parse(given)
        _require_output(options)
        try:
            return _dispatch(options)
        finally:
            # Python would do it at its end, and complain there of a reader that has gone.
            if sys.stdout is not None:
                sys.stdout.flush()
    except KprError as error:
        return _fail(error, options)
    except KeyboardInterrupt:
        return int(Exit.INTERRUPTED)
    except OSError as error:
        return _not_written(error, options)
    except Exception as error:  # noqa: BLE001 - it ends here: a traceback or its text could show a value
        return _fail(_defect(error), options)


def _require_output(options: Namespace) -> None:
    if sys.stdout is None and options.verb not in _RUN:
        raise OutputError("Standard output is closed: send it to a file, or to /dev/null.")


def _not_written(error: OSError, options: Namespace) -> int:
    """Return the code of an output or a file that failed; a reader that has gone is none."""
    if error.filename is None and sys.stdout is not None:
        # So that Python's own flush at its end reaches nothing that fails again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(error, BrokenPipeError):
        return int(Exit.DONE)
    return _fail(OutputError(f"{error.filename or 'The output'}: {error.strerror}."), options)


def _defect(error: Exception) -> KprError:
    """Return what is reported of a defect of kpr: its kind and its place, and nothing of its text."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f"{trace.tb_frame.f_globals.get('__name__', '?')}:{trace.tb_lineno}" if trace else "?"
    return DefectError(f"kpr failed: {type(error).__name__} at {place}. This is a defect: report this line.")


def _parse(given: list[str]) -> Namespace:
    """Return the options; what follows the first `--` is the command of `run`."""
    head, command = given, list[str]()
    if "--" in given:
        cut = given.index("--")
        head, command = given[:cut], given[cut + 1 :]
    options = build().parse_args(head)
    options.command = command
    if command and options.verb != "run":
        raise UsageError("Only kpr run takes a command after --.")
    return options


def _dispatch(options: Namespace) -> int:
    """Load what the command needs, and run it. Raises KprError."""
    verb = "learn" if getattr(options, "learn", False) else options.verb
    module, _, name = _COMMANDS[verb].partition(":")
    command = getattr(import_module(module), name)
    if verb in _LOCAL:
        return int(command(options))
    from kpr.api import Api  # noqa: PLC0415 - not for what needs no server
    from kpr.running.process import no_core_dump  # noqa: PLC0415 - as above
    from kpr.settings import resolve  # noqa: PLC0415 - as above

    settings = resolve(options)
    if os.environ.get("KPR_AGENT_SAFE"):
        from kpr.running.guard import refuse_values  # noqa: PLC0415 - only there

        refuse_values(options)
    if verb not in _RUN:
        # Of `run` its command gets the limit back.
        no_core_dump()
    api = Api(settings.server, debug=options.debug)
    if verb not in _WITHOUT_TOKEN:
        from kpr.signin.credentials import find_token, source_of  # noqa: PLC0415 - not for --help

        api.token = find_token(settings, debug=options.debug)
        api.ends_token = source_of(settings) == "trust"
    if settings.offline_hours and verb in {*_RUN, "get", "template"}:
        api.tries, api.seconds = 1, 10.0
    try:
        return int(command(options, settings, api))
    finally:
        api.end()


def _fail(error: KprError, options: Namespace) -> int:
    code = int(error.code)
    if options.verb in _RUN and not isinstance(error, CommandError):
        # The command has the other codes.
        code = int(Exit.OWN_FAILURE)
    text = " ".join(str(error).split())
    told = json.dumps({"error": text, "code": code}) if options.format == "json" else f"kpr: {text}"
    sys.stderr.write(f"{told}\n")
    return code


def run_and_exit() -> None:
    """Run one command and end the process (the entry of the zipapp)."""
    sys.exit(main())


if __name__ == "__main__":
    run_and_exit()
