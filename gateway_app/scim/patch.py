"""PATCH (RFC 7644, 3.5.2), in the forms that Okta and Entra send: pure, over the announced attributes.

All operations are parsed before the first is applied. What is not announced is dropped.
"""

import re
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final

from gateway_app.scim.filters import Node, fits, parsed_inside, terms
from gateway_app.scim.schema import (
    MESSAGES,
    Attribute,
    Kind,
    Resource,
    coerced,
    coerced_element,
    invalid,
    same,
    validated,
)

MAX_OPERATIONS: Final = 200
MAX_ADDED: Final = 1_000
MAX_REPLACED: Final = 10_000
_PATH: Final = re.compile(r"([A-Za-z$][\w$-]*)(?:\[(.*)\])?(?:\.([A-Za-z$][\w$-]*))?", re.DOTALL)
_URN: Final = re.compile(r"urn:[\w.:-]+", re.IGNORECASE)
_MAX_PATH: Final = 2_000


@dataclass(frozen=True, kw_only=True)
class Step:
    """An operation on one attribute."""

    op: str
    attribute: Attribute
    filter: Node | None = None
    inside: Attribute | None = None
    value: Any = None


def patched(kind: Kind, resource: Resource, body: Any) -> Resource:
    """Return a resource as the operations of a request make it. Raises ScimError.

    `resource` has `id` beside what a client may write.
    """
    steps = [step for operation in _operations(body) for step in _steps(kind, operation)]
    result = deepcopy(resource)
    for step in steps:
        _apply(step, result)
    return validated(kind, result)


def _operations(body: Any) -> list[dict[str, Any]]:
    if not isinstance(body, dict):
        raise invalid("Send a JSON object.", "invalidSyntax")
    sent = {str(name).lower(): value for name, value in body.items()}
    schemas = sent.get("schemas", [])
    if not isinstance(schemas, list) or f"{MESSAGES}PatchOp" not in schemas:
        raise invalid(f"Name {MESSAGES}PatchOp among the schemas.", "invalidSyntax")
    operations = sent.get("operations")
    if not isinstance(operations, list) or not operations:
        raise invalid("Send Operations, a list of at least one.", "invalidSyntax")
    if len(operations) > MAX_OPERATIONS:
        raise invalid(f"Send at most {MAX_OPERATIONS} operations in one request.", "tooMany")
    if not all(isinstance(each, dict) for each in operations):
        raise invalid("An operation is an object.", "invalidSyntax")
    return [{str(name).lower(): value for name, value in each.items()} for each in operations]


def _steps(kind: Kind, operation: dict[str, Any]) -> Iterator[Step]:
    """Yield the steps of an operation; one without a path has a step for each member of its object."""
    op, path, value = str(operation.get("op", "")).lower(), operation.get("path"), operation.get("value")
    if op not in {"add", "replace", "remove"}:
        raise invalid("An operation is add, replace or remove.", "invalidSyntax")
    if op != "remove" and "value" not in operation:
        raise invalid("Send a value to add or replace.")
    if path in (None, ""):
        if op == "remove":
            raise invalid("Send the path of what to remove.", "noTarget")
        if not isinstance(value, dict):
            raise invalid("Without a path, send an object.")
        for name, content in value.items():
            yield from _step(kind, op, str(name), content)
    elif not isinstance(path, str) or len(path) > _MAX_PATH:
        raise invalid("The path is no path of an attribute.", "invalidPath")
    else:
        yield from _step(kind, op, path, value)


def _step(kind: Kind, op: str, path: str, value: Any) -> Iterator[Step]:
    name = path.strip()
    if name.lower() == kind.urn.lower() and isinstance(value, dict):
        for each, content in value.items():
            yield from _step(kind, op, str(each), content)
        return
    if name.lower().startswith(f"{kind.urn.lower()}:"):
        name = name[len(kind.urn) + 1 :]
    if _URN.fullmatch(name.partition("[")[0]):
        # The attribute of another schema, which is not announced.
        return
    match = _PATH.fullmatch(name)
    if match is None:
        raise invalid("The path is no path of an attribute.", "invalidPath")
    attribute = kind.attribute(match[1])
    if attribute is None:
        return
    if (match[2] is not None and not attribute.many) or (match[3] and not attribute.inside):
        raise invalid(f"{attribute.name} has no such parts.", "invalidPath")
    inside = attribute.sub(match[3]) if match[3] else None
    if inside is None and match[3]:
        return
    chosen = parsed_inside(match[2], kind, attribute) if match[2] is not None else None
    _require_size(attribute, op, value)
    yield Step(op=op, attribute=attribute, filter=chosen, inside=inside, value=value)


def _require_size(attribute: Attribute, op: str, value: Any) -> None:
    most = MAX_REPLACED if op == "replace" else MAX_ADDED
    if attribute.many and isinstance(value, list) and len(value) > most:
        raise invalid(f"Send at most {most} {attribute.name} in one operation.", "tooMany")


def _apply(step: Step, resource: Resource) -> None:
    attribute, name = step.attribute, step.attribute.name
    if attribute.read_only:
        if step.op == "remove" or step.value not in (None, [], resource.get(name)):
            raise invalid(f"{name} cannot be changed.", "mutability")
    elif attribute.many:
        resource[name] = _elements(step, resource.get(name) or [])
    elif step.inside is not None:
        part = dict(resource.get(name) or {})
        part[step.inside.name] = None if step.op == "remove" else step.value
        resource[name] = coerced_element(attribute, part)
    elif step.op == "remove":
        if attribute.required or attribute.kept:
            raise invalid(f"{name} is required.", "mutability")
        resource.pop(name, None)
    else:
        value = coerced(attribute, step.value)
        if value is None and attribute.kept:
            raise invalid(f"{name} is required.")
        # A complex value keeps the parts that are not named.
        resource[name] = {**(resource.get(name) or {}), **value} if attribute.inside and value else value


def _elements(step: Step, elements: list[Resource]) -> list[Resource]:
    """Return the elements of a list after a step."""
    attribute = step.attribute
    if step.filter is None and step.inside is None:
        return _whole(step, elements)
    chosen = [each for each in elements if step.filter is None or fits(step.filter, each)]
    if step.op == "remove":
        if step.inside is None:
            return [each for each in elements if not any(each is one for one in chosen)]
        for each in chosen:
            each.pop(step.inside.name, None)
        return elements
    if not chosen:
        if attribute.name == "members":
            raise invalid("No member fits the path.", "noTarget")
        # Entra names by the filter what the element shall be.
        chosen = [{part.name: value for part, value in terms(step.filter)} if step.filter else {}]
        elements = [*elements, *chosen]
    given = coerced_element(attribute, {step.inside.name: step.value} if step.inside else step.value)
    for each in chosen:
        if step.inside is not None and step.inside.name not in given:
            each.pop(step.inside.name, None)
        each.update(given)
    if given.get("primary"):
        _make_primary(chosen[0], elements)
    return elements


def _whole(step: Step, elements: list[Resource]) -> list[Resource]:
    attribute = step.attribute
    given: list[Resource] = coerced(attribute, step.value)
    if step.op == "replace":
        return given
    values = {same(attribute, each["value"]) for each in given}
    if step.op == "remove":
        if step.value is None:
            return []
        return [each for each in elements if same(attribute, each["value"]) not in values]
    found = {same(attribute, each["value"]): each for each in elements}
    for each in given:
        key = same(attribute, each["value"])
        found[key] = {**found.get(key, {}), **each}
        if each.get("primary"):
            _make_primary(found[key], list(found.values()))
    return list(found.values())


def _make_primary(one: Resource, elements: list[Resource]) -> None:
    for each in elements:
        if each is not one and each.get("primary"):
            each["primary"] = False
