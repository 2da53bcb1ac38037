"""Which secret a `SecretId` names, and which version a staging label names.

The environment of a token is an account of AWS. The staging labels are Keeper's current, previous and
pending version.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, NoReturn, Protocol
from uuid import UUID

from audit_app.events.actions import Action
from environments_app.authorization.policy import Principal, allows
from environments_app.environments.service import find_environment_by_id
from environments_app.errors import Invisible
from environments_app.models import Environment
from environments_app.tokens.authentication import EnvironmentRow
from gateway_app.aws.answers import invalid, missing
from secrets_app.models import Secret, SecretVersion
from secrets_app.queries.lookup import find_active, find_last_deleted, find_secret_by_name
from secrets_app.values.names import validate_secret_name

_ARN: Final = re.compile(r"arn:aws[a-z-]*:secretsmanager:[^:]*:([0-9]{12}):secret:(.+)")
_SUFFIX: Final = 6


class Account:
    """The environment of the token of a request, in the terms of AWS."""

    def __init__(self, actor: Principal, region: str) -> None:
        """Find the environment. Raises Invisible if the token has none."""
        if not actor.grants:
            raise Invisible
        self.actor = actor
        self.environment: Environment = find_environment_by_id(actor=actor, id=actor.grants[0].environment_id)
        self._region = region

    @property
    def number(self) -> str:
        """The twelve digits that stand for the environment in ARNs."""
        return account_number(self.environment)

    def arn(self, name: str, uuid: UUID | str) -> str:
        return arn_of(self._region, self.environment, name, uuid)

    def secret(self, secret_id: Any) -> Secret:
        """Return the living secret of a name or an ARN.

        Raises AwsError if there is none, BadName, and Invisible if the token may not know of it.
        """
        name = self._name(secret_id)
        try:
            return find_secret_by_name(actor=self.actor, environment=self.environment, name=name)
        except Invisible as error:
            if allows(self.actor, Action.SECRET_VIEW, environment_id=self.environment.pk, name=name):
                raise missing() from error
            raise

    def deleted(self, secret_id: Any) -> Secret | None:
        """Return the secret of a name or an ARN that was deleted last, if the token may know of it."""
        return find_last_deleted(actor=self.actor, environment=self.environment, name=self._name(secret_id))

    def _name(self, secret_id: Any) -> str:
        if not isinstance(secret_id, str):
            raise invalid("SecretId must be the name or the ARN of a secret.")
        found = _ARN.fullmatch(secret_id)
        if found is None:
            return validate_secret_name(secret_id)
        account, resource = found.groups()
        if account != self.number:
            self._refuse_account(account)
        return validate_secret_name(self._without_suffix(resource))

    def _refuse_account(self, number: str) -> NoReturn:
        """Refuse an account that is not the token's, on record if it is another environment."""
        for each in Environment.objects.order_by("pk"):
            if account_number(each) == number:
                find_environment_by_id(actor=self.actor, id=each.pk)
        raise Invisible

    def _without_suffix(self, resource: str) -> str:
        """Return the name in an ARN, which may lack its suffix, as AWS allows."""
        name, _, suffix = resource.rpartition("-")
        if len(suffix) != _SUFFIX or not name:
            return resource
        deleted = find_last_deleted(actor=self.actor, environment=self.environment, name=name)
        known = find_active(self.environment, name) or deleted
        return name if known is not None and _suffix(known.uuid) == suffix else resource


def arn_of(region: str, environment: Environment | EnvironmentRow, name: str, uuid: UUID | str) -> str:
    """Return the ARN of a secret."""
    account = account_number(environment)
    return f"arn:aws:secretsmanager:{region}:{account}:secret:{name}-{_suffix(uuid)}"


def account_number(environment: Environment | EnvironmentRow) -> str:
    """Return the twelve digits that stand for an environment in ARNs."""
    digest = hashlib.sha256(environment.uuid.bytes).digest()
    return f"{int.from_bytes(digest[:8], 'big') % 10**12:012d}"


def _suffix(uuid: UUID | str) -> str:
    return str(uuid)[-_SUFFIX:]


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
