"""What Keeper stores of users and groups, as its schemas announce it, and how what is sent becomes that.

Attributes that are not announced are taken and dropped: providers send many (RFC 7644, 3.3).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

CORE: Final = "urn:ietf:params:scim:schemas:core:2.0:"
MESSAGES: Final = "urn:ietf:params:scim:api:messages:2.0:"
MAX_TEXT: Final = 255
_MAX_EMAILS: Final = 20
_TRUTHS: Final[Mapping[Any, bool]] = {"true": True, "false": False}

Resource = dict[str, Any]


class ScimError(Exception):
    """A request that is refused with a status, one of the protocol's words, and a sentence."""

    def __init__(self, status: int, kind: str, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.kind = kind


def invalid(sentence: str, kind: str = "invalidValue") -> ScimError:
    """Return the refusal of what was sent."""
    return ScimError(400, kind, sentence)


@dataclass(frozen=True, kw_only=True)
class Attribute:
    """An announced attribute (RFC 7643, 7); `inside` are its sub-attributes."""

    name: str
    about: str
    type: str = "string"
    many: bool = False
    required: bool = False
    # Always there, and so announced as required; where a client does not say it, Keeper does.
    kept: bool = False
    read_only: bool = False
    immutable: bool = False
    exact: bool = False
    unique: bool = False
    references: tuple[str, ...] = ()
    inside: tuple["Attribute", ...] = ()

    def sub(self, name: str) -> "Attribute | None":
        """Return a sub-attribute by its name in any case."""
        return self._parts.get(name.lower())

    @cached_property
    def _parts(self) -> dict[str, "Attribute"]:
        return {each.name.lower(): each for each in self.inside}

    @property
    def document(self) -> dict[str, Any]:
        """The attribute as a schema states it."""
        mutability = "readOnly" if self.read_only else "immutable" if self.immutable else "readWrite"
        return {
            "name": self.name,
            "type": self.type,
            "multiValued": self.many,
            "description": self.about,
            "required": self.required or self.kept,
            "caseExact": self.exact,
            "mutability": mutability,
            "returned": "default",
            "uniqueness": "server" if self.unique else "none",
            **({"referenceTypes": list(self.references)} if self.references else {}),
            **({"subAttributes": [each.document for each in self.inside]} if self.inside else {}),
        }


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of resource: its name, its address, and its announced attributes."""

    name: str
    endpoint: str
    about: str
    attributes: tuple[Attribute, ...]

    @property
    def urn(self) -> str:
        return CORE + self.name

    @property
    def writable(self) -> tuple[Attribute, ...]:
        """What a client may write: the announced attributes that are not read only, and externalId."""
        return (EXTERNAL_ID, *(each for each in self.attributes if not each.read_only))

    def attribute(self, name: str) -> Attribute | None:
        """Return an attribute by its name in any case; None if it is not announced."""
        every = (*COMMON, *self.attributes)
        return next((each for each in every if each.name.lower() == name.lower()), None)


EXTERNAL_ID: Final = Attribute(name="externalId", about="The provider's permanent name.", exact=True)
_META: Final = Attribute(
    name="meta",
    about="Facts about the resource.",
    type="complex",
    read_only=True,
    inside=(
        Attribute(name="resourceType", about="Its kind.", exact=True, read_only=True),
        Attribute(name="created", about="When it was created.", type="dateTime", read_only=True),
        Attribute(name="lastModified", about="When it was changed.", type="dateTime", read_only=True),
        Attribute(name="location", about="Its address.", type="reference", exact=True, read_only=True),
        Attribute(name="version", about="Its revision.", exact=True, read_only=True),
    ),
)
# Every resource has them (RFC 7643, 3.1); schemas do not announce them.
COMMON: Final = (Attribute(name="id", about="Keeper's name.", exact=True, read_only=True), EXTERNAL_ID, _META)


def _references(kind: str, about: str, *, read_only: bool) -> tuple[Attribute, ...]:
    """Return the parts of an element that names a resource; a client writes its id."""
    return (
        Attribute(name="value", about=about, exact=True, read_only=read_only, immutable=not read_only),
        Attribute(
            name="$ref",
            about="Its address.",
            type="reference",
            exact=True,
            read_only=read_only,
            immutable=not read_only,
            references=(kind,),
        ),
    )


USER: Final = Kind(
    name="User",
    endpoint="/Users",
    about="A person with an account in Keeper.",
    attributes=(
        Attribute(name="userName", about="The name at the provider.", required=True, unique=True),
        Attribute(
            name="name",
            about="The parts of the person's name.",
            type="complex",
            inside=(
                Attribute(name="formatted", about="The whole name."),
                Attribute(name="familyName", about="The family name."),
                Attribute(name="givenName", about="The given name."),
            ),
        ),
        Attribute(name="displayName", about="The name on pages."),
        Attribute(
            name="emails",
            about="Addresses for notifications. None of them finds an account.",
            type="complex",
            many=True,
            inside=(
                Attribute(name="value", about="The address."),
                Attribute(name="type", about="Such as work."),
                Attribute(name="primary", about="Where Keeper sends notifications.", type="boolean"),
            ),
        ),
        Attribute(name="active", about="Whether the person may use Keeper.", type="boolean", kept=True),
        Attribute(
            name="groups",
            about="The groups of the provider that the person is in.",
            type="complex",
            many=True,
            read_only=True,
            inside=(
                *_references("Group", "The id of the group.", read_only=True),
                Attribute(name="display", about="Its name.", read_only=True),
            ),
        ),
    ),
)
GROUP: Final = Kind(
    name="Group",
    endpoint="/Groups",
    about="A group of Keeper whose members the provider decides.",
    attributes=(
        Attribute(name="displayName", about="The name at the provider.", required=True, unique=True),
        Attribute(
            name="members",
            about="The users in it, and no groups.",
            type="complex",
            many=True,
            inside=_references("User", "The id of the user.", read_only=False),
        ),
    ),
)
KINDS: Final = (USER, GROUP)


def cleaned(kind: Kind, body: Any) -> Resource:
    """Return the announced attributes of a resource as it is sent whole; what it leaves out is not there.

    Raises ScimError.
    """
    if not isinstance(body, dict):
        raise invalid("Send a JSON object.", "invalidSyntax")
    sent = {str(name).lower(): value for name, value in body.items()}
    schemas = sent.get("schemas", [])
    if not isinstance(schemas, list) or kind.urn not in schemas:
        raise invalid(f"Name {kind.urn} among the schemas.", "invalidSyntax")
    return validated(kind, {each.name: sent.get(each.name.lower()) for each in kind.writable})


def validated(kind: Kind, values: Mapping[str, Any]) -> Resource:
    """Return a resource of valid values, without those that are empty. Raises ScimError."""
    resource = {}
    for attribute in kind.writable:
        value = coerced(attribute, values.get(attribute.name))
        if value not in (None, "", [], {}):
            resource[attribute.name] = value
        elif attribute.required:
            raise invalid(f"{attribute.name} is required.")
    return resource


def coerced(attribute: Attribute, value: Any) -> Any:
    """Return a value in the one form that is stored, None for none. Raises ScimError.

    Single values and lists of one are taken for each other, and texts for truth values, as providers send
    them. What is not announced inside is dropped.
    """
    if attribute.many:
        found = [] if value is None else value if isinstance(value, list) else [value]
        elements = [coerced_element(attribute, each) for each in found]
        return _distinct(attribute, [each for each in elements if each.get("value")])
    if isinstance(value, list):
        if len(value) > 1:
            raise invalid(f"{attribute.name} has one value.")
        value = value[0] if value else None
    if value is None:
        return None
    return coerced_element(attribute, value) if attribute.inside else _simple(attribute, value)


def coerced_element(attribute: Attribute, value: Any) -> Resource:
    """Return a complex value, or an element of a list; a bare value is its `value`. Raises ScimError."""
    if isinstance(value, str) and attribute.sub("value"):
        value = {"value": value}
    if not isinstance(value, dict):
        raise invalid(f"{attribute.name} holds objects.")
    element = {}
    for name, content in value.items():
        inside = attribute.sub(str(name))
        if inside is not None and content not in (None, ""):
            element[inside.name] = _simple(inside, content)
    return element


def _simple(attribute: Attribute, value: Any) -> Any:
    if attribute.type == "boolean":
        truth = _TRUTHS.get(value.lower()) if isinstance(value, str) else value
        if not isinstance(truth, bool):
            raise invalid(f"{attribute.name} is true or false.")
        return truth
    if not isinstance(value, str):
        raise invalid(f"{attribute.name} is a text.")
    if len(value) > MAX_TEXT or not value.isprintable():
        raise invalid(f"{attribute.name} has at most {MAX_TEXT} printable characters.")
    return value


def _distinct(attribute: Attribute, elements: list[Resource]) -> list[Resource]:
    """Return elements of which each value occurs once, and one is primary at most. Raises ScimError."""
    found: dict[str, Resource] = {}
    for element in elements:
        found[same(attribute, element["value"])] = element
    if attribute.name == "emails" and len(found) > _MAX_EMAILS:
        raise invalid(f"A user has at most {_MAX_EMAILS} emails.")
    primary = [element for element in found.values() if element.get("primary")]
    if len(primary) > 1:
        raise invalid(f"One of the {attribute.name} is primary.")
    return list(found.values())


def same(attribute: Attribute, value: str) -> str:
    """Return the form in which values of a list are compared."""
    inside = attribute.sub("value")
    return value if inside is None or inside.exact else value.casefold()
