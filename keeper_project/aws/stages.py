"""The staging labels of versions: Keeper's current, previous and pending one."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol

from keeper_project.aws.answers import invalid
from secrets_app.models import Secret, SecretVersion

CURRENT: Final = "AWSCURRENT"
_PREVIOUS: Final = "AWSPREVIOUS"
_PENDING: Final = "AWSPENDING"
_MAX_LABEL: Final = 256


class Staged(Protocol):
    """A secret, by the numbers of its versions."""

    @property
    def current_number(self) -> int: ...
    @property
    def previous_number(self) -> int | None: ...
    @property
    def pending_number(self) -> int | None: ...


def numbers_by_label(secret: Staged) -> dict[str, int]:
    """Return the numbers of the versions that have a label."""
    found = {
        CURRENT: secret.current_number,
        _PREVIOUS: secret.previous_number,
        _PENDING: secret.pending_number,
    }
    return {label: number for label, number in found.items() if number is not None}


def stages_of(secret: Staged, number: int) -> list[str]:
    """Return the labels of a version."""
    return [label for label, each in numbers_by_label(secret).items() if each == number]


def label_of(given: Any) -> str:
    """Return a label that a request names. Raises AwsError."""
    if not isinstance(given, str) or not 0 < len(given) <= _MAX_LABEL:
        raise invalid("VersionStage must be a staging label.")
    return given


def labelled_versions(ids: Iterable[int]) -> Mapping[int, dict[str, list[str]]]:
    """Return the labels of each labelled version of these secrets, by the secrets' keys and version ids."""
    secrets = Secret.objects.in_bulk([*ids])
    numbers = {pk: {*numbers_by_label(secret).values()} for pk, secret in secrets.items()}
    every = {number for each in numbers.values() for number in each}
    found: dict[int, dict[str, list[str]]] = {pk: {} for pk in secrets}
    versions = SecretVersion.objects.filter(secret_id__in=[*secrets], number__in=every)
    for pk, uuid, number in versions.values_list("secret_id", "uuid", "number"):
        if number in numbers[pk]:
            found[pk][str(uuid)] = stages_of(secrets[pk], number)
    return found
