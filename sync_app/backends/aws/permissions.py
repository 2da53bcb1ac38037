"""The permissions that the sync needs in AWS, tried on a secret or parameter that does not exist.

AWS decides whether a request is allowed before it looks for the thing: an allowed request is answered with
"not found", and nothing changes. Creation cannot be tried this way.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from sync_app.backends.aws.errors import NotFound, permission_for
from sync_app.backends.capabilities import Grant, Need, Permission
from sync_app.errors import PermissionMissing

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

Request = tuple[str, Need, Callable[[], object]]


@dataclass(frozen=True, kw_only=True)
class Untried:
    """What of a service cannot be tried, and why its refusals may not be the last word."""

    create: str
    # Of a KMS key of its own.
    key_operations: Sequence[tuple[str, Need]]
    without: str
    note: str


SECRETS: Final = Untried(
    create="CreateSecret",
    key_operations=(("GenerateDataKey", Need.WRITE), ("Decrypt", Need.READ)),
    without="cannot be tried without making a secret",
    note="refused for a secret that does not exist; a policy that goes by tags, or by the six characters "
    "at the end of an ARN, may allow it for others",
)
PARAMETERS: Final = Untried(
    create="ssm:PutParameter",
    key_operations=(("Encrypt", Need.WRITE), ("Decrypt", Need.READ)),
    without="cannot be tried without making a parameter",
    note="refused for a parameter that does not exist; a policy that goes by tags may allow it for others",
)


def probe_permissions(
    requests: Iterable[Request], untried: Untried, *, own_key: bool, call: Callable[..., Any]
) -> Iterator[Permission]:
    """Yield each permission; `call(operation, request)` raises the sync's errors for AWS's.

    Raises BackendError for what is neither allowed nor denied.
    """
    for operation, need, request in requests:
        permission = permission_for(operation)
        try:
            with contextlib.suppress(NotFound):
                call(operation, request)
        except PermissionMissing:
            yield Permission(name=permission, need=need, grant=Grant.MISSING, note=untried.note)
        else:
            yield Permission(name=permission, need=need, grant=Grant.GRANTED)
    creating, why = permission_for(untried.create), untried.without
    yield Permission(name=creating, need=Need.WRITE, grant=Grant.UNPROVEN, note=why)
    for operation, need in untried.key_operations if own_key else ():
        note = f"on the KMS key; {why}"
        yield Permission(name=f"kms:{operation}", need=need, grant=Grant.UNPROVEN, note=note)


def secret_requests(client: "SecretsManagerClient", start: str) -> Iterator[Request]:
    """Yield a request for each permission on the secrets whose names begin so."""
    name, version = f"{start}keeper-connection-test-{uuid4()}", str(uuid4())
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


def parameter_requests(client: Any, start: str) -> Iterator[Request]:
    """Yield a request for each permission on the parameters whose names begin so."""
    name = f"{start}keeper-connection-test-{uuid4()}"
    of_it = {"ResourceType": "Parameter", "ResourceId": name}
    chosen = [{"Key": "Name", "Values": [name]}]
    yield "ssm:DescribeParameters", Need.READ, lambda: client.describe_parameters(ParameterFilters=chosen)
    yield "ssm:GetParameter", Need.READ, lambda: client.get_parameter(Name=name)
    yield "ssm:ListTagsForResource", Need.READ, lambda: client.list_tags_for_resource(**of_it)
    yield "ssm:GetParameterHistory", Need.WRITE, lambda: client.get_parameter_history(Name=name)
    tags = [{"Key": "keeper-connection-test", "Value": "-"}]
    yield "ssm:AddTagsToResource", Need.WRITE, lambda: client.add_tags_to_resource(**of_it, Tags=tags)
    keys = ["keeper-connection-test"]
    yield (
        "ssm:RemoveTagsFromResource",
        Need.WRITE,
        lambda: client.remove_tags_from_resource(**of_it, TagKeys=keys),
    )
    yield "ssm:DeleteParameter", Need.DELETE, lambda: client.delete_parameter(Name=name)
