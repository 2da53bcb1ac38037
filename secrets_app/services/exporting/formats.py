"""The forms of an export: JSON, dotenv, YAML, CSV and a Secret of Kubernetes."""

import csv
import io
from abc import ABC, abstractmethod
from base64 import b64encode
from collections.abc import Mapping
from itertools import compress
from typing import Any, Final

import orjson
import yaml
from rest_framework.renderers import BaseRenderer

from secrets_app.errors import InvalidInput
from secrets_app.services.exporting import dotenv_file
from secrets_app.services.exporting.names import DOTENV, KUBERNETES

_NEVER_FOLDED: Final = 2**31 - 1
# The cells of CSV that its column `escaped` may name.
ESCAPABLE: Final = ("name", "value")
# What spreadsheets take for the begin of a formula (OWASP, CSV injection); an apostrophe makes it text.
_FORMULA: Final = (*"=+-@\t\r\n'", "\uff1d", "\uff0b", "\uff0d", "\uff20")


class _ExportRenderer(BaseRenderer, ABC):
    """The base of all forms: name → value, or a problem document."""

    charset: str | None = None
    render_style = "binary"
    # What people call it, and how the name of its file ends.
    label: str
    ending: str

    def render(
        self,
        data: Mapping[str, str] | None,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        """Return the bytes of the export; none where it has not changed."""
        return b"" if data is None else self.written(data)

    def headers(self, values: Mapping[str, str]) -> dict[str, str]:
        return {}

    @abstractmethod
    def written(self, values: Mapping[str, str]) -> bytes:
        """Return name → value in this form."""


class JsonExport(_ExportRenderer):
    """One JSON object."""

    media_type = "application/json"
    format = "json"
    label = "JSON"
    ending = "json"

    def written(self, values: Mapping[str, str]) -> bytes:
        return orjson.dumps(dict(values))


class DotenvExport(_ExportRenderer):
    """Lines of NAME=value that a shell can source and dotenv readers understand."""

    media_type = "text/plain"
    format = DOTENV
    label = "dotenv"
    ending = "env"
    charset = "utf-8"

    def written(self, values: Mapping[str, str]) -> bytes:
        # REST framework takes the media type from an answer without a byte.
        return dotenv_file.dotenv_bytes(values) or b"\n"

    def headers(self, values: Mapping[str, str]) -> dict[str, str]:
        found = dotenv_file.misread(values)
        return {dotenv_file.HEADER: dotenv_file.header(found)} if found else {}


class YamlExport(_ExportRenderer):
    """One YAML mapping."""

    media_type = "application/yaml"
    format = "yaml"
    label = "YAML"
    ending = "yaml"

    def written(self, values: Mapping[str, str]) -> bytes:
        # Double quotes and escapes alone keep every character, such as NEL, which YAML folds.
        text: str = yaml.safe_dump(dict(values), default_style='"', sort_keys=False, width=_NEVER_FOLDED)
        return text.encode()


class CsvExport(_ExportRenderer):
    """Rows of name and value that no spreadsheet runs; `escaped` names the cells that got an apostrophe."""

    media_type = "text/csv"
    format = "csv"
    label = "CSV"
    ending = "csv"
    charset = "utf-8"

    def written(self, values: Mapping[str, str]) -> bytes:
        text = io.StringIO(newline="")
        rows = csv.writer(text, quoting=csv.QUOTE_ALL)
        rows.writerow(("name", "value", "escaped"))
        for cells in values.items():
            risky = [cell.startswith(_FORMULA) for cell in cells]
            safe = [f"'{cell}" if is_risky else cell for cell, is_risky in zip(cells, risky, strict=True)]
            rows.writerow((*safe, " ".join(compress(ESCAPABLE, risky))))
        return text.getvalue().encode()


class KubernetesExport(_ExportRenderer):
    """One Secret for `kubectl apply -f`; the user chooses its name."""

    media_type = "application/vnd.kubernetes.secret+yaml"
    format = KUBERNETES
    label = "Kubernetes Secret"
    ending = "secret.yaml"

    def written(self, values: Mapping[str, str]) -> bytes:
        data = {name: b64encode(value.encode()).decode() for name, value in values.items()}
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "keeper"},
            "type": "Opaque",
            "data": data,
        }
        text: str = yaml.safe_dump(secret, sort_keys=False, width=_NEVER_FOLDED)
        return text.encode()


EXPORT_RENDERERS: Final = (JsonExport, DotenvExport, YamlExport, CsvExport, KubernetesExport)


def export_renderer(format: str) -> _ExportRenderer:
    """Return the renderer of a format. Raises InvalidInput."""
    for renderer in EXPORT_RENDERERS:
        if renderer.format == format:
            return renderer()
    raise InvalidInput("format", f"Choose one of {', '.join(each.format for each in EXPORT_RENDERERS)}.")
