"""AWS Secrets Manager: a new version is put under a stage of our own, then moved to AWSCURRENT.

Permissions, on the secrets below the prefix: secretsmanager:CreateSecret, DescribeSecret,
GetSecretValue, PutSecretValue, UpdateSecretVersionStage, TagResource, UntagResource,
DeleteSecret, RestoreSecret; on *: secretsmanager:ListSecrets; with a key of its own:
kms:GenerateDataKey and kms:Decrypt on it; with a role to assume: sts:AssumeRole.

AWS allows about 50 writes a second, and advises at most one new version of a secret in ten
minutes (Secrets Manager quotas, "PutSecretValue").
"""

import contextlib
import functools
import os.path
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Final

from sync_app.backends.answers import VendorAnswer, listed
from sync_app.backends.aws import pending_stage, permissions
from sync_app.backends.aws.answers import SECRETS_MANAGER
from sync_app.backends.aws.connection import AwsBackend, mark_tags, parse_recovery_window
from sync_app.backends.aws.errors import NotFound
from sync_app.backends.aws.metadata import (
    CURRENT,
    parse_description,
    parse_list_entry,
    take_lists_as_json,
)
from sync_app.backends.base import Pending
from sync_app.backends.capabilities import Capabilities, FormField, Permission, fill_defaults
from sync_app.backends.observations import MARK_KEYS, Mark, SecretMetadata, SecretValue
from sync_app.domain.reconciliation import Presence
from sync_app.errors import (
    BackendError,
    ChangedSinceRead,
    NameReserved,
    NameUnusable,
    OutcomeUnknown,
    RequestRefused,
    UpdateConflict,
    ValueUnusable,
)

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

# Where a new version waits until AWSCURRENT was moved to it; the next one takes the label over.
PENDING: Final = "KEEPER_PENDING"
MAX_NAME_LENGTH: Final = 512
_UNKNOWN: Final = "AWS took the write, and does not show it yet: it is looked at again"
# Of one filter of ListSecrets.
_FILTER_VALUES: Final = 10


class AwsSecretsManager(AwsBackend, Pending):
    """The secrets of one account and region below one prefix."""

    label: ClassVar[str] = "AWS Secrets Manager"
    icon: ClassVar[str] = "cloud"
    summary_label: ClassVar[str] = "AWS"
    answers: ClassVar[tuple[VendorAnswer, ...]] = SECRETS_MANAGER
    service: ClassVar[str] = "secretsmanager"
    destination_fields: ClassVar[tuple[FormField, ...]] = (
        FormField(name="region", label="Region", required=True, fixed=True),
        FormField(name="prefix", label="Prefix", fixed=True, help="Added before every secret name."),
        FormField(name="kms_key_id", label="KMS key", help="Leave blank for aws/secretsmanager."),
        FormField(name="role_arn", label="Role to assume"),
        FormField(name="external_id", label="External ID", help="If the role's trust policy requires one."),
        FormField(
            name="recovery_window_days",
            label="Recovery window (days)",
            default="30",
            pattern="[7-9]|[12][0-9]|30",
            help="7 to 30.",
        ),
        FormField(
            name="endpoint",
            label="Endpoint",
            help="For example, a VPC endpoint. Leave blank for the AWS default.",
        ),
        FormField(name="sts_endpoint", label="STS endpoint", help="Leave blank for the AWS default."),
    )
    credential_fields: ClassVar[tuple[FormField, ...]] = (
        FormField(name="access_key_id", label="Access key ID", sensitive=True),
        FormField(name="secret_access_key", label="Secret access key", sensitive=True),
        FormField(name="session_token", label="Session token", sensitive=True),
    )
    writes_per_second: ClassVar[float] = 50
    seconds_between_versions: ClassVar[float] = 600
    page_size: ClassVar[int] = 100
    capabilities: ClassVar[Capabilities] = Capabilities(predicted_version_is_unique=True)
    _client: "SecretsManagerClient"

    def __init__(self, *, destination: Mapping[str, str], credentials: Mapping[str, str]) -> None:
        filled = fill_defaults(self.destination_fields, destination)
        self._window = parse_recovery_window(filled["recovery_window_days"])
        super().__init__(destination=destination, credentials=credentials)
        take_lists_as_json(self._client)

    def identify_system(self) -> str:
        return f"aws/{self._aws.resolve_account()}/{self.destination['region']}"

    def check_connection(self) -> None:
        self._aws.call("ListSecrets", lambda: self._client.list_secrets(MaxResults=1, **self._filters()))

    def probe_permissions(self) -> Iterator[Permission]:
        return permissions.probe_permissions(
            permissions.secret_requests(self._client, self._prefix.start),
            permissions.SECRETS,
            own_key=bool(self.destination["kms_key_id"]),
            call=self._aws.call,
        )

    def list_secrets(self) -> Iterator[SecretMetadata]:
        """Yield what ListSecrets shows, 100 a page; no value is read."""

        def ask(token: str) -> tuple[Any, str | None]:
            page = self._aws.call("ListSecrets", functools.partial(self._list_page, token))
            return page["SecretList"], page.get("NextToken")

        for entry in listed(ask):
            if name := self._prefix.name(entry["Name"]):
                yield parse_list_entry(name, entry)

    def get_metadata(self, name: str) -> SecretMetadata:
        path = self._path(name)
        return self._describe(name, path) or SecretMetadata(name=name, presence=Presence.ABSENT)

    def batch_get_metadata(self, names: Collection[str]) -> dict[str, SecretMetadata]:
        """Return what ListSecrets shows of names, found by what neighbours begin with.

        A filter takes ten values, each the beginning of a name (Filter, "Values"). What others
        fill its pages with is not read to its end, and a change may take minutes to show.
        """
        found: dict[str, SecretMetadata] = {}
        filters = [{"Key": "name", "Values": self._common_prefixes(names)}]
        token = ""
        for _ in range(2 + len(names) // self.page_size):
            page = self._aws.call("ListSecrets", functools.partial(self._list_page, token, filters))
            for entry in page["SecretList"]:
                seen = parse_list_entry(self._prefix.name(entry["Name"]) or "", entry)
                if seen.name in names:
                    found[seen.name] = seen
            if not page.get("NextToken") or len(found) == len(names):
                break
            token = page["NextToken"]
        return found

    def read_value(self, name: str) -> SecretValue | None:
        path = self._path(name)
        try:
            reply = self._aws.call(
                "GetSecretValue", lambda: self._client.get_secret_value(SecretId=path, VersionStage=CURRENT)
            )
        except (NotFound, NameReserved):
            return None
        if "SecretString" not in reply:
            raise ValueUnusable("the secret holds binary data, which Keeper does not sync")
        seen = SecretMetadata(
            name=name, presence=Presence.PRESENT, remote_id=reply["ARN"], version=reply["VersionId"]
        )
        return SecretValue(metadata=seen, value=reply["SecretString"])

    def create(self, name: str, value: str, *, mark: Mark, token: str, known: bool = False) -> SecretMetadata:
        """Create a secret with its mark and first version in one call; `token` is its VersionId."""
        path = self._path(name)
        key = self.destination["kms_key_id"]
        options: dict[str, Any] = {"KmsKeyId": key} if key else {}
        try:
            reply = self._aws.call(
                "CreateSecret",
                lambda: self._client.create_secret(
                    Name=path,
                    SecretString=value,
                    ClientRequestToken=token,
                    Tags=mark_tags(mark),  # type: ignore[arg-type]  # a TypedDict in the stub
                    **options,
                ),
            )
        except NotFound:
            raise RequestRefused(
                "AWS has nothing of what CreateSecret names: check the KMS key of the target"
            ) from None
        return SecretMetadata(
            name=name,
            presence=Presence.PRESENT,
            remote_id=reply["ARN"],
            version=reply["VersionId"],
            mark=mark,
        )

    def update(
        self, seen: SecretMetadata, value: str, *, token: str, known: bool = False, repeated: bool = False
    ) -> SecretMetadata:
        """Put a version under our own stage, move AWSCURRENT to it from the one read, read back.

        UpdateSecretVersionStage fails unless RemoveFromVersionId carries the label: that is the
        compare-and-set. Repeated with the same token and value it finds its own work done.
        """
        if not seen.version:
            raise ValueUnusable("the secret has no current version")
        self._put_pending_version(seen, value, token)
        refusal: RequestRefused | None = None
        try:
            self._move_stage(CURRENT, seen, MoveToVersionId=token, RemoveFromVersionId=seen.version)
        except RequestRefused as error:
            refusal = error
        else:
            if known:
                self._remove_pending_stage(seen, token)
                return replace(seen, version=token)
        after = self._look_after(seen, token)
        self._remove_pending_stage(seen, token)
        if after is not None and after.version == token:
            return after
        if refusal is None and (after is None or after.version == seen.version):
            # "All Secrets Manager operations are eventually consistent": the look may be older.
            raise OutcomeUnknown(_UNKNOWN, made=token)
        if refusal is not None and after is not None and after.version == seen.version:
            raise refusal
        raise UpdateConflict("the secret changed in AWS after it was read: refresh the plan")

    def _look_after(self, seen: SecretMetadata, token: str) -> SecretMetadata | None:
        try:
            return self._describe(seen.name, seen.remote_id)
        except BackendError as error:
            raise OutcomeUnknown(_UNKNOWN, made=token) from error

    def predict_version(self, version: str, *, token: str) -> str:
        """Return the token, which AWS takes for the VersionId; what a version holds never changes."""
        return token

    def delete(self, seen: SecretMetadata) -> None:
        """Plan the deletion, look again, and take it back if another version is there by then."""
        self._refuse_change(seen, self._describe(seen.name, seen.remote_id))
        # The SDK repeats a request whose answer is lost; what it did the first time is refused the second.
        with contextlib.suppress(NameReserved):
            self._aws.call(
                "DeleteSecret",
                lambda: self._client.delete_secret(
                    SecretId=seen.remote_id, RecoveryWindowInDays=self._window
                ),
            )
        after = self._describe(seen.name, seen.remote_id)
        if after is not None and (after.version, after.mark) != (seen.version, seen.mark):
            self._aws.call("RestoreSecret", lambda: self._client.restore_secret(SecretId=seen.remote_id))
            raise ChangedSinceRead("the secret was changed in AWS while it was deleted: it was restored")

    def restore(self, name: str) -> SecretMetadata:
        path = self._path(name)
        self._aws.call("RestoreSecret", lambda: self._client.restore_secret(SecretId=path))
        return self.get_metadata(name)

    def mark(self, seen: SecretMetadata, mark: Mark) -> None:
        tags = mark_tags(mark)
        self._aws.call(
            "TagResource",
            lambda: self._client.tag_resource(SecretId=seen.remote_id, Tags=tags),  # type: ignore[arg-type]  # a TypedDict in the stub
        )

    def unmark(self, seen: SecretMetadata) -> None:
        self._aws.call(
            "UntagResource",
            lambda: self._client.untag_resource(SecretId=seen.remote_id, TagKeys=list(MARK_KEYS)),
        )

    def put_pending(self, seen: SecretMetadata, value: str, *, token: str) -> bool:
        """Put a version under AWSPENDING; AWSCURRENT stays where it is."""
        return pending_stage.put_pending(self._client, self._aws.call, seen, value, token=token)

    def remove_pending(self, seen: SecretMetadata, *, token: str) -> None:
        with contextlib.suppress(NotFound, NameReserved):
            pending_stage.remove_pending(self._client, self._aws.call, seen, token=token)

    # --- How ----------------------------------------------------------------------------------

    def _path(self, name: str) -> str:
        path = self._prefix.path(name)
        if len(path) > MAX_NAME_LENGTH:
            raise NameUnusable(f"name and prefix are longer than the {MAX_NAME_LENGTH} characters of AWS")
        return path

    def _filters(self) -> dict[str, Any]:
        start = self._prefix.start
        return {"Filters": [{"Key": "name", "Values": [start]}]} if start else {}

    def _common_prefixes(self, names: Collection[str]) -> Sequence[str]:
        """Return at most ten texts so that each of these paths begins with one of them."""
        paths = sorted(map(self._path, names))
        size = -(-len(paths) // _FILTER_VALUES)
        groups = [paths[start : start + size] for start in range(0, len(paths), size)]
        # Any beginning will do, not only whole segments.
        return [os.path.commonprefix(group) for group in groups]  # noqa: RUF071

    def _list_page(self, token: str, filters: Sequence[Any] = ()) -> Any:
        chosen = {"Filters": filters} if filters else self._filters()
        more: dict[str, Any] = {"NextToken": token} if token else {}
        return self._client.list_secrets(
            MaxResults=self.page_size, IncludePlannedDeletion=True, **chosen, **more
        )

    def _describe(self, name: str, secret_id: str) -> SecretMetadata | None:
        try:
            reply = self._aws.call("DescribeSecret", lambda: self._client.describe_secret(SecretId=secret_id))
        except NotFound:
            return None
        return parse_description(name, reply, reply.get("VersionIdsToStages", {}))

    def _refuse_change(self, seen: SecretMetadata, now: SecretMetadata | None) -> None:
        if now is None or now.presence is not Presence.PRESENT:
            raise ChangedSinceRead("the secret was deleted in AWS since it was read: plan again")
        if (now.version, now.mark) != (seen.version, seen.mark):
            raise ChangedSinceRead("the secret changed in AWS after it was read: refresh the plan")

    def _put_pending_version(self, seen: SecretMetadata, value: str, token: str) -> None:
        try:
            self._aws.call(
                "PutSecretValue",
                lambda: self._client.put_secret_value(
                    SecretId=seen.remote_id,
                    SecretString=value,
                    ClientRequestToken=token,
                    VersionStages=[PENDING],
                ),
            )
        except NameReserved:
            raise ChangedSinceRead("the secret was deleted in AWS since it was read: plan again") from None

    def _move_stage(self, stage: str, seen: SecretMetadata, **versions: str) -> None:
        self._aws.call(
            "UpdateSecretVersionStage",
            lambda: self._client.update_secret_version_stage(
                SecretId=seen.remote_id,
                VersionStage=stage,
                **versions,
            ),
        )

    def _remove_pending_stage(self, seen: SecretMetadata, token: str) -> None:
        """Take our stage off a version: it is current now, or never will be and AWS may forget it.

        What fails here changes no value, and the next update takes the label over.
        """
        with contextlib.suppress(BackendError):
            self._move_stage(PENDING, seen, RemoveFromVersionId=token)
