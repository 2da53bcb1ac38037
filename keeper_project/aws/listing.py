"""DescribeSecret and ListSecrets: names, labels and facts, without values."""

import base64
import binascii
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, Self

from django.db.models import Q, QuerySet

from audit_app.events.actions import Action
from environments_app.errors import Invisible
from keeper_project.aws.answers import AwsError, invalid, seconds
from keeper_project.aws.names import Account
from keeper_project.aws.stages import labelled_versions
from secrets_app.models import Secret
from secrets_app.queries.listed import ListedSecret, genuine, listed
from secrets_app.queries.lookup import can_in_any_scope, require_authentic, visible_secrets

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
    secret_id = given.get("SecretId")
    try:
        secret = account.secret(secret_id)
    except AwsError:
        deleted = account.deleted(secret_id)
        if deleted is None:
            raise
        secret = deleted
    require_authentic(secret)
    labels = labelled_versions([secret.pk])[secret.pk]
    return {**_facts(account, secret), "VersionIdsToStages": {each: [*labels[each]] for each in labels}}


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
                return found, base64.urlsafe_b64encode(found[-1].name.encode()).decode("ascii")
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
        "LastRotatedDate": secret.rotated_at,
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
        raise invalid(f"The Key of a filter must be one of {', '.join(_MATCHES)}.")
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
    # Tags here are keys without a value.
    "tag-value": lambda _row, value: not value,
    "all": _by_any,
}
