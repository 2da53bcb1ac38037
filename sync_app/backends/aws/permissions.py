"""The permissions that the sync needs in AWS, tried on a secret that does not exist.

AWS decides whether a request is allowed before it looks for the secret: an allowed request is answered with
"not found", and nothing changes. Creation cannot be tried this way.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from sync_app.backends.permissions import Grant, Need, Permission
from sync_app.errors import PermissionMissing

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

_NOTE: Final = (
    "refused for a secret that does not exist; a policy that goes by tags, or by the six characters "
    "at the end of an ARN, may allow it for others"
)
_UNTRIED: Final = "cannot be tried without making a secret"
_KEY_UNTRIED: Final = "on the KMS key; cannot be tried without making a secret"


def probe_permissions(
    client: "SecretsManagerClient", *, start: str, own_key: bool, ask: Callable[..., Any]
) -> Iterator[Permission]:
    """Yield each permission; `ask(operation, request)` raises the sync's errors for AWS's.

    Raises BackendError for what is neither allowed nor denied.
    """
    name = f"{start}keeper-connection-test-{uuid4()}"
    for operation, need, request in _requests(client, name):
        permission = f"secretsmanager:{operation}"
        try:
            ask(operation, request)
        except PermissionMissing:
            yield Permission(name=permission, need=need, grant=Grant.MISSING, note=_NOTE)
        else:
            yield Permission(name=permission, need=need, grant=Grant.GRANTED)
    yield Permission(name="secretsmanager:CreateSecret", need=Need.WRITE, grant=Grant.UNPROVEN, note=_UNTRIED)
    if own_key:
        for operation, need in (("GenerateDataKey", Need.WRITE), ("Decrypt", Need.READ)):
            yield Permission(name=f"kms:{operation}", need=need, grant=Grant.UNPROVEN, note=_KEY_UNTRIED)


def _requests(client: "SecretsManagerClient", name: str) -> Iterator[tuple[str, Need, Callable[[], object]]]:
    version = str(uuid4())
    yield "DescribeSecret", Need.READ, lambda: client.describe_secret(SecretId=name)
    yield "GetSecretValue", Need.READ, lambda: client.get_secret_value(SecretId=name)
    yield (
        "PutSecretValue",
        Need.WRITE,
        lambda: client.put_secret_value(SecretId=name, SecretString="-", ClientRequestToken=version),
    )
    yield (
        "UpdateSecretVersionStage",
        Need.WRITE,
        lambda: client.update_secret_version_stage(
            SecretId=name, VersionStage="KEEPER_PENDING", RemoveFromVersionId=version
        ),
    )
    tags: Any = [{"Key": "keeper-connection-test", "Value": "-"}]
    yield "TagResource", Need.WRITE, lambda: client.tag_resource(SecretId=name, Tags=tags)
    yield (
        "UntagResource",
        Need.WRITE,
        lambda: client.untag_resource(SecretId=name, TagKeys=["keeper-connection-test"]),
    )
    yield "RestoreSecret", Need.WRITE, lambda: client.restore_secret(SecretId=name)
    yield "DeleteSecret", Need.DELETE, lambda: client.delete_secret(SecretId=name, RecoveryWindowInDays=30)
