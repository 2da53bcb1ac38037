"""What a system guarantees by its own requests, and what the form of its targets asks for."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from sync_app.errors import BadDestination


@dataclass(frozen=True, kw_only=True)
class FormField:
    """One field of a target's form.

    `sensitive` ones are credentials, sealed and never shown again; `fixed` ones locate the secrets, and
    never change; `rule` ones are a choice about what is written, and change without new credentials.
    `lines` ones hold several lines, such as a certificate.
    """

    name: str
    label: str
    required: bool = False
    sensitive: bool = False
    fixed: bool = False
    lines: bool = False
    default: str = ""
    help: str = ""
    choices: tuple[str, ...] = ()
    # What forms call the choices.
    choice_labels: tuple[str, ...] = ()
    rule: bool = False
    # What a new target begins with, where a target that is older than the field has `default`.
    initial: str = ""
    # The way of signing in that it belongs to, where there are several; that way needs the credentials.
    way: str = ""
    # What a text has to match, for those who read the API's description.
    pattern: str = ""


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What a system guarantees by its own requests. What it does not, the caller reads or restores itself."""

    # `update` itself refuses a secret without the mark in `seen`. Else the caller reads it first.
    update_checks_mark: bool = False
    # `delete` deletes no version but the one in `seen`, whatever is written just before it.
    deletes_one_version: bool = False
    # No other writer can create the version that `predict_version` names. Else its value decides.
    predicted_version_is_unique: bool = False
    # A list that was read to its end shows every existing secret.
    list_is_complete: bool = False
    # The response to a `create` proves the new secret. Else the caller reads it after.
    confirms_create: bool = True
    # What `delete` deletes can be brought back there by `restore`. Else it is kept in Keeper alone.
    deletes_recoverably: bool = True
    # A secret carries our mark. Else only our entry, with its `remote_id`, proves it ours.
    keeps_marks: bool = True
    # A change of a label, or of anything else beside the value, makes a new version as well.
    versions_count_metadata: bool = False
    # `read_value` returns values. Else the system takes values and shows none: such a target is push only.
    reads_values: bool = True


def fill_initial(fields: tuple[FormField, ...], given: Mapping[str, str]) -> dict[str, str]:
    """Return the fields that a new target is made from: those given, and what new targets begin with."""
    initial = {each.name: each.initial for each in fields if each.initial}
    return initial | {name: text for name, text in given.items() if text or name not in initial}


def fill_defaults(
    fields: tuple[FormField, ...], given: Mapping[str, str], *, sent_as: str = "destination"
) -> dict[str, str]:
    """Return a text for every field: the one given, or the default.

    `sent_as` is what the fields as a whole are called where they come from, unless they are credentials.

    Raises BadDestination if a field is unknown, a required one is missing, or one is no choice of its.
    """
    names = [each.name for each in fields]
    if given.keys() - set(names):
        # It is not repeated: a credential may have been put in place of a name.
        where = "credentials" if any(each.sensitive for each in fields) else sent_as
        raise BadDestination(f"a field is unknown; there are {', '.join(names)}", field=where)
    values = {each.name: given.get(each.name) or each.default for each in fields}
    for each in fields:
        if each.required and not values[each.name]:
            raise BadDestination(f"{each.label} is missing", field=each.name)
        if each.choices and values[each.name] not in each.choices:
            raise BadDestination(f"choose one of {', '.join(each.choices)}", field=each.name)
    return values


class Need(StrEnum):
    """What a permission is needed for."""

    # Looking, which every target does.
    READ = "read"
    # Pushing and adopting.
    WRITE = "write"
    # Deleting what Keeper no longer has, and bringing it back.
    DELETE = "delete"
    # Fewer requests.
    SPEED = "speed"


class Grant(StrEnum):
    """Whether credentials have a permission."""

    GRANTED = "granted"
    MISSING = "missing"
    # It cannot be asked for without changing something.
    UNPROVEN = "unproven"


@dataclass(frozen=True, kw_only=True)
class Permission:
    """A permission, in the words of the system that grants it."""

    name: str
    need: Need
    grant: Grant
    note: str = ""
