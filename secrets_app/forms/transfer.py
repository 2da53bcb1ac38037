"""The forms in which secrets come in as a file and go out as one."""

import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from django import forms

from audit_app.interfaces import Purpose, keyring
from core.canonical_json import canonical_json
from secrets_app.errors import InvalidInput
from secrets_app.forms.secret import PlacedForm
from secrets_app.importing.formats.registry import FORMATS, Entry, decoded, format_of, parse
from secrets_app.importing.plan import entry_keys
from secrets_app.services.exporting import EXPORT_RENDERERS
from secrets_app.types.registry import SecretType, parse_secret_type
from secrets_app.values.names import validate_prefix

# Of a column, each with up to eight fields; a form has at most 1,000.
MAX_ROWS: Final = 120
_FIX: Final = re.compile(r"fix-([0-9a-f]{32}-\d{1,4})-(name|value|type|was)")
EXPORT_FORMATS: Final = [(each.format, each.label) for each in EXPORT_RENDERERS]


class ImportForm(PlacedForm):
    """A file or text, where its entries go, and corrections of single entries."""

    format = forms.ChoiceField(
        required=False,
        choices=[("", "Detect automatically"), *((each.name, each.label) for each in FORMATS.values())],
    )
    file = forms.FileField(
        required=False,
        help_text="Up to 1,000 entries.",
        widget=forms.FileInput(attrs={"class": "form-control"}),
    )
    text = forms.CharField(
        label="Or paste text",
        required=False,
        strip=False,
        widget=forms.Textarea(
            attrs={
                "rows": 4,
                "autocomplete": "off",
                "spellcheck": "false",
                "class": "form-control font-monospace concealed short",
                "placeholder": "STRIPE_KEY=…",
            }
        ),
    )
    under = forms.CharField(
        label="Path prefix", required=False, strip=False, help_text="Added before every name."
    )
    existing = forms.ChoiceField(
        label="If a secret already exists",
        required=False,
        choices=[("change", "Write a new version"), ("keep", "Skip")],
    )

    skip_empty = forms.BooleanField(required=False, widget=forms.HiddenInput)

    @property
    def keep_existing(self) -> bool:
        return bool(self.cleaned_data["existing"] == "keep")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # How many entries without a value were left out.
        self.skipped = 0
        # The entries as they were sent, by their key, in their order; `entries` finds them.
        self.sent: dict[str, Entry] = {}

    @property
    def fixes(self) -> dict[str, dict[str, str]]:
        """What was entered to correct single entries, by the key of each (`entry_keys`)."""
        fixes: dict[str, dict[str, str]] = {}
        for name, value in self.data.items():
            matched = _FIX.fullmatch(name)
            if matched and value:
                fixes.setdefault(matched[1], {})[matched[2]] = str(value).replace("\r\n", "\n")
        for fix in fixes.values():
            # The page offers the name as it was; only another one is a correction.
            if fix.pop("was", None) == fix.get("name"):
                fix.pop("name", None)
        return {key: fix for key, fix in fixes.items() if fix}

    @property
    def sends_file(self) -> bool:
        """Whether the file is sent again to import it; without scripts, the user chooses it again."""
        return not self.cleaned_data["text"]

    def entries(self) -> list[Entry]:
        data = self.cleaned_data
        prefix = validate_prefix(data["under"])
        file = data["file"]
        # Browsers send every line end of a textarea as CR LF (HTML, 4.10.21); a file comes as it is.
        text = decoded(file.read()) if file else data["text"].replace("\r\n", "\n")
        if not text:
            raise InvalidInput("file", "Choose a file or paste its text.")
        entries = parse(data["format"] or format_of(file.name if file else "", text), text)
        if prefix:
            entries = [replace(entry, name=f"{prefix}/{entry.name}") for entry in entries]
        return self._corrected(entries, text)

    def _corrected(self, entries: Sequence[Entry], file: str = "") -> list[Entry]:
        sent = dict(zip(entry_keys(entries, file), entries, strict=True))
        fixes = self.fixes
        corrected = {key: _apply(fixes.get(key, {}), entry) for key, entry in sent.items()}
        if self.cleaned_data.get("skip_empty"):
            corrected = {key: entry for key, entry in corrected.items() if entry.value or entry.fault}
        self.skipped = len(sent) - len(corrected)
        self.sent = {key: sent[key] for key in corrected}
        return list(corrected.values())


def _apply(fix: Mapping[str, str], entry: Entry) -> Entry:
    return replace(
        entry,
        name=fix.get("name", entry.name),
        value=fix.get("value", entry.value),
        secret_type=parse_secret_type(fix["type"]) if "type" in fix else entry.secret_type,
        # Input for a missing field corrects the fault of the file.
        fault="" if "value" in fix else entry.fault,
        # What was shown is another name's.
        seen=None if "name" in fix else entry.seen,
    )


@dataclass(frozen=True)
class Cell:
    """A value of a column, with the ETag that the page showed and the mark of a value that was loaded."""

    name: str
    value: str = field(default="", repr=False)
    seen: str | None = None
    mark: str = ""

    def marked(self) -> "Cell":
        """Return the cell with a mark, by which the same value is known to be as it was loaded."""
        # A browser sends every line end as CR LF.
        value = self.value.replace("\r\n", "\n").replace("\r", "\n")
        content = canonical_json(["keeper/loaded-value/v1", ascii([self.name, self.seen, value])])
        return replace(self, mark=keyring().mac(Purpose.FINGERPRINT, content).hex())

    @property
    def is_entered(self) -> bool:
        """Whether it holds a value that is not as it was loaded."""
        return bool(self.value) and not hmac.compare_digest(self.marked().mark.encode(), self.mark.encode())


class TableForm(ImportForm):
    """Values of a column of the matrix: `name-0`, `value-0`, …; a row without a new value is left alone."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in [name for name in self.fields if name != "environment"]:
            del self.fields[name]

    @property
    def keep_existing(self) -> bool:
        return False

    @property
    def sends_file(self) -> bool:
        """The rows stay on the page."""
        return False

    @property
    def _rows(self) -> list[Cell]:
        """The cells as they were sent; browsers send a line end as CR LF."""
        return [
            Cell(
                name=self.data.get(f"name-{index}", "").strip(),
                value=self.data.get(f"value-{index}", "").replace("\r\n", "\n"),
                seen=self.data.get(f"seen-{index}"),
                mark=self.data.get(f"mark-{index}", ""),
            )
            for index in range(MAX_ROWS)
        ]

    @property
    def typed(self) -> dict[str, Cell]:
        """What was entered or loaded, by name, to be shown again."""
        return {cell.name: cell for cell in self._rows if cell.value}

    def entries(self) -> list[Entry]:
        """Return the rows that hold a new value, corrected. Raises InvalidInput if none does."""
        entries = [
            Entry(place=place, name=cell.name, value=cell.value, seen=cell.seen)
            for place, cell in enumerate(self._rows, 1)
            if cell.is_entered
        ]
        if not entries:
            raise InvalidInput("value", "Enter at least one new value.")
        return self._corrected(entries)


class ExportForm(PlacedForm):
    under = forms.CharField(
        label="Path prefix", required=False, strip=False, help_text="Leave blank to export everything."
    )
    format = forms.ChoiceField(choices=EXPORT_FORMATS, initial="dotenv")


TYPES: Final = SecretType.choices
