"""The formats that an import reads: each a function from the text of a file to its entries."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from secrets_app.errors import InvalidInput
from secrets_app.importing.formats.aws import parse_aws_file
from secrets_app.importing.formats.csv import parse_csv_file
from secrets_app.importing.formats.dotenv import parse_dotenv
from secrets_app.importing.formats.entries import MAX_FILE_BYTES, Entry, unreadable
from secrets_app.importing.formats.json import parse_json_file
from secrets_app.importing.formats.vault import parse_vault_file
from secrets_app.importing.formats.yaml import parse_yaml_file
from secrets_app.types.bounds import is_encodable

__all__ = ["FORMATS", "MAX_FILE_BYTES", "Entry", "Format", "decoded", "format_of", "parse"]


@dataclass(frozen=True, kw_only=True)
class Format:
    """A format: its name, its label and its parser."""

    name: str
    label: str
    parse: Callable[[str], list[Entry]]


FORMATS: Final = {
    each.name: each
    for each in (
        Format(name="dotenv", label="dotenv", parse=parse_dotenv),
        Format(name="json", label="JSON", parse=parse_json_file),
        Format(name="yaml", label="YAML", parse=parse_yaml_file),
        Format(name="csv", label="CSV", parse=parse_csv_file),
        Format(name="vault", label="Vault or OpenBao (KV)", parse=parse_vault_file),
        Format(name="aws", label="AWS Secrets Manager", parse=parse_aws_file),
    )
}
_ENDINGS: Final = {".env": "dotenv", ".json": "json", ".yaml": "yaml", ".yml": "yaml", ".csv": "csv"}


def parse(format: str, text: str) -> list[Entry]:
    """Return the entries of a file's text. Raises InvalidInput if there is no such format, or none in it."""
    if format not in FORMATS:
        raise InvalidInput("format", f"Choose one of {', '.join(FORMATS)}.")
    if not is_encodable(text):
        raise unreadable("The file holds half of a surrogate pair, which is not valid text.")
    entries = FORMATS[format].parse(text)
    if not entries:
        raise unreadable("The file holds no entries.")
    return entries


def decoded(content: bytes) -> str:
    """Return the text of an uploaded file. Raises InvalidInput if it is too large or not UTF-8."""
    if len(content) > MAX_FILE_BYTES:
        raise unreadable(f"The file is larger than {MAX_FILE_BYTES >> 20} MiB: split it.")
    # The error of the codec carries the content, so ours is raised outside its handler.
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass
    raise unreadable("The file is not text in UTF-8.")


def format_of(file_name: str, text: str) -> str:
    """Return the format that a file's name and its first words suggest; dotenv if nothing does."""
    ending = next((end for end in _ENDINGS if file_name.lower().endswith(end)), "")
    begin = text.lstrip()[:400]
    if begin.startswith(("{", "[")):
        if '"SecretValues"' in begin or '"SecretString"' in begin or '"ARN"' in begin:
            return "aws"
        return "vault" if '"request_id"' in begin else "json"
    return _ENDINGS.get(ending, "dotenv")
