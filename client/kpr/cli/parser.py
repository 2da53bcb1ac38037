"""The commands and options of kpr. No option takes a secret: other accounts can read the command line."""

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from string import ascii_letters, digits
from typing import Any

from kpr.errors import UsageError
from kpr.running.naming import TRANSFORMERS

EXPORT_FORMATS = (
    *("dotenv", "json", "yaml", "csv", "kubernetes"),
    *("shell", "fish", "powershell", "docker", "systemd", "github-env"),
)
SOURCES = (
    "dotenv",
    "json",
    "yaml",
    "csv",
    "vault",
    "aws",
    "doppler",
    "infisical",
    "1pux",
    "bitwarden",
    "bws",
)
SECRET_TYPES = ("PASSWORD", "API_KEY", "SSH_KEY", "CERTIFICATE", "JSON", "YAML", "TEXT")

_LONGEST_INTERVAL = 3600
_SHORTEST, _LONGEST = 8, 4096
# What `kpr generate` makes values of.
ALPHABETS = {
    "letters-digits": ascii_letters + digits,
    "symbols": ascii_letters + digits + "!#$%&*+-./:;<=>?@^_~",
    "hex": "0123456789abcdef",
    "digits": digits,
}


class Parser(ArgumentParser):
    """Reports a wrong command line in one line."""

    def error(self, message: str) -> Any:
        """Raise UsageError instead of printing the whole usage."""
        raise UsageError(f"{message[:1].upper()}{message[1:]}. Try: {self.prog} --help")


def build() -> Parser:
    """Return the parser of the command line, without what follows `--`."""
    parser = Parser(prog="kpr", description="Run programs with their secrets of Keeper.", allow_abbrev=False)
    commands = parser.add_subparsers(dest="verb", metavar="COMMAND", required=True)
    _run(
        _command(commands, "run", "run a command with its secrets", epilog="kpr run -e production -- ./serve")
    )
    shell = _command(commands, "shell", "start a shell with the secrets, until exit")
    _run(shell)
    shell.usage = None
    get = _command(commands, "get", "print one value")
    get.add_argument("name", help="the full name of the secret")
    _place(get, prefix=False)
    _place(_command(commands, "list", "list names, without values"))
    _set(_command(commands, "set", "store a value from standard input or a prompt"))
    _changes(commands)
    export = _command(commands, "export", "print all values in a format", formats=EXPORT_FORMATS)
    _place(export)
    export.add_argument("--reveal", action="store_true", help="print values to a terminal as well")
    _template(_command(commands, "template", "render a file with the values of secrets"))
    diff = _command(commands, "diff", "show which names differ between two environments, without values")
    diff.add_argument("left", metavar="ENVIRONMENT", help="the one environment")
    diff.add_argument("right", metavar="ENVIRONMENT", help="the other one")
    _prefix(diff)
    _import(_command(commands, "import", "import secrets from a file, after its plan was shown"))
    _scan(_command(commands, "scan", "find secrets in files, before they are committed"))
    _login(_command(commands, "login", "sign in to a server"))
    _command(commands, "logout", "revoke a personal token, and remove the stored token of a server")
    _command(commands, "whoami", "show the owner of the token and its permissions")
    _place(_command(commands, "status", "show the server, the token, the environment and the offline copy"))
    init = _command(commands, "init", "write .kpr.toml into this folder")
    _place(init)
    init.add_argument("--require", metavar="NAME", action="append", default=[], help="a name that must exist")
    completion = _command(commands, "completion", "print the script that completes commands in a shell")
    completion.add_argument("shell", choices=("bash", "zsh", "fish"), help="the shell")
    _command(commands, "man", "print the manual page, for example for man -l -")
    _command(commands, "version", "show the versions of kpr and the server")
    return parser


def _command(commands: Any, name: str, text: str, *, formats: tuple[str, ...] = (), epilog: str = "") -> Any:
    parser = commands.add_parser(
        name,
        help=text,
        description=f"{text[:1].upper()}{text[1:]}.",
        epilog=epilog,
        allow_abbrev=False,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("--server", metavar="URL", default="", help="the address of Keeper (KPR_SERVER)")
    choices = formats or ("text", "json")
    parser.add_argument("--format", choices=choices, default=choices[0], help="the form of the output")
    parser.add_argument("--debug", action="store_true", help="report each request, without its content")
    return parser


def _place(parser: Any, *, prefix: bool = True) -> None:
    parser.add_argument("-e", "--environment", metavar="NAME", default="", help="KPR_ENVIRONMENT")
    if prefix:
        _prefix(parser)


def _prefix(parser: Any) -> None:
    parser.add_argument("--prefix", metavar="PREFIX", action="append",
        help="only names under it, by whole segments; repeatable")  # fmt: skip


def _run(parser: Any) -> None:
    parser.usage = "kpr run [options] -- COMMAND [arguments]"
    _place(parser)
    add = parser.add_argument
    add("--only", metavar="NAME", action="append", default=[], help="read this secret alone; repeatable")
    add("--file", metavar="VARIABLE=NAME", action="append", default=[],
        help="put this secret into a file, and its path into the variable; repeatable")  # fmt: skip
    add("--file-dir", metavar="FOLDER", default="", help="put files there, and remove them at the end")
    add("--allow-disk", action="store_true", help="let --file-dir be on a disk")
    add("--watch", action="store_true", help="start the command again when a secret that it uses has changed")
    add("--watch-interval", metavar="SECONDS", type=_interval, default=10,
        help="how often to look, 10 by default")  # fmt: skip
    add("--mask", action="store_true", help="replace values in what the command prints by [masked]")
    add("--agent-safe", action="store_true",
        help="mask, and refuse commands that print all variables (KPR_AGENT_SAFE=1)")  # fmt: skip
    add("--name-transformer", choices=tuple(TRANSFORMERS), default="", help="how names become variables")
    add("--strip-prefix", action="store_true", help="leave the prefix out of the variables")
    add("--preserve-env", action="store_true", help="variables of the environment win over secrets")
    add("--pristine", action="store_true", help="pass nothing of the environment on")
    add("--strict", action="store_true",
        help="fail if a required name is missing, or a variable is set already")  # fmt: skip
    add("--allow-loader-variables", action="store_true", help="allow PATH, LD_PRELOAD and the like")
    add("--keep-token", action="store_true", help="pass KPR_TOKEN on to the command")


def _set(parser: Any) -> None:
    parser.add_argument("name", help="the full name of the secret")
    _place(parser, prefix=False)
    parser.add_argument("--type", choices=SECRET_TYPES, default="", help="TEXT for a new secret by default")
    parser.add_argument("--comment", metavar="TEXT", default="", help="why; it is not secret")
    parser.add_argument("--exact", action="store_true", help="keep a line feed at the end of the input")


def _changes(commands: Any) -> None:
    """Add the commands that name one secret and take no value."""
    generate = _command(commands, "generate", "store a random value, which is not printed")
    delete = _command(commands, "delete", "delete a secret, after it was confirmed")
    rename = _command(commands, "rename", "give a secret another name")
    versions = _command(commands, "versions", "list the versions of a secret, without values")
    rollback = _command(commands, "rollback", "make the value of an earlier version current again")
    for parser in (generate, delete, rename, versions, rollback):
        parser.add_argument("name", help="the full name of the secret")
        _place(parser, prefix=False)
    generate.add_argument("--length", metavar="NUMBER", type=_length, default=32,
        help="how many characters, 32 by default")  # fmt: skip
    generate.add_argument("--characters", choices=tuple(ALPHABETS), default="letters-digits",
        help="what they are")  # fmt: skip
    generate.add_argument("--type", choices=SECRET_TYPES, default="", help="TEXT for a new secret by default")
    generate.add_argument("--replace", action="store_true", help="give a secret that exists another value")
    generate.add_argument("--reveal", action="store_true", help="print the value as well")
    delete.add_argument("--yes", action="store_true", help="delete without asking")
    rename.add_argument("new_name", metavar="NEW", help="the new full name")
    rollback.add_argument("version", metavar="VERSION", type=int, help="the number of the version")


def _import(parser: Any) -> None:
    parser.add_argument(
        "path", metavar="FILE", help="the file, or a folder of dotenv files; - is standard input"
    )
    _place(parser, prefix=False)
    add = parser.add_argument
    add("--from", dest="source", choices=SOURCES, default="", help="the format, if kpr does not find it")
    add("--below", metavar="PATH", default="", help="put the secrets below this path")
    add("--keep-existing", action="store_true", help="leave secrets that exist as they are")
    add("--dry-run", action="store_true", help="print the plan alone")
    add("--yes", action="store_true", help="replace values without asking")


def _template(parser: Any) -> None:
    parser.add_argument("path", metavar="FILE", help="the template; - is standard input")
    _place(parser)
    add = parser.add_argument
    add("-o", "--output", metavar="FILE", default="",
        help="write this file, of mode 0600, instead of standard output")  # fmt: skip
    add("--allow-missing", action="store_true", help="leave the value of a missing secret empty")
    add("--reveal", action="store_true", help="print to a terminal as well")


def _scan(parser: Any) -> None:
    parser.add_argument(
        "paths", metavar="PATH", nargs="*", help="files and folders; without any, those of the Git repository"
    )
    _place(parser)
    parser.add_argument("--staged", action="store_true", help="what is staged for the next commit")
    parser.add_argument(
        "--learn", action="store_true",
        help="read the values of the environment once, and store their keyed fingerprints for later scans",
    )  # fmt: skip


def _login(parser: Any) -> None:
    parser.add_argument(
        "--token", action="store_true", help="take a token from standard input or a prompt, instead of a code"
    )
    parser.add_argument(
        "--web", action="store_true", help="sign in by the browser of this machine, instead of a code"
    )
    parser.add_argument(
        "--storage", choices=("auto", "keyring", "file"), default="auto", help="where to store the token"
    )


def _length(text: str) -> int:
    """Return a number of characters. Raises ValueError if it is too small to be a secret, or too large."""
    length = int(text)
    if not _SHORTEST <= length <= _LONGEST:
        raise ValueError(text)
    return length


def _interval(text: str) -> float:
    """Return a number of seconds. Raises ValueError if it is too small to be kind to the server."""
    seconds = float(text)
    if not 1 <= seconds <= _LONGEST_INTERVAL:
        raise ValueError(text)
    return seconds
