"""The `keeper` command: Django's and Keeper's management commands, also as the brief spells them."""

import ast
import gc
import importlib
import json
import os
import re
import signal
import sys
import warnings
from argparse import SUPPRESS
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any, Final, NoReturn

from django.core.exceptions import ImproperlyConfigured

from core.config import variables as config_env
from keeper_project import startup

if TYPE_CHECKING:
    from django.core.management.base import BaseCommand, CommandParser
    from django.db import DatabaseError

ROOT: Final = Path(__file__).resolve().parents[2]
NOT_SET_UP: Final = "The database has not been set up. Run `keeper init-db` (or `make run`) first."
_A_TABLE: Final = "environments_app_environment"
# Those that set it up, replace it, or try the keys that it will need.
BEFORE_SETUP: Final = frozenset({"run", "init_db", "reset_db", "restore", "kms"})
# They migrate: that migrations are missing is no reason for their failure.
_MIGRATES: Final = frozenset({"run", "init_db", "reset_db", "restore", "migrate"})
_LINE: Final = 90
# What a command gives each request to KMS: nobody waits for a page.
_KEY_SECONDS: Final = 60.0
_OBJECTS_BETWEEN_COLLECTIONS: Final = 50_000
# Their exit codes are for cron and scripts: 2 if the database does not tell.
TELLS_STATE: Final = frozenset({"status", "check_upgrade"})
CANNOT_TELL: Final = 2
# As for a wrong option; 1 is for what a command found or refused.
WRONG_SETTINGS: Final = 2
# What this one looks for: where the database cannot read itself, that is its result.
FINDS_DAMAGE: Final = "verify_audit"
FOUND_DAMAGE: Final = 1
# They delete rows without a record, the audit log's among them.
REFUSED: Final = frozenset({"flush", "sqlflush", "auditlogflush"})
_DJANGOS: Final = frozenset(
    {"version", "verbosity", "settings", "pythonpath", "traceback", "no_color", "force_color", "skip_checks"}
)
# Two words that mean one command; plain `keeper migrate` stays Django's.
PHRASES: Final = {("migrate", "to-kms"): "migrate_to_kms", ("migrate", "rollback-kms"): "rollback_kms"}


def translate(arguments: Sequence[str]) -> list[str]:
    """Return the arguments in Django's spelling: `init-db` becomes `init_db`."""
    for phrase, command in PHRASES.items():
        if tuple(arguments[: len(phrase)]) == phrase:
            return [command, *arguments[len(phrase) :]]
    if arguments and not arguments[0].startswith("-"):
        return [arguments[0].replace("-", "_"), *arguments[1:]]
    return list(arguments)


def requires_setup(arguments: Sequence[str]) -> bool:
    """Return whether a command of Keeper's works only on a database that has been set up."""
    command = arguments[0] if arguments else ""
    if command in BEFORE_SETUP or {"-h", "--help"} & set(arguments):
        return False
    return any(ROOT.glob(f"*_*/management/commands/{command}.py")) if command.isidentifier() else False


def overview() -> str:
    """Return Keeper's own commands with a line each; Django's are many, and most of them for developers."""
    lines = ["Usage: keeper COMMAND [OPTIONS]; `keeper COMMAND --help` describes one.", ""]
    for path in sorted(ROOT.glob("*_*/management/commands/[a-z]*.py"), key=lambda each: each.stem):
        sentence = re.split(r"[.;:] |\.$", _help_of(path))[0]
        lines.append(f"  {path.stem.replace('_', '-'):<18} {shorten(sentence, _LINE, placeholder=' …')}")
    return "\n".join(
        [*lines, "", "Django's commands work as well, such as `keeper migrate` and `keeper shell`."]
    )


def _help_of(path: Path) -> str:
    """Return the `help` that a command's module states; to load all these modules takes seconds."""
    texts = (
        ast.literal_eval(node.value)
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id == "help"
    )
    return str(next(texts))


def is_set_up() -> bool:
    """Return whether the database holds Keeper's tables; makes no file of SQLite. Raises OperationalError."""
    from django.db import connection  # noqa: PLC0415 - Django only once nothing is unmet

    if connection.vendor == "sqlite" and not Path(connection.settings_dict["NAME"]).exists():
        return False
    with warnings.catch_warnings():
        # Django warns of a query before its apps are loaded; loading them would write a log file.
        warnings.filterwarnings("ignore", message="Accessing the database during app initialization")
        tables = connection.introspection.table_names()
    connection.close()
    return _A_TABLE in tables


def unmet() -> list[str]:
    """Return what the settings ask for and this machine does not have.

    Asked before Django starts, which would end in a traceback at the first model.
    """
    from django.conf import settings  # noqa: PLC0415 - reading settings may fail, which `main` reports

    from keeper_project.startup import missing  # noqa: PLC0415 - only once its own packages are known to be there

    return list(
        missing(
            database_engine=settings.DATABASES["default"]["ENGINE"],
            redis_url=settings.REDIS_URL,
            broker_url=settings.CELERY_BROKER_URL,
            traces_url=settings.KEEPER_TRACES_URL,
        )
    )


def main() -> None:
    """Run the command that the program's arguments name."""
    # What Keeper writes, its database and keys above all, is for its own user.
    os.umask(0o077)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "keeper_project.settings")
    arguments = translate(sys.argv[1:])
    if arguments[:1] and arguments[0] in REFUSED:
        sys.exit(f"keeper: {arguments[0]} deletes rows without a record. To start over: `keeper reset-db`.")
    serves = arguments[:1] == ["run"] and not {"-h", "--help"} & set(arguments)
    # What is loaded stays: to go over it, last as Python ends, takes a third of a short command's CPU time.
    # `_execute` sets it aside and enables the collector for the rest, or the supervisor if Keeper serves.
    gc.disable()
    if serves:
        # Until the supervisor waits for it, Ctrl-C ends this process at once: Python would raise in whatever
        # runs, and drop the exception where that is a callback of the garbage collector.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    needs_setup = requires_setup(arguments)
    if needs_setup or arguments[:1] == ["restore"]:
        # Loading the settings would make a new installation's keys; a restore stores them once it is done.
        config_env.hold()
    try:
        port = startup.declare(arguments[1:]) if serves else None
        problems = unmet()
        if port is not None and not problems:
            startup.share_metrics(port)
            # It loads the client, which looks for what the line above has set.
            importlib.import_module("keeper_project.observability.metrics_file").write_metrics()
    except startup.CannotListen as error:
        sys.exit(f"keeper: {error}")
    except (ImproperlyConfigured, OSError) as error:
        problems = [str(error)]
    if problems:
        _end_by_settings(arguments, *problems)
    if arguments in ([], ["help"], ["--help"], ["-h"]):
        sys.stdout.write(f"{overview()}\n")
    else:
        _execute(arguments, needs_setup=needs_setup, serves=serves)


def _execute(arguments: Sequence[str], *, needs_setup: bool, serves: bool) -> None:
    import django  # noqa: PLC0415 - Django only once nothing is unmet
    from django.db import DatabaseError  # noqa: PLC0415 - Django only once nothing is unmet

    from audit_app.errors import KeyringUnavailable  # noqa: PLC0415 - Django only once nothing is unmet
    from secrets_app.errors import KeyUnavailable  # noqa: PLC0415 - Django only once nothing is unmet

    try:
        if needs_setup:
            _require_setup(arguments)
        django.setup()
        if not serves:
            gc.freeze()
            gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
            gc.enable()
            from secrets_app.keys.providers.registry import with_extended_timeout  # noqa: PLC0415 - Django only once nothing is unmet

            with with_extended_timeout(_KEY_SECONDS) if arguments[0] not in TELLS_STATE else nullcontext():
                _run_persistently(arguments)
            return
        _run(arguments)
    except config_env.MadeMeanwhile as error:
        sys.exit(f"keeper: {error}")
    except ImproperlyConfigured as error:
        if "--traceback" in arguments:
            raise
        _end_by_settings(arguments, str(error))
    except (KeyUnavailable, KeyringUnavailable) as error:
        if "--traceback" in arguments:
            raise
        _end(arguments, str(error))
    except DatabaseError as error:
        sentence, is_damage = _sentence(error, arguments)
        if "--traceback" in arguments or not sentence:
            raise
        _end(arguments, sentence, is_damage=is_damage)


def _end(arguments: Sequence[str], problem: str, *, is_damage: bool = False) -> NoReturn:
    """End a command that could not do its work: 1 is for what it found."""
    code, status = CANNOT_TELL if arguments[0] in TELLS_STATE else os.EX_TEMPFAIL, "unavailable"
    if is_damage and arguments[0] == FINDS_DAMAGE:
        code, status = FOUND_DAMAGE, "damaged"
    if _wants_json(arguments):
        _print_problem(code, status, problem)
    sys.stderr.write(f"keeper: {problem}\n")
    sys.exit(code)


def _end_by_settings(arguments: Sequence[str], *problems: str) -> NoReturn:
    """End a command that the settings, or packages that they need, do not let begin."""
    if _wants_json(arguments):
        _print_problem(WRONG_SETTINGS, "misconfigured", "\n".join(problems))
    sys.stderr.writelines(f"keeper: {problem}\n" for problem in problems)
    sys.exit(WRONG_SETTINGS)


def _wants_json(arguments: Sequence[str]) -> bool:
    return "--format json" in " ".join(arguments).replace("=", " ")


def _print_problem(code: int, status: str, problem: str) -> None:
    """Print the document of `--format json` in place of the one that the command could not make."""
    sys.stdout.write(json.dumps({"exit_code": code, "status": status, "problem": problem}) + "\n")


def _require_setup(arguments: Sequence[str]) -> None:
    """Exit unless the database is set up; `status` itself shows that a database is away."""
    from django.db import OperationalError  # noqa: PLC0415 - Django only once nothing is unmet

    try:
        if not is_set_up():
            _end(arguments, NOT_SET_UP)
    except OperationalError:
        if arguments[0] not in TELLS_STATE:
            raise
        return
    config_env.store_held()


def _run_persistently(arguments: Sequence[str]) -> None:
    """Run a command, and again if another writer won before it had stored anything."""
    from django.db import OperationalError  # noqa: PLC0415 - Django only once nothing is unmet

    from core.db.concurrency import Attempts, is_collision  # noqa: PLC0415 - Django only once nothing is unmet

    attempts = Attempts()
    while True:
        try:
            return _run(arguments)
        except OperationalError as error:
            if not is_collision(error) or not attempts.may_repeat(error):
                raise


def _sentence(error: "DatabaseError", arguments: Sequence[str]) -> tuple[str, bool]:
    """Return what an error of the database means, "" if it is a defect, and whether that is damage."""
    from django.db import OperationalError  # noqa: PLC0415 - Django only once nothing is unmet

    from audit_app.integrity.check_registry import is_damage  # noqa: PLC0415 - Django only once nothing is unmet
    from core.db.concurrency import reason_of  # noqa: PLC0415 - Django only once nothing is unmet

    reason = reason_of(error)
    if is_damage(error):
        remedy = "Stop Keeper, keep a copy of the file, and restore the last backup."
        return f"The database is damaged: {reason}. {remedy}", True
    if unready := _unready(arguments):
        return unready, False
    if isinstance(error, OperationalError):
        return f"Can't use the database at DATABASE_URL: {reason} (add --traceback for details).", False
    return "", False


def _unready(arguments: Sequence[str]) -> str:
    """Return what the database lacks that a command has failed on; "" for one that makes it itself."""
    from django.apps import apps  # noqa: PLC0415 - Django only once nothing is unmet
    from django.db import DatabaseError, connection  # noqa: PLC0415 - Django only once nothing is unmet

    from operations_app.health.schema import missing_migrations  # noqa: PLC0415 - Django only once nothing is unmet

    if not apps.ready or (arguments[0] in _MIGRATES and "--compare" not in arguments):
        return ""
    try:
        if _A_TABLE not in connection.introspection.table_names():
            return NOT_SET_UP
        lacks = len(missing_migrations())
    except DatabaseError:
        # It does not answer.
        return ""
    remedy = "Run `keeper check-upgrade`, then `keeper init-db`."
    return f"The database waits for its migrations, {lacks:,} of this release. {remedy}" if lacks else ""


def _run(arguments: Sequence[str]) -> None:
    """Run a command as Django does; the help of Keeper's own leaves out what Django adds to each."""
    import django.core.management  # noqa: PLC0415 - Django only once nothing is unmet
    from django.core.checks import Tags  # noqa: PLC0415 - Django only once nothing is unmet

    class Utility(django.core.management.ManagementUtility):
        def fetch_command(self, subcommand: str) -> "BaseCommand":
            command = super().fetch_command(subcommand)
            if not type(command).__module__.startswith("django."):
                if subcommand != "run":
                    # The settings. Models, addresses and the admin are `keeper check`'s, and `keeper run`'s.
                    command.requires_system_checks = [Tags.security, Tags.compatibility]
                create = command.create_parser

                def create_parser(prog_name: str, subcommand: str, **options: Any) -> "CommandParser":
                    parser = create(prog_name, subcommand.replace("_", "-"), **options)
                    for action in parser._actions:  # noqa: SLF001 - argparse has no other way to list them
                        if action.dest in _DJANGOS:
                            action.help = SUPPRESS
                    return parser

                command.create_parser = create_parser  # type: ignore[method-assign]  # this one alone
                _report_failures(command)
            return command

    Utility([sys.argv[0], *arguments]).execute()


def _report_failures(command: "BaseCommand") -> None:
    """Let a command print a CommandError as its JSON document, with the code of its cause."""
    from django.core.management.base import CommandError, SystemCheckError  # noqa: PLC0415 - Django only once nothing is unmet

    execute = command.execute

    def execute_or_print(*args: Any, **options: Any) -> str | None:
        try:
            return execute(*args, **options)
        except CommandError as error:
            status = "failed"
            if isinstance(error, SystemCheckError):
                status, error.returncode = "misconfigured", WRONG_SETTINGS
            elif _lacks_keys(error):
                status, error.returncode = "unavailable", os.EX_TEMPFAIL
            if options.get("format") == "json":
                _print_problem(error.returncode, status, str(error))
            raise

    command.execute = execute_or_print  # type: ignore[method-assign]  # this one alone


def _lacks_keys(error: BaseException) -> bool:
    """Return whether a command refused its work because keys do not open."""
    from audit_app.errors import KeyringUnavailable  # noqa: PLC0415 - Django only once nothing is unmet
    from secrets_app.errors import KeyUnavailable  # noqa: PLC0415 - Django only once nothing is unmet

    cause = error.__cause__
    return cause is not None and (
        isinstance(cause, KeyUnavailable | KeyringUnavailable) or _lacks_keys(cause)
    )


if __name__ == "__main__":
    main()
