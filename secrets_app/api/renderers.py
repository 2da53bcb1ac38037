"""The forms of an export: JSON, dotenv and YAML."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Final

import orjson
import yaml
from rest_framework.renderers import BaseRenderer

from secrets_app.export import DOTENV

# What stays special between double quotes in a POSIX shell (XCU 2.2.3).
_ESCAPES: Final = str.maketrans({"\\": r"\\", '"': r"\"", "$": r"\$", "`": r"\`"})


_NEVER_FOLDED: Final = 2**31 - 1


class _ExportRenderer(BaseRenderer, ABC):
    """The base of all forms: name → value, or a problem document."""

    charset: str | None = None
    render_style = "binary"

    def render(
        self,
        data: Mapping[str, str],
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        """Return the bytes of the export."""
        return self.written(data)

    @abstractmethod
    def written(self, values: Mapping[str, str]) -> bytes:
        """Return name → value in this form."""


class JsonExport(_ExportRenderer):
    """One JSON object."""

    media_type = "application/json"
    format = "json"

    def written(self, values: Mapping[str, str]) -> bytes:
        """Return one JSON object, name → value."""
        return orjson.dumps(dict(values))


class DotenvExport(_ExportRenderer):
    """Lines of NAME=value that a shell can source and dotenv readers understand."""

    media_type = "text/plain"
    format = DOTENV
    charset = "utf-8"

    def written(self, values: Mapping[str, str]) -> bytes:
        """Return a line for each value, quoted so that nothing in it is interpreted."""
        lines = "".join(f"{name}={_quoted(value)}\n" for name, value in values.items())
        # REST framework takes the media type from an answer without a byte.
        return lines.encode() or b"\n"


class YamlExport(_ExportRenderer):
    """One YAML mapping."""

    media_type = "application/yaml"
    format = "yaml"

    def written(self, values: Mapping[str, str]) -> bytes:
        """Return one YAML mapping, name → value."""
        # Double quotes and escapes alone keep every character, such as NEL, which YAML folds.
        text: str = yaml.safe_dump(dict(values), default_style='"', sort_keys=False, width=_NEVER_FOLDED)
        return text.encode()


EXPORT_RENDERERS: Final = (JsonExport, DotenvExport, YamlExport)


def _quoted(value: str) -> str:
    """Quote a value so that a POSIX shell that sources the file reads it back and runs nothing.

    Between single quotes all is literal; a value with a quote or a backslash, which dotenv readers
    take for an escape there, stands between double quotes. Lines end as they are.
    """
    if "'" not in value and "\\" not in value:
        return f"'{value}'"
    return f'"{value.translate(_ESCAPES)}"'
