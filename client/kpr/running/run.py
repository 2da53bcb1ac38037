"""`kpr run`: fetch the secrets by one request, make variables and files of them, become the command."""

import os
import sys
from argparse import Namespace
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kpr.api import Answer, Api, path_of
from kpr.errors import ForbiddenError, NamesError, NoAnswerError, NotFoundError, SignInError, UsageError
from kpr.running.files import PrivateFolder, file_in_memory, is_memory_available
from kpr.running.naming import Naming, missing, variables_of
from kpr.running.process import execute, no_core_dump, supervise
from kpr.settings import Settings, cache_folder, is_there

if TYPE_CHECKING:
    from kpr.running.streams import MaskedOutput

# The command must not sign in as its caller.
_OWN = ("KPR_TOKEN", "KPR_TOKEN_FILE", "KPR_JWT", "KPR_JWT_FILE", "KPR_TRUST")


@dataclass
class Prepared:
    """What a command gets: its environment, and the content of files by their variables."""

    environment: dict[bytes, bytes] = field(repr=False)
    contents: dict[str, bytes] = field(repr=False)
    # Of the names that were read, for a mask.
    secrets: dict[str, str] = field(repr=False, compare=False)


def run(options: Namespace, settings: Settings, api: Api) -> int:
    """Run the command with its secrets. Returns only if it is supervised. Raises KprError."""
    if not options.command:
        raise UsageError("No command: kpr run [options] -- COMMAND [arguments]")
    if options.agent_safe or os.environ.get("KPR_AGENT_SAFE"):
        from kpr.running.guard import is_agent_safe, refuse_dump  # noqa: PLC0415 - only there

        options.mask = options.mask or is_agent_safe(options)
        if is_agent_safe(options):
            refuse_dump(options.command)
    core_limits = no_core_dump()
    if options.watch:
        from kpr.running.watch import watch  # noqa: PLC0415 - only with --watch

        return watch(options, settings, api, core_limits)
    prepared = prepare(options, settings, api)
    api.end()
    if options.mask or (prepared.contents and needs_folder(options)):
        with ExitStack() as stack:
            variables = placed(prepared, options, stack)
            return supervise(options.command, variables, core_limits, masked(prepared, options, stack))
    # The files stay open: the command inherits them.
    return execute(options.command, in_memory(prepared, ExitStack()), core_limits)


def shell(options: Namespace, settings: Settings, api: Api) -> int:
    """Run the person's shell with the secrets; they end with it. Raises KprError."""
    if options.agent_safe or os.environ.get("KPR_AGENT_SAFE"):
        raise UsageError("KPR_AGENT_SAFE: a shell shows every variable. Use kpr run -- COMMAND.")
    options.command = [os.environ.get("SHELL") or "/bin/sh"]
    place = settings.required_environment()
    sys.stderr.write(f"kpr: {options.command[0]} with the secrets of {place}; leave it by exit\n")
    return run(options, settings, api)


def prepare(options: Namespace, settings: Settings, api: Api) -> Prepared:
    """Fetch the secrets and return what the command gets. Raises KprError."""
    files = dict(map(_file_option, options.file))
    secrets = fetch(options, settings, api, extra=list(files.values()))
    present = {} if options.pristine else _present(keeps_token=options.keep_token)
    naming = naming_of(options, settings)
    if not secrets:
        warn_of_none(settings, is_strict=naming.is_strict)
    _require(secrets, options, settings, naming)
    plain = {name: value for name, value in secrets.items() if name not in files.values()}
    found = variables_of(plain, naming, present, keeps_present=options.preserve_env)
    for warning in found.warnings:
        sys.stderr.write(f"kpr: {warning}\n")
    variables = {name.encode(): value for name, value in found.values.items()}
    environment = {os.fsencode(name): os.fsencode(value) for name, value in present.items()}
    contents = {variable: secrets[name].encode() for variable, name in files.items()}
    return Prepared(environment | variables, contents, secrets)


def placed(prepared: Prepared, options: Namespace, stack: ExitStack) -> dict[bytes, bytes]:
    """Return the environment of a supervised command with the paths of its files, which the stack removes."""
    return in_folder(prepared, options, stack) if needs_folder(options) else in_memory(prepared, stack)


def masked(prepared: Prepared, options: Namespace, stack: ExitStack) -> "MaskedOutput | None":
    """Return the masked output for the command where that is asked for, which the stack ends."""
    if not options.mask:
        return None
    from kpr.running.streams import MaskedOutput  # noqa: PLC0415 - only with --mask

    return stack.enter_context(MaskedOutput(prepared.secrets))


def needs_folder(options: Namespace) -> bool:
    """Return whether files are in a folder, which has to be removed at the end."""
    return bool(options.file_dir) or not is_memory_available()


def in_memory(prepared: Prepared, stack: ExitStack) -> dict[bytes, bytes]:
    """Return the environment with the paths of files in memory, which the stack closes."""
    paths = {}
    for variable, content in prepared.contents.items():
        path, handle = file_in_memory(variable, content)
        stack.callback(os.close, handle)
        paths[variable.encode()] = path.encode()
    return prepared.environment | paths


def in_folder(prepared: Prepared, options: Namespace, stack: ExitStack) -> dict[bytes, bytes]:
    """Return the environment with the paths of files in a folder that the stack removes."""
    if not prepared.contents:
        return prepared.environment
    folder = stack.enter_context(PrivateFolder(options.file_dir, allows_disk=options.allow_disk))
    paths = {
        variable.encode(): folder.write(variable, content).encode()
        for variable, content in prepared.contents.items()
    }
    return prepared.environment | paths


def fetch(
    options: Namespace, settings: Settings, api: Api, *, extra: list[str] | None = None
) -> dict[str, str]:
    """Return name → value: what `--only` names, else all that the token may read under the prefix.

    Raises KprError.
    """
    names = list(dict.fromkeys([*getattr(options, "only", []), *(extra or [])]))
    if getattr(options, "only", []):
        return {name: _named(settings, api, name) for name in names}
    secrets = {name: value for each in settings.each_prefix() for name, value in _export(each, api).items()}
    for name in names:
        if name not in secrets:
            secrets[name] = _named(settings, api, name)
    return secrets


def _named(settings: Settings, api: Api, name: str) -> str:
    """Return the value of a secret that an option names. Raises NotFoundError with what may be meant."""
    try:
        return find_value(settings, api, name)
    except NotFoundError:
        from kpr.lookup import absent  # noqa: PLC0415 - for an error alone

        raise absent(api, settings.required_environment(), name) from None


def find_value(settings: Settings, api: Api, name: str) -> str:
    """Return the value of one secret, of the offline copy if no server answers. Raises KprError."""
    try:
        return value_of(api, settings.required_environment(), name)
    except NoAnswerError as error:
        if not settings.offline_hours:
            raise
        from kpr.running.offline import OfflineCopy, pick  # noqa: PLC0415 - only where copies are kept

        copies = [OfflineCopy(each, api.token).secrets(error) for each in settings.each_prefix()]
        return pick({name: value for each in copies for name, value in each.items()}, name, error)


def read_export(settings: Settings, api: Api) -> Answer:
    """Return the server's answer with all values under the prefix. Raises KprError."""
    query = {"format": "json", **({"prefix": settings.prefix} if settings.prefix else {})}
    return api.get(path_of("environments", settings.required_environment(), "export"), query)


def _export(settings: Settings, api: Api) -> dict[str, str]:
    """Return all values under the prefix, and keep or use the offline copy where that is asked for."""
    if not settings.offline_hours and not is_there(cache_folder()):
        return _secrets_of(read_export(settings, api))
    from kpr.running.offline import OfflineCopy  # noqa: PLC0415 - as above

    copy = OfflineCopy(settings, api.token)
    try:
        answer = read_export(settings, api)
    except NoAnswerError as error:
        return copy.secrets(error)
    except (SignInError, ForbiddenError, NotFoundError):
        copy.delete()
        raise
    copy.keep(answer)
    return _secrets_of(answer)


def _secrets_of(answer: Answer) -> dict[str, str]:
    secrets: dict[str, str] = answer.document()
    if left_out := answer.headers.get("keeper-left-out"):
        sys.stderr.write(
            f"kpr: {left_out} guarded secrets are left out: people read them in Keeper, two by two, and a "
            "released program one by one, by kpr get or --only\n"
        )
    return secrets


def value_of(api: Api, environment: str, name: str) -> str:
    """Return the value of one secret. Raises ForbiddenError if the token sees its name alone, or KprError."""
    document = api.get(path_of("environments", environment, "secrets", name)).document()
    if "value" not in document:
        raise ForbiddenError(f"You see the name {name}, and not its value: request the role reader.")
    return str(document["value"])


def naming_of(options: Namespace, settings: Settings) -> Naming:
    """Return how secrets become variables, by the options and the project file."""
    project = settings.project
    cuts = options.strip_prefix or project.strip_prefix
    return Naming(
        transformer=options.name_transformer or project.name_transformer or "upper-snake",
        stripped=settings.prefixes if cuts else (),
        is_strict=options.strict or project.strict,
        allows_loaders=options.allow_loader_variables,
    )


def _require(secrets: Mapping[str, str], options: Namespace, settings: Settings, naming: Naming) -> None:
    """Look for what the project file requires. Raises NamesError where it is strict."""
    lost = [] if options.only else missing(settings.project.required, secrets)
    if lost and naming.is_strict:
        raise NamesError(f"Required and not there: {', '.join(lost)}. Create them, or request access.")
    for name in lost:
        sys.stderr.write(f"kpr: {name} is required by .kpr.toml and not there\n")


def warn_of_none(settings: Settings, *, is_strict: bool = False) -> None:
    """Report that there is no secret to work with. Raises NamesError where that is an error."""
    under = f" under {' and '.join(settings.prefixes)}" if settings.prefixes else ""
    text = f"0 secrets in {settings.environment}{under}: check the prefix, and what the token may read"
    if is_strict:
        raise NamesError(f"{text}.")
    sys.stderr.write(f"kpr: {text}\n")


def _present(*, keeps_token: bool) -> dict[str, str]:
    dropped = () if keeps_token else _OWN
    return {name: value for name, value in os.environ.items() if name not in dropped}


def _file_option(text: str) -> tuple[str, str]:
    variable, equals, name = text.partition("=")
    if not (equals and name and variable.isidentifier() and variable.isascii()):
        raise UsageError("--file takes VARIABLE=NAME, such as TLS_KEY_FILE=tls/key.")
    return variable, name
