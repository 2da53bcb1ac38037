"""AWSPENDING, as AWS's own rotations use it: the version that is about to be current, beside it.

"Each secret version's staging labels", Secrets Manager user guide: AWSPENDING is on no version, on the
one that is current, or on one that a rotation has made and not served yet.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from sync_app.backends.observations import SecretMetadata
from sync_app.errors import RequestRefused

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

STAGE: Final = "AWSPENDING"
_CURRENT: Final = "AWSCURRENT"
Ask = Callable[[str, Callable[[], Any]], Any]


def put_pending(
    client: "SecretsManagerClient", ask: Ask, seen: SecretMetadata, value: str, *, token: str
) -> bool:
    """Store a pending version beside the current one; False if another writer's is pending there.

    The label is never removed from another writer's version.
    """
    stages = _read_stages(client, ask, seen)
    holders = [version for version, labels in stages.items() if STAGE in labels]
    if any(version != token and _CURRENT not in stages[version] for version in holders):
        return False
    ask(
        "PutSecretValue",
        lambda: client.put_secret_value(
            SecretId=seen.remote_id, SecretString=value, ClientRequestToken=token, VersionStages=[STAGE]
        ),
    )
    if STAGE not in _read_stages(client, ask, seen).get(token, ()):
        # The version was there already, under another label, and the request was taken for a repetition.
        others = [version for version in holders if version != token]
        source = {"RemoveFromVersionId": others[0]} if others else {}
        _move_stage(client, ask, seen, MoveToVersionId=token, **source)
    return True


def remove_pending(client: "SecretsManagerClient", ask: Ask, seen: SecretMetadata, *, token: str) -> None:
    """Take the label off our version, wherever that is by now; it is nothing if it is not there."""
    if STAGE not in _read_stages(client, ask, seen).get(token, ()):
        return
    try:
        _move_stage(client, ask, seen, RemoveFromVersionId=token)
    except RequestRefused:
        if STAGE in _read_stages(client, ask, seen).get(token, ()):
            raise


def _read_stages(
    client: "SecretsManagerClient", ask: Ask, seen: SecretMetadata
) -> Mapping[str, Sequence[str]]:
    reply = ask("DescribeSecret", lambda: client.describe_secret(SecretId=seen.remote_id))
    stages: Mapping[str, Sequence[str]] = reply.get("VersionIdsToStages", {})
    return stages


def _move_stage(client: "SecretsManagerClient", ask: Ask, seen: SecretMetadata, **versions: str) -> None:
    ask(
        "UpdateSecretVersionStage",
        lambda: client.update_secret_version_stage(SecretId=seen.remote_id, VersionStage=STAGE, **versions),
    )
