"""The settings of targets and rotation policies in OpenAPI, one schema for each backend and each rotator.

They come from the registries, so that a new backend or rotator appears without a change here.
"""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any, Final

from sync_app.api.target_serializers import MAX_TEXT
from sync_app.backends.capabilities import FormField
from sync_app.backends.registry import BACKENDS
from sync_app.rotators.registry import ROTATORS

Document = dict[str, Any]
Fields = Iterable[FormField]
_SCHEMAS: Final = "#/components/schemas/"


def describe_settings(result: Document, **_arguments: Any) -> Document:
    """Replace bodies with free settings by one schema a kind (a hook of SPECTACULAR_SETTINGS)."""
    schemas = result["components"]["schemas"]
    backends = {
        key: {"destination": each.destination_fields, "credentials": each.credential_fields}
        for key, each in BACKENDS.items()
    }
    rotators = {
        key: {"settings": each.settings_fields, "credentials": each.admin_fields}
        for key, each in ROTATORS.items()
    }
    labels = {key: each.label for registry in (BACKENDS, ROTATORS) for key, each in registry.items()}
    _describe(schemas, "NewTargetRequest", "backend", backends, labels)
    _describe(schemas, "DraftTestRequest", "backend", backends, labels)
    _describe(schemas, "NewPolicyRequest", "rotator", rotators, labels)
    return result


def _describe(
    schemas: Document,
    body: str,
    selector: str,
    kinds: Mapping[str, Mapping[str, Fields]],
    labels: Mapping[str, str],
) -> None:
    general = schemas[body]
    variants = {}
    for key, groups in kinds.items():
        variant = deepcopy(general)
        variant["description"] = f"{labels[key]}. {general.get('description', '')}".strip()
        variant["properties"][selector] = {"type": "string", "enum": [key]}
        for group, fields in groups.items():
            name = f"{_camel(key)}{group.capitalize()}"
            schemas[name] = _object(fields, f"{labels[key]}: {group}.")
            variant["properties"][group] = {"$ref": _SCHEMAS + name}
            if any(field.required for field in fields):
                variant["required"] = sorted({*variant["required"], group})
        schemas[f"{_camel(key)}{body}"] = variant
        variants[key] = f"{_SCHEMAS}{_camel(key)}{body}"
    schemas[body] = {
        "oneOf": [{"$ref": address} for address in variants.values()],
        "discriminator": {"propertyName": selector, "mapping": variants},
    }


def _object(fields: Fields, description: str) -> Document:
    required = [field.name for field in fields if field.required]
    schema: Document = {
        "type": "object",
        "description": description,
        "properties": {field.name: _text(field) for field in fields},
        "additionalProperties": False,
    }
    return schema | ({"required": required} if required else {})


def _text(field: FormField) -> Document:
    schema: Document = {"type": "string", "maxLength": MAX_TEXT, "description": about(field)}
    if field.required:
        schema["minLength"] = 1
    if field.choices:
        schema["enum"] = [*field.choices]
    elif field.pattern:
        schema["pattern"] = f"^({field.pattern})?$"
    if preset := field.initial or field.default:
        schema["default"] = str(preset)
    if field.sensitive:
        schema["writeOnly"] = True
    return schema


def about(field: FormField) -> str:
    """Return what a field means, in one line."""
    parts = [field.label, field.help, "It never changes." if field.fixed else ""]
    return ". ".join(part.rstrip(".") for part in parts if part) + "."


def _camel(key: str) -> str:
    return "".join(part.capitalize() for part in key.split("_"))
