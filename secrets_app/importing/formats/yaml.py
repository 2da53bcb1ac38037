"""Reads YAML files: one mapping of name → value, each scalar taken as it is written."""

from typing import Final

import yaml

from secrets_app.errors import InvalidInput
from secrets_app.importing.formats.entries import Entry, unreadable
from secrets_app.importing.formats.json import NULL
from secrets_app.types.registry import SecretType
from secrets_app.types.yaml_document import inspect_yaml

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULL_TAG: Final = "tag:yaml.org,2002:null"


def parse_yaml_file(text: str) -> list[Entry]:
    """Return the entries of a YAML file. Raises InvalidInput."""
    check_yaml(text)
    node = yaml.compose(text, Loader=_LOADER)
    if not isinstance(node, yaml.MappingNode):
        raise unreadable("The file is not a mapping of name and value.")
    return [_entry(name, value) for name, value in node.value]


def check_yaml(text: str) -> None:
    """Refuse what is not one YAML document within the bounds of the type. Raises InvalidInput."""
    try:
        facts = inspect_yaml(text)
    except InvalidInput as error:
        raise unreadable(error.reason) from error
    if facts["documents"] != 1:
        raise unreadable("The file holds several YAML documents: give one.")


def _entry(name: yaml.Node, value: yaml.Node) -> Entry:
    place = name.start_mark.line + 1
    if not isinstance(value, yaml.ScalarNode):
        # A part of a YAML file is YAML; numbers and words keep the form in which they were written.
        text = yaml.serialize(value, Dumper=yaml.SafeDumper, allow_unicode=True)
        return Entry(place=place, name=name.value, value=text, secret_type=SecretType.YAML)
    if value.tag == _NULL_TAG:
        return Entry(place=place, name=name.value, fault=NULL)
    return Entry(place=place, name=name.value, value=value.value)
