"""ListSecretVersionIds, and GetResourcePolicy, which no secret of Keeper has."""

import re
from collections.abc import Mapping
from typing import Any, Final

from gateway_app.aws.answers import DELETED, AwsError, invalid, seconds
from gateway_app.aws.names import Account, numbers_by_label, stages_of
from gateway_app.aws.operations import Page, described, token_of
from secrets_app.models import SecretVersion

_MOST: Final = 100
_NUMBER: Final = re.compile(r"[0-9]{1,10}", re.ASCII)


def list_secret_version_ids(account: Account, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the versions that have a staging label, or with `IncludeDeprecated` all, the newest first.

    Also of a deleted secret, as AWS does. Raises AwsError, Invisible.
    """
    includes_all = given.get("IncludeDeprecated")
    if includes_all is not None and not isinstance(includes_all, bool):
        raise invalid("IncludeDeprecated must be true or false.")
    page = Page.of(given, most=_MOST)
    if page.after and not _NUMBER.fullmatch(page.after):
        raise AwsError("InvalidNextTokenException", "NextToken is not one that was given.")
    secret = described(account, given.get("SecretId"))
    versions = SecretVersion.objects.filter(secret_id=secret.pk).order_by("-number")
    if not includes_all:
        versions = versions.filter(number__in={*numbers_by_label(secret).values()})
    if page.after:
        versions = versions.filter(number__lt=int(page.after))
    rows = [*versions.values_list("uuid", "number", "created_at")[: page.size + 1]]
    shown, rest = rows[: page.size], rows[page.size :]
    return {
        "ARN": account.arn(secret.name, secret.uuid),
        "Name": secret.name,
        "Versions": [
            {
                "VersionId": str(uuid),
                "CreatedDate": seconds(created_at),
                **({"VersionStages": stages} if (stages := stages_of(secret, number)) else {}),
            }
            for uuid, number, created_at in shown
        ],
        **({"NextToken": token_of(str(shown[-1][1]))} if rest else {}),
    }


def get_resource_policy(account: Account, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a secret's name and ARN without a policy: who may read it are Keeper's tokens and roles.

    Raises AwsError, Invisible.
    """
    secret = described(account, given.get("SecretId"))
    if secret.deleted_at is not None:
        raise AwsError("InvalidRequestException", DELETED)
    return {"ARN": account.arn(secret.name, secret.uuid), "Name": secret.name}
