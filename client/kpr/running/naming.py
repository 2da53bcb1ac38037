"""Variables of a command from secrets: names are transformed, checked, and never silently lost."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from kpr.errors import NamesError, UsageError

# A secret must not decide which code a program loads: an account that can write it could run anything there.
_LOADERS = re.compile(
    r"(LD_|DYLD_).*|PATH|IFS|ENV|BASH_ENV|SHELLOPTS|BASHOPTS|PYTHON(PATH|HOME|STARTUP|INSPECT|BREAKPOINT)"
    r"|PERL5?(OPT|LIB)|RUBY(OPT|LIB)|NODE_(OPTIONS|PATH)|JAVA_TOOL_OPTIONS|_JAVA_OPTIONS|JDK_JAVA_OPTIONS"
    r"|GIT_(SSH|SSH_COMMAND|EXEC_PATH|ASKPASS)|GCONV_PATH|PROMPT_COMMAND|KPR_(TOKEN|TOKEN_FILE|SERVER)",
    re.IGNORECASE,
)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Linux takes no string longer than 32 pages (MAX_ARG_STRLEN), the name, `=` and the final NUL included.
MAX_VARIABLE_BYTES = 131072


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[^A-Za-z0-9]+", name) if word]


def _upper_snake(name: str) -> str:
    variable = re.sub(r"[^A-Za-z0-9_]", "_", name).upper()
    return f"_{variable}" if variable[:1].isdigit() else variable


def _camel(name: str) -> str:
    first, *rest = _words(name) or [""]
    return first.lower() + "".join(word.capitalize() for word in rest)


TRANSFORMERS: Mapping[str, Callable[[str], str]] = {
    # payments/stripe-key → PAYMENTS_STRIPE_KEY, as an export of Keeper names it.
    "upper-snake": _upper_snake,
    "lower-snake": lambda name: _upper_snake(name).lower(),
    "camel": _camel,
    "upper-camel": lambda name: "".join(word.capitalize() for word in _words(name)),
    "tf-var": lambda name: f"TF_VAR_{_upper_snake(name).lower()}",
    # payments/stripe-key → Payments__StripeKey, as .NET reads sections.
    "dotnet": lambda name: "__".join(
        "".join(word.capitalize() for word in _words(part)) for part in name.split("/")
    ),
    "last": lambda name: _upper_snake(name.rsplit("/", 1)[-1]),
    "none": lambda name: name,
}


@dataclass(frozen=True)
class Naming:
    """How secrets become variables."""

    transformer: str = "upper-snake"
    # Cut from the front of each name, with their slash.
    stripped: tuple[str, ...] = ()
    is_strict: bool = False
    allows_loaders: bool = False

    def variable(self, name: str) -> str:
        """Return the variable of a secret. Raises UsageError or NamesError."""
        transform = TRANSFORMERS.get(self.transformer)
        if transform is None:
            raise UsageError(f"Unknown name transformer: choose one of {', '.join(TRANSFORMERS)}.")
        cut = max((len(each) + 1 for each in self.stripped if name.startswith(f"{each}/")), default=0)
        short = name[cut:]
        variable = transform(short)
        if not _VARIABLE.fullmatch(variable):
            raise NamesError(f"{name} would be the variable {variable}, which is no name of one.")
        if not self.allows_loaders and _LOADERS.fullmatch(variable):
            raise NamesError(
                f"{name} would be the variable {variable}, which changes what programs load: "
                "rename the secret, use --prefix or --only, or allow it with --allow-loader-variables."
            )
        return variable


@dataclass
class Variables:
    """The variables that secrets give, and warnings about them."""

    values: dict[str, bytes] = field(default_factory=dict, repr=False)
    warnings: list[str] = field(default_factory=list)


def variables_of(
    secrets: Mapping[str, str], naming: Naming, present: Mapping[str, str], *, keeps_present: bool = False
) -> Variables:
    """Return the variables of secrets. `present` is the environment so far.

    A secret replaces a variable of the environment with a warning, or leaves it if `keeps_present`.
    Raises NamesError if two secrets would be one variable, if a value cannot be one, or, where it is
    strict, if the environment has the variable.
    """
    sources: dict[str, str] = {}
    found = Variables()
    for name, value in secrets.items():
        variable = naming.variable(name)
        if variable in sources:
            raise NamesError(
                f"{sources[variable]} and {name} would both be {variable}: use --only or --prefix."
            )
        sources[variable] = name
        content = _content(variable, name, value)
        if variable in present and present[variable].encode("utf-8", "surrogateescape") != content:
            _note_present(found, variable, naming, keeps_present=keeps_present)
            if keeps_present:
                continue
        found.values[variable] = content
    return found


def missing(required: Iterable[str], secrets: Mapping[str, str]) -> list[str]:
    """Return the names that are required and not there."""
    return [name for name in required if name not in secrets]


def _note_present(found: Variables, variable: str, naming: Naming, *, keeps_present: bool) -> None:
    if naming.is_strict:
        raise NamesError(f"{variable} is set in the environment already: unset it, or leave out --strict.")
    told = "keeps its value of the environment" if keeps_present else "is replaced by the secret"
    found.warnings.append(f"{variable} {told}")


def _content(variable: str, name: str, value: str) -> bytes:
    content = value.encode()
    if b"\0" in content:
        raise NamesError(f"{name} holds a NUL byte, which no variable can: use --file {variable}={name}.")
    if len(variable) + len(content) + 2 > MAX_VARIABLE_BYTES:
        raise NamesError(
            f"{name} is too large for a variable (128 KiB with its name): use --file {variable}={name}."
        )
    return content
