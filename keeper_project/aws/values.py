"""GetSecretValue and BatchGetSecretValue: values, each recorded before it is opened."""

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from environments_app.errors import AccessError
from keeper_project.aws.answers import DELETED, PROTOCOL, AwsError, error_of, invalid, missing, seconds
from keeper_project.aws.listing import Page, matching
from keeper_project.aws.names import Account
from keeper_project.aws.stages import CURRENT, label_of, numbers_by_label, stages_of
from secrets_app.errors import SecretError
from secrets_app.models import Secret, SecretVersion
from secrets_app.services.read import reveal

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
        wanted, rest = [each.name for each in names], {"NextToken": following} if following else {}
    else:
        wanted, rest = _listed_ids(ids), {}
    values, errors = [], []
    for secret_id in wanted:
        try:
            values.append(get_secret_value(account, {"SecretId": secret_id}))
        except (AwsError, AccessError, SecretError) as error:
            errors.append(_told(secret_id, error))
    return {"SecretValues": values, "Errors": errors, **rest}


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
    except (ValueError, AttributeError, TypeError) as error:
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
