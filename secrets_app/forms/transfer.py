"""The forms in which secrets come in as a file and go out as one."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from django import forms

from secrets_app.errors import InvalidInput
from secrets_app.forms.secret import PlacedForm
from secrets_app.importing.formats.registry import FORMATS, Entry, decoded, format_of, parse
from secrets_app.importing.plan import entry_keys
from secrets_app.services.exporting import EXPORT_RENDERERS
from secrets_app.types.registry import SecretType, parse_secret_type
from secrets_app.values.names import validate_prefix

# Of a table; a form has at most 1,000 fields.
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
    )


class TableForm(ImportForm):
    """Values entered as a table: `name-0`, `value-0`, …; a row without a value is left alone."""

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

    def entries(self) -> list[Entry]:
        """Return the rows that hold a value, corrected. Raises InvalidInput if none does."""
        rows = [
            (self.data.get(f"name-{index}", "").strip(), self.data.get(f"value-{index}", ""))
            for index in range(MAX_ROWS)
        ]
        entries = [
            Entry(place=place, name=name, value=value.replace("\r\n", "\n"))
            for place, (name, value) in enumerate(rows, 1)
            if value
        ]
        if not entries:
            raise InvalidInput("value", "Enter at least one value.")
        return self._corrected(entries)


class ExportForm(PlacedForm):
    under = forms.CharField(
        label="Path prefix", required=False, strip=False, help_text="Leave blank to export everything."
    )
    format = forms.ChoiceField(choices=EXPORT_FORMATS, initial="dotenv")


TYPES: Final = SecretType.choices
