"""The fields that several forms have."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import format_lazy

from core.clock import zone_name


class CommaSeparatedField(forms.CharField):
    """A list of words, entered with commas between them."""

    def clean(self, value: Any) -> list[str]:
        """Return the words. Raises ValidationError as a CharField does."""
        return [word.strip() for word in super().clean(value).split(",") if word.strip()]


def path_field(help_text: str = "") -> forms.CharField:
    """Return the field of a path that limits something to the names under it.

    A form calls it `prefix`. A field is no class attribute once the class is made, so that Django's
    Form.prefix is not touched.
    """
    return forms.CharField(label="Path", required=False, max_length=512, help_text=help_text)


def expiry_field(note: str, *, widget: forms.DateTimeInput | None = None) -> forms.DateTimeField:
    """Return the field of the time when something ends; its help names the zone, and then `note`."""
    help_text = format_lazy("{}. " + note, zone_name())
    widget = widget or forms.DateTimeInput(attrs={"type": "datetime-local"})
    return forms.DateTimeField(label="Expires", required=False, widget=widget, help_text=help_text)


class Suggesting(forms.TextInput):
    """A text field with a list of suggestions, which is no limit to what can be entered."""

    suggestions: Sequence[str] = ()

    def render(
        self, name: str, value: Any, attrs: dict[str, Any] | None = None, renderer: Any = None
    ) -> SafeString:
        listed = f"{(attrs or {}).get('id', name)}_list"
        field = super().render(name, value, {**(attrs or {}), "list": listed}, renderer)
        options = format_html_join("", '<option value="{}"></option>', ((each,) for each in self.suggestions))
        return format_html('{}<datalist id="{}">{}</datalist>', field, listed, options)
