"""Where the token is: the variable KPR_TOKEN, the keyring, or a file of mode 0600. One token for each server.

A token is never taken from the command line, which other accounts can read.
"""

import base64
import json
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from kpr.errors import SignInError, UsageError
from kpr.settings import Settings, config_folder

SERVICE = "keeper-kpr"
# What the tokens of people begin with; those of programs begin with kpr_.
PERSONAL = "kpu_"
_KEY_BYTES = 32
_TOKEN = re.compile(r"kp[ru]_[A-Za-z0-9_-]{22}_[A-Za-z0-9_-]{43}")


def find_token(settings: Settings, *, debug: bool = False) -> str:
    """Return the token of the variables, the store, or a trust. Raises UsageError, or as these do."""
    trust = os.environ.get("KPR_TRUST", "")
    if not trust or os.environ.get("KPR_TOKEN"):
        return token_for(settings)
    if not settings.is_server_explicit:
        raise UsageError("KPR_TRUST is set: set KPR_SERVER as well, where the job's token may go.")
    from kpr.signin.workload import token_by_trust  # noqa: PLC0415 - in pipelines alone

    return token_by_trust(settings.server, trust, debug=debug)


def source_of(settings: Settings) -> str:
    """Return where the token comes from: a variable or its file, a trust, the keyring, a file; or `none`."""
    if os.environ.get("KPR_TOKEN"):
        return "variable"
    if os.environ.get("KPR_TRUST"):
        return "trust"
    if os.environ.get("KPR_TOKEN_FILE"):
        return "file of a variable"
    entry = _entries().get(settings.server, {})
    return "keyring" if entry.get("in") == "keyring" else "file" if "token" in entry else "none"


def token_for(settings: Settings) -> str:
    """Return the token for a server. Raises SignInError if there is none, and what `stored_token` raises.

    KPR_TOKEN names no server: it goes only to that of an option or of KPR_SERVER, and not to that of a
    project file, which may have come with a stranger's repository.
    """
    given = os.environ.get("KPR_TOKEN") or _from_file(os.environ.get("KPR_TOKEN_FILE", ""))
    if given:
        if not settings.is_server_explicit:
            raise SignInError(
                f"KPR_TOKEN is set, and {settings.server} comes from a file: set KPR_SERVER to send it there."
            )
        return check_token(given.strip())
    token = stored_token(settings.server)
    if not token:
        raise SignInError(f"Not signed in to {settings.server}: run kpr login.")
    return token


def check_token(text: str) -> str:
    """Return a token's text. Raises SignInError if it is none."""
    if not _TOKEN.fullmatch(text):
        raise SignInError("This is not a token of Keeper: one begins with kpr_ or kpu_.")
    return text


def stored_token(server: str) -> str:
    """Return the stored token of a server, or nothing. Raises SignInError if the keyring stays locked."""
    entry = _entries().get(server, {})
    if "token" in entry:
        return str(entry["token"])
    if entry.get("in") != "keyring":
        return ""
    keyring = system_keyring()
    if keyring is None:
        raise SignInError("The token is in the keyring, which kpr cannot use here: set KPR_TOKEN.")
    try:
        return keyring.get_password(SERVICE, server) or ""
    except keyring.errors.KeyringError:
        raise SignInError("The keyring is locked: unlock it, or set KPR_TOKEN.") from None


def store_token(server: str, token: str, *, storage: str) -> str:
    """Store a token and return where: `keyring` or `file`. Raises UsageError if the keyring refuses.

    `storage` is one of these, or `auto`: the keyring if it works.
    """
    if storage != "file" and _store_in_keyring(server, token):
        _write({**_entries(), server: {"in": "keyring"}})
        return "keyring"
    if storage == "keyring":
        raise UsageError("There is no usable keyring: install the package keyring and unlock it.")
    _write({**_entries(), server: {"token": token}})
    return "file"


def forget_token(server: str) -> bool:
    """Remove the token of a server and return whether there was one."""
    entries = _entries()
    entry = entries.pop(server, None)
    if entry is None:
        return False
    keyring = system_keyring() if entry.get("in") == "keyring" else None
    if keyring is not None:
        try:
            keyring.delete_password(SERVICE, server)
        except keyring.errors.KeyringError:
            raise SignInError("The keyring is locked: unlock it, then run kpr logout again.") from None
    _write(entries)
    return True


def remember_server(server: str) -> None:
    """Make a server the one that commands outside a project ask."""
    write_private(config_folder() / "server", f"{server}\n".encode())


def credentials_file() -> Path:
    """Return the file that lists the servers, and holds the tokens that are not in the keyring."""
    return config_folder() / "credentials.json"


def _from_file(name: str) -> str:
    if not name:
        return ""
    try:
        return Path(name).read_text(encoding="utf-8")
    except (OSError, ValueError):
        raise SignInError(f"The file of KPR_TOKEN_FILE cannot be read: {name}") from None


def _store_in_keyring(server: str, token: str) -> bool:
    keyring = system_keyring()
    if keyring is None:
        return False
    try:
        keyring.set_password(SERVICE, server, token)
        return bool(keyring.get_password(SERVICE, server) == token)
    except keyring.errors.KeyringError:
        return False


def system_keyring() -> Any:
    """Return the package `keyring` if it is installed and has a backend of the system, else None."""
    try:
        import keyring  # noqa: PLC0415 - optional, and slow to load
        import keyring.errors  # noqa: PLC0415 - optional
    except ImportError:
        return None
    # Backends without a store have a priority of 0 or less.
    return keyring if keyring.get_keyring().priority > 0 else None


def kept_key(service: str, server: str, *, makes: bool) -> bytes:
    """Return the key that the keyring holds for a server, perhaps made now; empty where it cannot be used."""
    keyring = system_keyring()
    if keyring is None:
        return b""
    try:
        text = keyring.get_password(service, server) or ""
        if not text and makes:
            text = base64.b64encode(os.urandom(_KEY_BYTES)).decode()
            keyring.set_password(service, server, text)
    except keyring.errors.KeyringError:
        return b""
    return base64.b64decode(text)


def forget_key(service: str, server: str) -> None:
    """Delete the key of a server, as far as the keyring can be used."""
    keyring = system_keyring()
    if keyring is not None:
        with suppress(keyring.errors.KeyringError):
            keyring.delete_password(service, server)


def _entries() -> dict[str, Any]:
    path = credentials_file()
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    if os.name == "posix" and mode & 0o077:
        raise UsageError(f"{path} can be read by other accounts: run chmod 600 {path}")
    try:
        entries: dict[str, Any] = json.loads(text)
    except ValueError:
        raise UsageError(f"{path} is damaged: remove it, then run kpr login.") from None
    return entries


def _write(entries: dict[str, Any]) -> None:
    write_private(credentials_file(), json.dumps(entries).encode())


def write_private(path: Path, content: bytes) -> None:
    """Write a file that no other account can read at any moment, whole or not at all."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
