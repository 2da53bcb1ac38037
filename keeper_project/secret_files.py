"""Keeps the secrets that an installation makes for itself as files of its data directory."""

import os
import secrets
from pathlib import Path


def read_or_create(path: Path) -> str:
    """Return the text of a secret file, made on first use with 384 random bits and mode 0600.

    Safe when several processes start at once: the file appears whole or not at all, and the
    first one wins. Raises OSError if the directory cannot be written.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as handle:
            handle.write(secrets.token_urlsafe(48))
            handle.flush()
            os.fsync(handle.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text(encoding="ascii").strip()
