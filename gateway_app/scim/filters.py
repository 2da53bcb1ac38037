"""Filters (RFC 7644, 3.4.2.2): the whole grammar over the announced attributes, judged in memory."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeAlias

from environments_app.names import fold_username
from gateway_app.scim.schema import Attribute, Kind, Resource, ScimError, invalid

MAX_LENGTH: Final = 2_000
_MAX_DEPTH: Final = 10
_TOKEN: Final = re.compile(r'\s*("(?:[^"\\]|\\.)*"|[()\[\]]|[^\s()\[\]"]+)')
_NAME: Final = re.compile(r"(?:[A-Za-z][\w-]*|\$ref)(?:\.(?:[A-Za-z][\w-]*|\$ref))?")
_TEXT_TESTS: Final[Mapping[str, Callable[[str, str], bool]]] = {
    "co": lambda found, given: given in found,
    "sw": lambda found, given: found.startswith(given),
    "ew": lambda found, given: found.endswith(given),
}
_ORDER_TESTS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "gt": lambda found, given: found > given,
    "ge": lambda found, given: found >= given,
    "lt": lambda found, given: found < given,
    "le": lambda found, given: found <= given,
}
_OPERATORS: Final = frozenset({"eq", "ne", "pr", *_TEXT_TESTS, *_ORDER_TESTS})


@dataclass(frozen=True)
class Compare:
    """An attribute, perhaps inside of another, held against a value."""

    attribute: Attribute
    inside: Attribute | None
    operator: str
    value: Any = None


@dataclass(frozen=True)
class Inside:
    """A filter on the elements of a list: `emails[type eq "work"]`."""

    attribute: Attribute
    filter: "Node"


@dataclass(frozen=True)
class Not:
    """The opposite of a filter."""

    filter: "Node"


@dataclass(frozen=True)
class Both:
    """Two filters, of which both have to fit, or one (`either`)."""

    left: "Node"
    right: "Node"
    either: bool


Node: TypeAlias = Compare | Inside | Not | Both


def bad(sentence: str) -> ScimError:
    """Return the refusal of a filter."""
    return invalid(sentence, "invalidFilter")


def parsed(text: str, kind: Kind) -> Node:
    """Return the filter of a text. Raises ScimError."""
    return _Parser(text, kind).whole()


def parsed_inside(text: str, kind: Kind, attribute: Attribute) -> Node:
    """Return the filter on the elements of a list. Raises ScimError."""
    return _Parser(text, kind, attribute).whole()


def names(node: Node) -> set[str]:
    """Return the attributes that a filter asks for."""
    if isinstance(node, Both):
        return names(node.left) | names(node.right)
    return names(node.filter) if isinstance(node, Not) else {node.attribute.name}


def terms(node: Node) -> Iterator[tuple[Attribute, Any]]:
    """Yield what an element must hold to fit a filter on elements, by its sub-attributes."""
    if isinstance(node, Compare) and node.operator == "eq" and node.value is not None:
        yield node.attribute, node.value
    elif isinstance(node, Both) and not node.either:
        yield from terms(node.left)
        yield from terms(node.right)


def fits(node: Node, resource: Resource) -> bool:
    """Return whether a resource, or an element of a list, fits a filter."""
    if isinstance(node, Both):
        left = fits(node.left, resource)
        return (left or fits(node.right, resource)) if node.either else left and fits(node.right, resource)
    if isinstance(node, Not):
        return not fits(node.filter, resource)
    if isinstance(node, Inside):
        return any(fits(node.filter, element) for element in resource.get(node.attribute.name) or [])
    return _fits(node, resource)


def _fits(node: Compare, resource: Resource) -> bool:
    value = resource.get(node.attribute.name)
    attribute, values = node.attribute, value if isinstance(value, list) else [value]
    if node.inside is not None:
        attribute = node.inside
        values = [each.get(attribute.name) for each in values if isinstance(each, dict)]
    present = [each for each in values if each not in (None, "", {}, [])]
    if node.operator == "pr":
        return bool(present)
    if node.operator == "ne":
        return not any(_holds("eq", attribute, each, node.value) for each in present)
    if node.value is None:
        # Only eq and ne take null.
        return not present
    return any(_holds(node.operator, attribute, each, node.value) for each in present)


def _holds(operator: str, attribute: Attribute, found: Any, given: Any) -> bool:
    if given is None:
        return False
    if attribute.type == "dateTime":
        found, given = _moment(found), _moment(given)
    elif isinstance(given, str) and not attribute.exact and isinstance(found, str):
        found, given = fold_username(found), fold_username(given)
    if operator == "eq":
        return bool(found == given)
    if operator in _TEXT_TESTS:
        return isinstance(found, str) and _TEXT_TESTS[operator](found, given)
    return _ORDER_TESTS[operator](found, given)


def _moment(text: Any) -> datetime:
    moment = datetime.fromisoformat(str(text))
    if moment.tzinfo is None:
        raise ValueError("no zone")
    return moment


class _Parser:
    """Reads a filter from left to right: `or` binds weaker than `and`, `not` the most."""

    def __init__(self, text: str, kind: Kind, element: Attribute | None = None) -> None:
        if len(text) > MAX_LENGTH:
            raise bad(f"A filter has at most {MAX_LENGTH} characters.")
        self.kind, self.element, self.depth = kind, element, 0
        self.tokens: list[str] = []
        place = 0
        while text[place:].strip():
            match = _TOKEN.match(text, place)
            if match is None:
                raise bad("The filter cannot be read. Is a quotation mark missing?")
            self.tokens.append(match[1])
            place = match.end()
        self.tokens.reverse()

    def whole(self) -> Node:
        node = self._either()
        if self.tokens:
            raise bad(f"The filter goes on after its end, at {self.tokens[-1][:40]}.")
        return node

    def _next(self) -> str:
        if not self.tokens:
            raise bad("The filter ends too early.")
        return self.tokens.pop()

    def _takes(self, word: str) -> bool:
        if self.tokens and self.tokens[-1].lower() == word:
            self.tokens.pop()
            return True
        return False

    def _either(self) -> Node:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise bad(f"A filter is nested {_MAX_DEPTH} times at most.")
        node = self._both()
        while self._takes("or"):
            node = Both(node, self._both(), either=True)
        self.depth -= 1
        return node

    def _both(self) -> Node:
        node = self._term()
        while self._takes("and"):
            node = Both(node, self._term(), either=False)
        return node

    def _term(self) -> Node:
        if self._takes("not"):
            if not self._takes("("):
                raise bad("Write not with brackets: not (…).")
            return Not(self._bracket())
        if self._takes("("):
            return self._bracket()
        return self._comparison()

    def _bracket(self) -> Node:
        node = self._either()
        if not self._takes(")"):
            raise bad("A bracket of the filter is not closed.")
        return node

    def _comparison(self) -> Node:
        attribute, inside = self._path(self._next())
        if self._takes("["):
            if not attribute.many or inside is not None or self.element is not None:
                raise bad(f"{attribute.name} has no elements to filter.")
            return self._elements(attribute)
        return self._compared(attribute, inside)

    def _elements(self, attribute: Attribute) -> Node:
        self.element = attribute
        node = self._either()
        if not self._takes("]"):
            raise bad("A bracket of the filter is not closed.")
        if self.tokens and self.tokens[-1].startswith("."):
            # Entra's emails[type eq "work"].value eq "…", which the RFC has for paths alone.
            part, _ = self._path(self._next()[1:])
            node = Both(node, self._compared(part, None), either=False)
        self.element = None
        return Inside(attribute, node)

    def _compared(self, attribute: Attribute, inside: Attribute | None) -> Node:
        operator = self._next().lower()
        if operator not in _OPERATORS:
            raise bad(f"A filter compares by {', '.join(sorted(_OPERATORS))}.")
        if attribute.inside and inside is None and operator != "pr":
            inside = attribute.sub("value")
            if inside is None:
                raise bad(f"Name a part of {attribute.name}, such as {attribute.inside[0].name}.")
        if operator == "pr":
            return Compare(attribute, inside, operator)
        return Compare(attribute, inside, operator, self._value(inside or attribute, operator))

    def _path(self, token: str) -> tuple[Attribute, Attribute | None]:
        name = token
        if name.lower().startswith("urn:"):
            if not name.lower().startswith(f"{self.kind.urn.lower()}:"):
                raise bad("The filter names a schema that is not announced.")
            name = name[len(self.kind.urn) + 1 :]
        if not _NAME.fullmatch(name):
            raise bad("The filter names no attribute where one is expected.")
        first, _, second = name.partition(".")
        attribute = self.element.sub(first) if self.element else self.kind.attribute(first)
        if attribute is None:
            raise bad(f"{first[:40]} is no attribute that can be filtered by.")
        inside = attribute.sub(second) if second else None
        if second and inside is None:
            raise bad(f"{attribute.name} has no part {second[:40]}.")
        return attribute, inside

    def _value(self, attribute: Attribute, operator: str) -> Any:
        token = self._next()
        try:
            value = json.loads(token)
        except ValueError as error:
            if token.lower() not in {"true", "false"}:
                raise bad("Put the value of a filter in quotation marks.") from error
            value = token.lower() == "true"
        if attribute.type == "boolean":
            if isinstance(value, str) and value.lower() in {"true", "false"}:
                value = value.lower() == "true"
            is_right = isinstance(value, bool) and operator in {"eq", "ne"}
        elif attribute.type == "dateTime":
            is_right = isinstance(value, str) and operator not in _TEXT_TESTS and _is_moment(value)
        else:
            is_right = isinstance(value, str)
        if (isinstance(value, str) and not value.isprintable()) or (
            not is_right and not (value is None and operator in {"eq", "ne"})
        ):
            raise bad(f"{attribute.name} cannot be compared with this value by {operator}.")
        return value


def _is_moment(text: str) -> bool:
    try:
        _moment(text)
    except ValueError:
        return False
    return True
