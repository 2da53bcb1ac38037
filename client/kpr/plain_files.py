"""Files of secrets on this machine: those that SOPS has encrypted, and dotenv files in a tree of folders.

SOPS decrypts with the person's own keys, in its own process: the keys never reach kpr or the server.
"""

import base64
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from kpr.errors import UsageError

_SECONDS = 300
_MAX_FILES = 1_000
_TEMPLATES = re.compile(r"\.(example|sample|template|dist|tpl|schema|vault)$", re.IGNORECASE)
_NEVER = frozenset({".git", "node_modules", ".venv", "venv", "vendor", "__pycache__"})
# SOPS takes every other file for a binary one, and writes {"data": …, "sops": …}.
_FORMATS_OF_SOPS = (".yaml", ".yml", ".json", ".env", ".ini")
_ADDED = (".enc", ".sops", ".encrypted")
# What SOPS adds to YAML, JSON, dotenv and INI.
_OF_SOPS = re.compile(r'^\s*(sops:\s*$|"sops":\s*\{|sops_\w+=|\[sops\])', re.MULTILINE)


def is_sops(content: str) -> bool:
    """Return whether SOPS has encrypted a file."""
    return "ENC[AES256_GCM," in content and _OF_SOPS.search(content) is not None


def is_binary(path: str, content: str) -> bool:
    """Return whether SOPS has encrypted a file as a whole."""
    if path.lower().endswith(_FORMATS_OF_SOPS):
        return False
    try:
        document = json.loads(content)
    except ValueError:
        return False
    return isinstance(document, dict) and document.keys() == {"data", "sops"}


def binary_row(path: str) -> dict[str, object]:
    """Return a file that SOPS has encrypted as a whole as one secret of its name. Raises UsageError.

    What is no text becomes Base64, and its tag says so.
    """
    name, data = Path(path).name, _by_sops(path)
    for each in _ADDED:
        name = name.removesuffix(each)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" not in text:
        return {"name": name, "value": text}
    return {"name": name, "value": base64.b64encode(data).decode(), "tags": ["binary:base64"]}


def decrypted(path: str) -> str:
    """Return the text of a file as the person's `sops` decrypts it. Raises UsageError."""
    # INI has no import of its own: SOPS writes its sections as JSON.
    as_json = ["--output-type", "json"] if path.lower().endswith(".ini") else []
    try:
        text = _by_sops(path, *as_json).decode()
        if as_json:
            # The keys above the first section, of which there mostly are none.
            text = json.dumps({name: part for name, part in json.loads(text).items() if part != {}})
    except ValueError:
        raise UsageError("What sops decrypts is not text in UTF-8.") from None
    return text


def _by_sops(path: str, *options: str) -> bytes:
    if path == "-":
        raise UsageError(
            "A file of SOPS is decrypted by its name: give the file, or pipe what sops -d prints."
        )
    hidden = {name: value for name, value in os.environ.items() if not name.startswith("KPR_")}
    try:
        done = subprocess.run(
            ["sops", "-d", *options, "--", path],
            env=hidden,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        raise UsageError(
            "The file is encrypted by SOPS: install sops, which decrypts it with your keys."
        ) from None
    except subprocess.TimeoutExpired:
        raise UsageError(f"sops did not decrypt the file within {_SECONDS} seconds.") from None
    if done.returncode:
        # What it prints may quote the file.
        raise UsageError(f"sops did not decrypt the file (exit code {done.returncode}): try sops -d {path}")
    return done.stdout


def dotenv_files(root: str, environment: str) -> tuple[list[tuple[Path, str]], list[str]]:
    """Return the dotenv files of an environment in a tree, each with its folder, and the others.

    They are `.env.ENVIRONMENT`; in a tree whose files name no environment, `.env`. Links are not followed.
    """
    named, plain, left = [], [], []
    for path, folder in _found(Path(root)):
        suffix = path.name.removeprefix(".env").removeprefix(".")
        if not suffix:
            plain.append((path, folder))
        elif suffix == environment:
            named.append((path, folder))
        else:
            left.append(str(path.relative_to(root)))
    if named or left:
        return named, [*left, *(str(path.relative_to(root)) for path, _ in plain)]
    return plain, left


def _found(root: Path) -> Iterator[tuple[Path, str]]:
    count = 0
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(each for each in folders if each not in _NEVER)
        for name in sorted(files):
            path = Path(folder, name)
            is_one = name == ".env" or (name.startswith(".env.") and not _TEMPLATES.search(name))
            if is_one and not path.is_symlink() and path.is_file():
                count += 1
                if count > _MAX_FILES:
                    raise UsageError(
                        f"The tree has more than {_MAX_FILES:,} dotenv files: import its folders."
                    )
                where = path.parent.relative_to(root).as_posix()
                yield path, "" if where == "." else where
