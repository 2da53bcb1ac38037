"""The permissions that the sync needs in Parameter Store, tried on a parameter that does not exist.

AWS decides whether a request is allowed before it looks for the parameter, so that nothing changes. Creation
cannot be tried this way.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final
from uuid import uuid4

from sync_app.backends.permissions import Grant, Need, Permission
from sync_app.errors import PermissionMissing

_UNTRIED: Final = "cannot be tried without making a parameter"
_KEY_UNTRIED: Final = "on the KMS key; cannot be tried without making a parameter"
_NOTE: Final = (
    "refused for a parameter that does not exist; a policy that goes by tags may allow it for others"
)


def probe_permissions(
    client: Any, *, start: str, own_key: bool, ask: Callable[..., Any]
) -> Iterator[Permission]:
    """Yield each permission; `ask(operation, request)` raises the sync's errors for AWS's.

    Raises BackendError for what is neither allowed nor denied.
    """
    for permission, need, request in _requests(client, f"{start}keeper-connection-test-{uuid4()}"):
        try:
            ask(permission, request)
        except PermissionMissing:
            yield Permission(name=permission, need=need, grant=Grant.MISSING, note=_NOTE)
        else:
            yield Permission(name=permission, need=need, grant=Grant.GRANTED)
    yield Permission(name="ssm:PutParameter", need=Need.WRITE, grant=Grant.UNPROVEN, note=_UNTRIED)
    if own_key:
        for operation, need in (("Encrypt", Need.WRITE), ("Decrypt", Need.READ)):
            yield Permission(name=f"kms:{operation}", need=need, grant=Grant.UNPROVEN, note=_KEY_UNTRIED)


def _requests(client: Any, name: str) -> Iterator[tuple[str, Need, Callable[[], object]]]:
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
