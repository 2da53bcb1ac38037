"""How a generator describes its options, so that a serializer and a form can be derived, and checks them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from secrets_app.errors import InvalidOption
from secrets_app.types.registry import SecretType

OptionKind: TypeAlias = Literal["integer", "boolean", "choice", "text", "list"]
OptionValue: TypeAlias = int | bool | str | list[str]


@dataclass(frozen=True, kw_only=True)
class Option:
    """One option: `minimum` and `maximum` bound an integer, the length of a text or the size of a list."""

    name: str
    label: str
    kind: OptionKind
    default: OptionValue
    minimum: int | None = None
    maximum: int | None = None
    choices: tuple[str, ...] = ()
    help: str = ""

    def checked(self, value: object) -> OptionValue:
        """Return `value` if it is of this option's kind and within its bounds.

        Raises InvalidOption, without the value, if it is not.
        """
        return _CHECKS[self.kind](self, value)

    def refused(self, reason: str) -> InvalidOption:
        return InvalidOption(self.name, reason)

    def check_size(self, size: int, unit: str) -> None:
        """Raise InvalidOption if `size`, counted in `unit`, is out of bounds."""
        low, high = self.minimum, self.maximum
        if (low is not None and size < low) or (high is not None and size > high):
            bounds = " and ".join(
                [f"at least {low}"] * (low is not None) + [f"at most {high}"] * (high is not None)
            )
            raise self.refused(f"{self.label} must be {bounds}{unit}.")


@dataclass(frozen=True)
class Generated:
    """A new value, its type, what of it may be published, and the bits of entropy where they are known."""

    value: str = field(repr=False)
    secret_type: SecretType
    public: str | None = None
    entropy_bits: int | None = None


@dataclass(frozen=True, kw_only=True)
class Generator:
    """One kind of value that Keeper can make: `make` takes every option by name."""

    kind: str
    label: str
    secret_type: SecretType
    options: tuple[Option, ...]
    make: Callable[..., Generated]

    def checked(self, options: Mapping[str, object]) -> dict[str, OptionValue]:
        """Return a value for every option: the one in `options`, checked, or the default.

        Raises InvalidOption if one is unknown, of the wrong kind or out of bounds.
        """
        if unknown := options.keys() - {option.name for option in self.options}:
            names = ", ".join(option.name for option in self.options) or "none"
            raise InvalidOption("options", f"{len(unknown)} unknown; {self.kind} has these options: {names}.")
        return {
            option.name: option.checked(options[option.name]) if option.name in options else option.default
            for option in self.options
        }


def _integer(option: Option, value: object) -> OptionValue:
    if not isinstance(value, int) or isinstance(value, bool):
        raise option.refused(f"{option.label} must be a whole number.")
    option.check_size(value, "")
    return value


def _boolean(option: Option, value: object) -> OptionValue:
    if not isinstance(value, bool):
        raise option.refused(f"{option.label} must be true or false.")
    return value


def _choice(option: Option, value: object) -> OptionValue:
    if not isinstance(value, str) or value not in option.choices:
        listed = ", ".join(repr(choice) for choice in option.choices)
        raise option.refused(f"{option.label} must be one of {listed}.")
    return value


def _text(option: Option, value: object) -> OptionValue:
    if not isinstance(value, str):
        raise option.refused(f"{option.label} must be text.")
    option.check_size(len(value), " characters long")
    # Nothing that a generator takes needs more, and each format it writes can hold this.
    if not (value.isascii() and value.isprintable()):
        raise option.refused(f"{option.label} must be printable ASCII characters.")
    return value


def _list(option: Option, value: object) -> OptionValue:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise option.refused(f"{option.label} must be a list of texts.")
    option.check_size(len(value), " entries long")
    return value


_CHECKS: dict[OptionKind, Callable[[Option, object], OptionValue]] = {
    "integer": _integer,
    "boolean": _boolean,
    "choice": _choice,
    "text": _text,
    "list": _list,
}
