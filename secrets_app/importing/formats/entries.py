"""What every import format yields: entries, each with a name, a value and perhaps a type and metadata."""

from dataclasses import dataclass, field
from typing import Final

from secrets_app.errors import InvalidInput
from secrets_app.types.registry import SecretType
from secrets_app.values.metadata import Metadata

FIELD: Final = "file"
MAX_FILE_BYTES: Final = 8 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One secret as a file states it; `place` is its line, or its position, from 1.

    `fault` states why the file's value is invalid, such as a null. The value has no repr. `seen` is the ETag
    of the secret that a page showed for this name, empty for a gap; None if the name was not shown.
    """

    place: int
    name: str
    value: str = field(default="", repr=False)
    # The type in the file; None: the importer's default, or the type of the existing secret.
    secret_type: SecretType | None = None
    metadata: Metadata = field(default_factory=Metadata)
    fault: str = ""
    seen: str | None = None


def unreadable(reason: str) -> InvalidInput:
    """Make the error that refuses a whole file for `reason`, a sentence without any part of the file."""
    return InvalidInput(FIELD, reason)
