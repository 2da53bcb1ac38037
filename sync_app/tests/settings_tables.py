"""Writes the tables of settings of docs/sync.md and docs/rotation.md: `python -m sync_app.tests.settings_tables`."""

import os
from collections.abc import Iterator
from pathlib import Path

import django

DOCS = Path(__file__).resolve().parents[2] / "docs"
BEGIN = "<!-- The tables of settings are written by python -m sync_app.tests.settings_tables -->\n"
END = "<!-- End of the tables of settings -->\n"
PAGES = ("sync.md", "rotation.md")


def tables(page: str) -> str:
    """Return the tables of a page, between their marks, from the registry of backends or of rotators."""
    from sync_app.backends.registry import BACKENDS
    from sync_app.rotators.registry import ROTATORS

    kinds = (
        [(key, each, "destination", each.destination_fields, each.credential_fields) for key, each in BACKENDS.items()]
        if page == "sync.md"
        else [(key, each, "settings", each.settings_fields, each.admin_fields) for key, each in ROTATORS.items()]
    )  # fmt: skip
    lines = []
    for key, kind, group, fields, credentials in kinds:
        lines += [f"**`{key}`: {kind.label}**", "", "| in | name | default | meaning |", "|---|---|---|---|"]
        lines += [*_rows(group, fields), *_rows("credentials", credentials), ""]
    return "\n".join([BEGIN, *lines, END])


def _rows(group: str, fields: tuple[object, ...]) -> Iterator[str]:
    from sync_app.api.settings_schema import about
    from sync_app.backends.capabilities import FormField

    for field in fields:
        assert isinstance(field, FormField)
        preset = field.initial or field.default
        default = "required" if field.required else f"`{preset}`" if preset else ""
        choices = f" One of {', '.join(f'`{each}`' for each in field.choices)}." if field.choices else ""
        yield f"| `{group}` | `{field.name}` | {default} | {about(field)}{choices} |"


def main() -> None:
    """Replace the tables of both pages."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "keeper_project.settings")
    django.setup()
    for page in PAGES:
        text = (DOCS / page).read_text()
        before, _, rest = text.partition(BEGIN)
        (DOCS / page).write_text(before + tables(page) + rest.partition(END)[2])


if __name__ == "__main__":
    main()
