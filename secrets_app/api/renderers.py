"""The forms of an export: JSON, dotenv and YAML."""

from collections.abc import Mapping
from typing import Any, Final

import orjson
import yaml
from rest_framework.renderers import BaseRenderer

from secrets_app.export import DOTENV

# What a double-quoted dotenv value must escape to be read back as it is.
_ESCAPES: Final = str.maketrans({"\\": r"\\", '"': r"\"", "$": r"\$", "\n": r"\n", "\r": r"\r", "\t": r"\t"})


class _ExportRenderer(BaseRenderer):
    """The base of all forms: name → value, or a problem document."""

    charset = None
    render_style = "binary"

    def render(
        self,
        data: Mapping[str, str],
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        """Return the bytes of the export."""
        return self.written(data)

    def written(self, values: Mapping[str, str]) -> bytes:
        """Return name → value in this form."""
        raise NotImplementedError


class JsonExport(_ExportRenderer):
    """One JSON object."""

    media_type = "application/json"
    format = "json"

    def written(self, values: Mapping[str, str]) -> bytes:
        """Return one JSON object, name → value."""
        return orjson.dumps(dict(values))


class DotenvExport(_ExportRenderer):
    """Lines of NAME=value that dotenv readers and shells understand."""

    media_type = "text/plain"
    format = DOTENV

    def written(self, values: Mapping[str, str]) -> bytes:
        """Return a line for each value, quoted so that nothing in it is interpreted."""
        return "".join(f"{name}={_quoted(value)}\n" for name, value in values.items()).encode()


class YamlExport(_ExportRenderer):
    """One YAML mapping."""

    media_type = "application/yaml"
    format = "yaml"

    def written(self, values: Mapping[str, str]) -> bytes:
        """Return one YAML mapping, name → value."""
        text: str = yaml.safe_dump(
            dict(values), allow_unicode=True, sort_keys=False, default_flow_style=False
        )
        return text.encode()


EXPORT_RENDERERS: Final = (JsonExport, DotenvExport, YamlExport)


def _quoted(value: str) -> str:
    """Quote a value: singly where that is literal everywhere, else doubly with escapes."""
    if not any(character in value for character in "'\n\r\\"):
        return f"'{value}'"
    return f'"{value.translate(_ESCAPES)}"'
