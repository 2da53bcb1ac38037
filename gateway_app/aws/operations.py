"""The operations that list, describe and read secrets.

Lists and descriptions have names, labels and facts, without values. Each value is recorded before it is
opened.
"""

import base64
import binascii
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, Self
from uuid import UUID

from django.db.models import Q, QuerySet

from audit_app.events.actions import Action
from environments_app.errors import AccessError, Invisible
from gateway_app.aws.answers import DELETED, PROTOCOL, AwsError, error_of, invalid, missing, seconds
from gateway_app.aws.names import CURRENT, Account, label_of, labelled_versions, numbers_by_label, stages_of
from secrets_app.errors import SecretError
from secrets_app.models import Secret, SecretVersion
from secrets_app.queries.listed import ListedSecret, genuine, listed
from secrets_app.queries.lookup import can_in_any_scope, require_authentic, visible_secrets
from secrets_app.services.decoys import note_missed
from secrets_app.services.read import reveal

MAX_RESULTS: Final = 100
# Compared one by one: what is sent may be of any type.
_ORDERS: Final = ["asc", "desc"]
_CHUNK: Final = 200
_MAX_FILTERS: Final = 10
_MAX_TOKEN: Final = 4096
_NOT_DELETED: Final = "Keeper lists no deleted secrets: leave IncludePlannedDeletion out."
_SORTED: Final = "Keeper lists by name: leave SortBy out."
Row = ListedSecret | Secret


class Page(NamedTuple):
    """Which part of a list is asked for."""

    size: int
    after: str
    descending: bool = False

    @classmethod
    def of(cls, given: Mapping[str, Any], *, most: int) -> Self:
        """Return the part that a request asks for. Raises AwsError."""
        size = given.get("MaxResults")
        if size is None:
            size = most
        if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= most:
            raise invalid(f"MaxResults must be a number from 1 to {most}.")
        order = given.get("SortOrder", "asc")
        if order not in _ORDERS:
            raise invalid("SortOrder must be asc or desc.")
        return cls(size, _name_of(given.get("NextToken")), order == "desc")


def describe_secret(account: Account, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is known of a secret besides its value. Raises AwsError, Invisible."""
    secret = described(account, given.get("SecretId"))
    labels = labelled_versions([secret.pk])[secret.pk]
    return {**_facts(account, secret), "VersionIdsToStages": {each: [*labels[each]] for each in labels}}


def described(account: Account, secret_id: Any) -> Secret:
    """Return a living secret, or the deleted one of that name. Raises AwsError, Invisible, TamperedSecret."""
    try:
        secret = account.secret(secret_id)
    except AwsError:
        deleted = account.deleted(secret_id)
        if deleted is None:
            raise
        secret = deleted
    require_authentic(secret)
    return secret


def list_secrets(account: Account, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a part of the names that the token may know, in their order."""
    if given.get("IncludePlannedDeletion"):
        raise invalid(_NOT_DELETED)
    if given.get("SortBy", "name") != "name":
        raise invalid(_SORTED)
    rows, following = matching(account, given.get("Filters", []), Page.of(given, most=MAX_RESULTS))
    labels = labelled_versions(row.pk for row in rows)
    entries = [{**_facts(account, row), "SecretVersionsToStages": labels.get(row.pk, {})} for row in rows]
    return {"SecretList": entries, **({"NextToken": following} if following else {})}


def matching(account: Account, filters: Any, page: Page) -> tuple[list[Row], str]:
    """Return the rows of a page that filters let through, and the token of the next page, "" at the end.

    Raises Invisible for a token that may know of no name, and AwsError.
    """
    if not can_in_any_scope(account.actor, Action.SECRET_VIEW, account.environment):
        raise Invisible
    if not isinstance(filters, list) or len(filters) > _MAX_FILTERS:
        raise invalid(f"Filters must be a list of at most {_MAX_FILTERS}.")
    tests = [_test(each) for each in filters]
    found: list[Row] = []
    for row in _rows(account, page, _names_wanted(filters)):
        if all(test(row) for test in tests):
            if len(found) == page.size:
                return found, token_of(found[-1].name)
            found.append(row)
    return found, ""


def _rows(account: Account, page: Page, wanted: Q) -> Iterator[Row]:
    secrets = visible_secrets(account.actor).filter(wanted, environment=account.environment)
    after = page.after
    while True:
        rows = [*listed(_ordered(secrets, after, descending=page.descending)[:_CHUNK])]
        yield from genuine(rows)
        if len(rows) < _CHUNK:
            return
        after = rows[-1].name


def _ordered(secrets: QuerySet[Secret], after: str, *, descending: bool) -> QuerySet[Secret]:
    if descending:
        return (secrets.filter(name__lt=after) if after else secrets).order_by("-name")
    return secrets.filter(name__gt=after).order_by("name")


def token_of(text: str) -> str:
    """Return the token of the page that begins after a name or a number."""
    return base64.urlsafe_b64encode(text.encode()).decode("ascii")


def _name_of(token: Any) -> str:
    """Return the name after which a page begins. Raises AwsError."""
    if token is None:
        return ""
    text = token if isinstance(token, str) and len(token) <= _MAX_TOKEN else "?"
    try:
        return base64.b64decode(text, altchars=b"-_", validate=True).decode()
    except (ValueError, binascii.Error) as error:
        raise AwsError("InvalidNextTokenException", "NextToken is not one that was given.") from error


def _facts(account: Account, secret: Row) -> dict[str, Any]:
    times: dict[str, datetime | None] = {
        "CreatedDate": secret.created_at,
        "LastChangedDate": secret.updated_at,
        # As AWS: absent while the first value is current.
        "LastRotatedDate": secret.rotated_at if secret.current_number > 1 else None,
        "NextRotationDate": secret.rotation_due_at,
        "DeletedDate": secret.deleted_at,
    }
    return {
        "ARN": account.arn(secret.name, secret.uuid),
        "Name": secret.name,
        "Description": secret.description,
        "Tags": [{"Key": tag, "Value": ""} for tag in secret.tags],
        **{name: seconds(at) for name, at in times.items() if at is not None},
    }


def _test(given: Any) -> Callable[[Row], bool]:
    """Return whether a row meets a filter: one of its values, and none of those that begin with `!`."""
    key, values = _parts(given)
    matches = _MATCHES[key]
    unwanted = [value[1:] for value in values if value.startswith("!")]
    wanted = [value for value in values if not value.startswith("!")]

    def test(row: Row) -> bool:
        if any(matches(row, value) for value in unwanted):
            return False
        return not wanted or any(matches(row, value) for value in wanted)

    return test


def _parts(given: Any) -> tuple[str, list[str]]:
    found: dict[str, Any] = given if isinstance(given, dict) else {}
    key, values = found.get("Key"), found.get("Values")
    if key not in [*_MATCHES]:
        reason = f"The Key of a filter must satisfy enum value set: [{', '.join(_MATCHES)}]"
        raise AwsError("ValidationException", reason)
    if (
        not isinstance(values, list)
        or not 0 < len(values) <= _MAX_FILTERS
        or not {*map(type, values)} <= {str}
    ):
        raise invalid(f"The Values of a filter must be a list of at most {_MAX_FILTERS} texts.")
    return str(key), values


def _names_wanted(filters: Sequence[Any]) -> Q:
    """Return what the database can narrow by: the beginnings of names."""
    wanted = Q()
    for each in filters:
        key, values = _parts(each)
        begins = [value for value in values if not value.startswith("!")]
        if key == "name" and begins:
            one = Q()
            for value in begins:
                one |= Q(name__startswith=value)
            wanted &= one
    return wanted


def _by_description(row: Row, value: str) -> bool:
    return any(word.startswith(value.lower()) for word in _words(row.description)) or (
        row.description.lower().startswith(value.lower())
    )


def _by_any(row: Row, value: str) -> bool:
    text = "\n".join((row.name, row.description, *row.tags)).lower()
    return any(word in text for word in _words(value))


def _words(text: str) -> list[str]:
    return text.lower().replace("/", " ").split()


_MATCHES: Final[Mapping[str, Callable[[Row, str], bool]]] = {
    "name": lambda row, value: row.name.startswith(value),
    "description": _by_description,
    "tag-key": lambda row, value: any(tag.startswith(value) for tag in row.tags),
    # No secret is of a service of AWS, or replicated.
    "primary-region": lambda _row, _value: False,
    "owning-service": lambda _row, _value: False,
    # Tags here are keys without a value.
    "tag-value": lambda _row, value: not value,
    "all": _by_any,
}


MAX_BATCH: Final = 20
_NAMELESS: Final = "Either SecretIdList or Filters must be provided, but not both."
_UNRELATED: Final = "You provided a VersionStage that is not associated to the provided VersionId."


def get_secret_value(account: Account, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the value of a version. Raises AwsError and what `reveal` raises."""
    secret_id = given.get("SecretId")
    try:
        secret = account.secret(secret_id)
    except AwsError:
        if account.deleted(secret_id):
            raise AwsError("InvalidRequestException", DELETED) from None
        raise
    return _value(account, secret, _number(secret, given.get("VersionId"), given.get("VersionStage")))


def batch_get_secret_value(account: Account, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the current values of up to 20 secrets, and an error for each that is refused."""
    ids, filters = given.get("SecretIdList"), given.get("Filters")
    if bool(ids) == bool(filters):
        raise invalid(_NAMELESS)
    if filters:
        page = Page.of(given, most=MAX_BATCH)
        names, following = matching(account, filters, page)
        wanted, rest = _without_decoys(account, names), {"NextToken": following} if following else {}
    else:
        wanted, rest = _listed_ids(ids), {}
    values, errors = [], []
    for secret_id in wanted:
        try:
            values.append(get_secret_value(account, {"SecretId": secret_id}))
        except (AwsError, AccessError, SecretError) as error:
            errors.append(_told(secret_id, error))
    return {"SecretValues": values, "Errors": errors, **rest}


def _without_decoys(account: Account, rows: Sequence[Row]) -> list[str]:
    """Return the names of secrets; one that is named, and not found on the way, is read by `SecretIdList`."""
    names = [row.name for row in rows]
    known = Secret.objects.filter(environment=account.environment, live=True, name__in=names, decoy=True)
    decoys = {*known.values_list("name", flat=True)}
    wanted = [name for name in names if name not in decoys]
    if decoys and not wanted:
        note_missed(actor=account.actor, environment=account.environment, names=decoys, found=False)
    return wanted


def _value(account: Account, secret: Secret, number: int) -> dict[str, Any]:
    shown = reveal(actor=account.actor, secret=secret, number=number, details=PROTOCOL)
    return {
        "ARN": account.arn(secret.name, secret.uuid),
        "Name": secret.name,
        "VersionId": str(shown.version.uuid),
        "SecretString": shown.value,
        "VersionStages": [*stages_of(secret, number)],
        "CreatedDate": seconds(shown.version.created_at),
    }


def _number(secret: Secret, version_id: Any, stage: Any) -> int:
    """Return the number of the version that a request names; the current one if it names none."""
    if version_id is None:
        label = CURRENT if stage is None else label_of(stage)
        number = numbers_by_label(secret).get(label)
        if number is None:
            raise missing(f"Secrets Manager can't find the specified secret value for staging label: {label}")
        return number
    try:
        uuid = UUID(version_id)
    except ValueError as error:
        raise missing("Secrets Manager can't find the specified secret value for VersionId") from error
    except (AttributeError, TypeError) as error:
        raise invalid("VersionId must be the id of a version.") from error
    version = SecretVersion.objects.filter(secret_id=secret.pk, uuid=uuid).only("number").first()
    if version is None:
        raise missing("Secrets Manager can't find the specified secret value for VersionId")
    number = version.number
    if stage is not None and label_of(stage) not in stages_of(secret, number):
        raise AwsError("InvalidRequestException", _UNRELATED)
    return number


def _listed_ids(ids: Any) -> list[str]:
    if not isinstance(ids, list) or len(ids) > MAX_BATCH or not all(isinstance(each, str) for each in ids):
        raise invalid(f"SecretIdList must be a list of at most {MAX_BATCH} names or ARNs.")
    return ids


def _told(secret_id: str, error: Exception) -> dict[str, Any]:
    """Return one of `Errors`. Raises the error again if it is a fault of ours or one of them all."""
    found = error_of(error, "BatchGetSecretValue")
    if found is None or found.headers:
        raise error
    return {"SecretId": secret_id, "ErrorCode": found.kind, "Message": str(found)}
