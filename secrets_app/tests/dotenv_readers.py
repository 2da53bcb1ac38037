"""Programs that read dotenv files, each as name → value; and values that they stumble over."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from dotenv import dotenv_values

from tests.servers.packages.node_packages import node_modules

AWKWARD: Final = {
    "word": "abc123", "url": "postgres://app@db.internal:5432/app", "blanks": "two words", "leading": " lead",
    "trailing": "trail ", "tabs": "\tone\ttwo\t", "apostrophe": "it's", "apostrophe_alone": "'", "apostrophes": "''",
    "single_quoted": "'quoted'", "double_quoted": '"quoted"', "quote": 'say "hi"', "quote_alone": '"',
    "both_quotes": "it's \"both\"", "backticks": "`touch pwned`", "variable": "$HOME", "braces": "${HOME}",
    "command": "$(touch pwned)", "dollars": "a$b$c", "dollar": "$", "process": "$$", "price": "it's $5",
    "hash": "#", "hash_inside": "a#b", "comment": "a #b", "comment_alone": "# a", "backslash": "back\\slash",
    "backslash_alone": "\\", "backslashes": "\\\\", "path": "C:\\temp\\new", "folder": "C:\\temp\\",
    "folder_of_a_variable": "$HOME\\", "escape": "a\\nb", "account": "CORP\\svc$x", "escaped_dollar": "\\$HOME",
    "escaped_apostrophe": "\\'", "escaped_quote": '\\"', "json": '{"a": "b\\nc"}', "json_text": '{"a": "it\'s"}',
    "line_feed": "two\nlines", "last_line_feed": "two\nlines\n", "first_line_feed": "\nline",
    "windows_lines": "two\r\nlines", "carriage_return": "two\rlines", "last_carriage_return": "line\r",
    "pem": "-----BEGIN KEY-----\nMIIB+/=\n-----END KEY-----\n", "next_line": "a\x85b", "separator": "a\u2028b",
    "byte_order_mark": "\ufeffa", "non_character": "a\ufffe", "emoji": "key \U0001f511", "umlauts": "Schlüssel",
    "controls": "\x01\x1b[31m\x7f", "vertical_tab": "a\x0bb\x0cc", "no_break_space": "\xa0a\u3000",
    "equals": "a=b==", "history": "!history", "tilde": "~/file", "wildcard": "*", "operators": "a;b&c|d<e>(f)",
    "yaml_boolean": "yes", "yaml_null": "~", "octal": "0123", "option": "-n", "export": "export A=1",
    "assignment": "line\nV_WORD=other\n", "quoted_assignment": "it's \"\nV_WORD=other", "large": "x" * 65_536,
    "lines_of_quotes": "'a'\n\"b\"\n$c\\",
}  # fmt: skip
Read = Mapping[str, str | None]


def by_shell(shell: str) -> Callable[[Path, list[str]], Read]:
    """Return what reads a file as `set -a; . file` does in a shell."""

    def read(file: Path, names: list[str]) -> Read:
        script = f"set -a; . {file}; " + "; ".join(f'printf "%s\\0" "${name}"' for name in names)
        run = subprocess.run(
            [shell, "-c", script], check=True, capture_output=True, cwd=file.parent, env=_ENV
        )
        assert run.stderr == b""
        return dict(zip(names, run.stdout.decode().split("\0"), strict=False))

    return read


def by_python(file: Path, names: list[str]) -> Read:
    """Read a file as python-dotenv does if nothing is chosen."""
    found = dotenv_values(file)
    return {name: found.get(name) for name in names}


def by_node(file: Path, names: list[str]) -> Read:
    """Read a file as `node --env-file` does."""
    program = "process.stdout.write(JSON.stringify(process.env))"
    run = subprocess.run(
        ["node", f"--env-file={file}", "-e", program], check=True, capture_output=True, env=_ENV
    )
    return _named(json.loads(run.stdout), names)


def by_docker(file: Path, names: list[str]) -> Read:
    """Read a file by the rule of `docker run --env-file`: what follows the first `=` of a line, as it is.

    Docker refuses a whole file for a line of 64 KiB and for a name with a blank: nothing is read then.
    """
    found: dict[str, str | None] = dict.fromkeys(names)
    for number, raw in enumerate(file.read_bytes().removesuffix(b"\n").split(b"\n")):
        line = raw.removesuffix(b"\r")
        if number == 0:
            line = line.removeprefix("\ufeff".encode())
        line = line.lstrip(b" \t")
        name, equals, value = line.partition(b"=")
        if len(raw) >= 64 * 1024 or (
            line and not line.startswith(b"#") and (not name or set(name) & {32, 9})
        ):
            return dict.fromkeys(names)
        if equals and not line.startswith(b"#"):
            found[name.decode()] = value.decode()
    return found


_ENV: Final = {"PATH": os.environ["PATH"]}


# Answers each line, a reader and a file as JSON, with a line of what is read.
_NODE_PROGRAM: Final = """
const dotenv = require(process.argv[1]);
const readers = {
  dotenv: (file) => dotenv.parse(require("fs").readFileSync(file)),
  node: (file) => {
    const before = new Set(Object.keys(process.env));
    process.loadEnvFile(file);
    const read = { ...process.env };
    for (const name of Object.keys(read)) if (!before.has(name)) delete process.env[name];
    return read;
  },
};
require("readline").createInterface({ input: process.stdin }).on("line", (line) => {
  const [reader, file] = JSON.parse(line);
  process.stdout.write(JSON.stringify(readers[reader](file)) + "\\n");
});
"""


@contextmanager
def node_readers() -> Iterator[tuple[Callable[[Path, list[str]], Read], Callable[[Path, list[str]], Read]]]:
    """Yield readers as `require("dotenv").config()` and as `process.loadEnvFile()`, which is `node --env-file`.

    One process of Node.js reads all files: its start takes longer than a hundred of them.
    """
    command = ["node", "-e", _NODE_PROGRAM, str(node_modules() / "dotenv")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=_ENV) as process:
        asked, answers = process.stdin, process.stdout
        assert asked is not None
        assert answers is not None

        def ask(reader: str, file: Path, names: list[str]) -> Read:
            asked.write(json.dumps([reader, str(file)]).encode() + b"\n")
            asked.flush()
            return _named(json.loads(answers.readline()), names)

        yield partial(ask, "dotenv"), partial(ask, "node")
        asked.close()
        assert process.wait() == 0


def _named(found: Mapping[str, str], names: list[str]) -> Read:
    return {name: found.get(name) for name in names}
