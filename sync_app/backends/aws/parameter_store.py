"""AWS SSM Parameter Store: SecureString parameters below one path, whose owner is named by tags.

Permissions, on the parameters below the path: ssm:PutParameter, GetParameter, GetParameterHistory,
DeleteParameter, AddTagsToResource, RemoveTagsFromResource, ListTagsForResource; on *: ssm:DescribeParameters;
with a key of its own: kms:Encrypt and kms:Decrypt on it (a parameter of the advanced tier:
kms:GenerateDataKey); with a role to assume: sts:AssumeRole.

AWS takes three PutParameter a second unless higher throughput is turned on (Parameter Store quotas). It has
no compare-and-set and no recovery window. `update` reads before it writes, and afterwards looks at what the
new version came over: a version of another writer is written back from the history. A deletion is permanent.
"""

import contextlib
import functools
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Final

from sync_app.backends.answers import VendorAnswer, listed
from sync_app.backends.aws import permissions
from sync_app.backends.aws.answers import PARAMETER_STORE
from sync_app.backends.aws.connection import AwsBackend, mark_tags
from sync_app.backends.aws.errors import NotFound
from sync_app.backends.aws.metadata import explain_bad_name, parse_parameter
from sync_app.backends.aws.parameter_history import SECURE, read_history, read_parameter, write_back
from sync_app.backends.aws.secrets_manager import AwsSecretsManager
from sync_app.backends.base import Overwrites
from sync_app.backends.capabilities import Capabilities, FormField, Permission
from sync_app.backends.observations import (
    MARK_KEYS,
    Mark,
    SecretMetadata,
    SecretValue,
    parse_mark,
    precedes,
    version_matches,
    version_number,
)
from sync_app.domain.reconciliation import Presence
from sync_app.errors import (
    BackendError,
    ChangedSinceRead,
    NameUnusable,
    OutcomeUnknown,
    QuotaExceeded,
    RequestRefused,
    TargetBusy,
)

# PutParameter, "Value": bytes by tier.
_LARGEST: Final = {"standard": 4096, "advanced": 8192, "intelligent": 8192}
_TIERS: Final = {"advanced": "Advanced", "intelligent": "Intelligent-Tiering"}
# Of DescribeParameters: entries of a page, and values of a filter.
_PAGE: Final = 50
_REFERENCE: Final = re.compile(r"\{\{.*?\}\}", re.DOTALL)
_UNKNOWN: Final = "AWS took the write, and does not show it yet: it is looked at again"
_CHANGED: Final = "the parameter changed in AWS after it was read: refresh the plan"


class AwsParameterStore(AwsBackend, Overwrites):
    """The parameters of one account and region below one path."""

    label: ClassVar[str] = "AWS SSM Parameter Store"
    icon: ClassVar[str] = "table"
    summary_label: ClassVar[str] = "SSM"
    answers: ClassVar[tuple[VendorAnswer, ...]] = PARAMETER_STORE
    service: ClassVar[str] = "ssm"
    destination_fields: ClassVar[tuple[FormField, ...]] = (
        *(field for field in AwsSecretsManager.destination_fields if field.name in {"region", "prefix"}),
        FormField(name="kms_key_id", label="KMS key", help="Leave blank for aws/ssm."),
        FormField(
            name="tier",
            label="Tier",
            rule=True,
            default="standard",
            choices=("standard", "advanced", "intelligent"),
            choice_labels=(
                "Standard: up to 4 KB",
                "Advanced: up to 8 KB, charged by AWS",
                "Intelligent-Tiering: AWS chooses by size",
            ),
            help="Of new parameters. An advanced parameter never becomes a standard one.",
        ),
        *(
            field
            for field in AwsSecretsManager.destination_fields
            if field.name in {"role_arn", "external_id", "endpoint", "sts_endpoint"}
        ),
    )
    credential_fields: ClassVar[tuple[FormField, ...]] = AwsSecretsManager.credential_fields
    writes_per_second: ClassVar[float] = 3
    capabilities: ClassVar[Capabilities] = Capabilities(deletes_recoverably=False)

    @property
    def max_value_bytes(self) -> int:
        return _LARGEST[self.destination["tier"]]

    def identify_system(self) -> str:
        return f"aws-ssm/{self._aws.resolve_account()}/{self.destination['region']}"

    def explain_refusal(self, act: str, name: str) -> str:
        return explain_bad_name(f"/{self._prefix.start}{name}") if act == "create" else ""

    @property
    def checks_content(self) -> bool:
        return True

    def explain_content_refusal(self, value: str) -> str:
        """Refuse what AWS takes for a reference to another parameter (PutParameter, "Value")."""
        if not _REFERENCE.search(value):
            return ""
        return "Parameter Store takes no text in double braces, such as {{ssm:name}}: change the value"

    def check_connection(self) -> None:
        self._describe(self._below(), most=1)

    def probe_permissions(self) -> Iterator[Permission]:
        return permissions.probe_permissions(
            permissions.parameter_requests(self._client, f"/{self._prefix.start}"),
            permissions.PARAMETERS,
            own_key=bool(self.destination["kms_key_id"]),
            call=self._aws.call,
        )

    def list_secrets(self) -> Iterator[SecretMetadata]:
        """Yield what DescribeParameters shows, 50 a page, each with its tags; no value is read."""
        for entry in listed(functools.partial(self._described, self._below())):
            name = self._prefix.name(entry["Name"].removeprefix("/"))
            seen = self._with_mark(name, entry) if name else None
            if seen is not None:
                yield seen

    def get_metadata(self, name: str) -> SecretMetadata:
        entry = self._read(self._path(name))
        seen = self._with_mark(name, entry) if entry else None
        return seen or SecretMetadata(name=name, presence=Presence.ABSENT)

    def batch_get_metadata(self, names: Collection[str]) -> dict[str, SecretMetadata]:
        """Return what DescribeParameters shows of names, 50 a request, each with its tags."""
        paths = {self._path(name): name for name in names if not self.explain_refusal("create", name)}
        found = {}
        ordered = sorted(paths)
        for start in range(0, len(ordered), _PAGE):
            chosen = {"Key": "Name", "Values": ordered[start : start + _PAGE]}
            for entry in listed(functools.partial(self._described, chosen)):
                name = paths.get(entry["Name"], "")
                if name and (seen := self._with_mark(name, entry)) is not None:
                    found[name] = seen
        return found

    def read_value(self, name: str) -> SecretValue | None:
        entry = self._read(self._path(name), decrypt=True)
        if entry is None:
            return None
        return SecretValue(metadata=parse_parameter(name, entry), value=entry["Value"])

    def create(self, name: str, value: str, *, mark: Mark, token: str, known: bool = False) -> SecretMetadata:
        """Create a parameter with its tags in one call, only if there is none of the name."""
        path = self._path(name)
        tier = _TIERS.get(self.destination["tier"], "Standard")
        number = self._put(
            path, value, Type=SECURE, Tier=tier, Tags=mark_tags(mark), Overwrite=False, **self._key()
        )
        # The request that created it carried the tags: they need no request of their own.
        return SecretMetadata(
            name=name,
            presence=Presence.PRESENT,
            remote_id=path,
            version=self._look_after(name, path, number),
            mark=mark,
        )

    def update(
        self, seen: SecretMetadata, value: str, *, token: str, known: bool = False, repeated: bool = False
    ) -> SecretMetadata:
        """Read, write a version if the one in `seen` is there, and look at what it came over.

        If the next version holds this very value already, an earlier attempt got through. Raises Overwritten
        if another writer's version came in between: it was written back.
        """
        path = self._path(seen.name)
        now = self._read(path)
        if now is None:
            raise ChangedSinceRead(_CHANGED)
        current = parse_parameter(seen.name, now)
        if current.version != seen.version:
            return self._find_earlier(seen, current, value, token=token, repeated=repeated)
        options = self._key(path) if now["Type"] == SECURE else {}
        made = self._put(path, value, Type=now["Type"], Overwrite=True, **options)
        return self._confirm(seen, path, made, value)

    def revert_write(self, over: SecretMetadata, written: str) -> None:
        """Write back what a version of ours came over, if that was another one than in `over`."""
        number = version_number(written)
        if self._came_over(over, number):
            return
        history = self._history(self._path(over.name))
        ours = [entry for entry in history if parse_parameter(over.name, entry).version == written]
        if ours:
            self._revert(over, history, functools.partial(self.values_equal, ours[0]["Value"]))

    def revert_unconfirmed_write(
        self, over: SecretMetadata, *, makes: str, wrote: Callable[[str], bool], kept: str | None = None
    ) -> None:
        """Write back what a write of ours came over, if that was another version than in `over`.

        Another writer's version in between took the number in `makes`: every version since is looked at.
        """
        self._revert(over, self._history(self._path(over.name)), wrote)

    def predict_version(self, version: str, *, token: str) -> str:
        """Return the number after the version's, which any writer can create; 1 if there is no version."""
        return str(version_number(version) + 1)

    @classmethod
    def is_behind(cls, seen: SecretMetadata, synced: str) -> bool:
        """Return whether a look shows a lower number of an earlier time: numbers begin again."""
        return precedes(seen.version, synced)

    def delete(self, seen: SecretMetadata) -> None:
        """Delete the parameter if it is as it was seen. AWS keeps nothing of it."""
        now = self.get_metadata(seen.name)
        if now.presence is not Presence.PRESENT or (now.version, now.mark) != (seen.version, seen.mark):
            raise ChangedSinceRead(_CHANGED)
        path = self._path(seen.name)
        # The SDK repeats a request whose answer is lost; the second time nothing is there.
        with contextlib.suppress(NotFound):
            self._aws.call("ssm:DeleteParameter", lambda: self._client.delete_parameter(Name=path))

    def restore(self, name: str) -> SecretMetadata:
        """Return the present state: nothing of a deleted parameter is kept."""
        return self.get_metadata(name)

    def mark(self, seen: SecretMetadata, mark: Mark) -> None:
        path = self._path(seen.name)
        self._aws.call(
            "ssm:AddTagsToResource",
            lambda: self._client.add_tags_to_resource(
                ResourceType="Parameter", ResourceId=path, Tags=mark_tags(mark)
            ),
        )

    def unmark(self, seen: SecretMetadata) -> None:
        path = self._path(seen.name)
        self._aws.call(
            "ssm:RemoveTagsFromResource",
            lambda: self._client.remove_tags_from_resource(
                ResourceType="Parameter", ResourceId=path, TagKeys=list(MARK_KEYS)
            ),
        )

    # --- How ----------------------------------------------------------------------------------

    def _path(self, name: str) -> str:
        path = f"/{self._prefix.path(name)}"
        if problem := explain_bad_name(path):
            raise NameUnusable(problem)
        return path

    def _below(self) -> dict[str, Any]:
        return {"Key": "Path", "Option": "Recursive", "Values": [f"/{self._prefix.text}"]}

    def _described(self, chosen: Mapping[str, Any], token: str) -> tuple[Any, str | None]:
        page = self._describe(chosen, token=token)
        return page["Parameters"], page.get("NextToken")

    def _describe(self, chosen: Mapping[str, Any], *, token: str = "", most: int = _PAGE) -> Any:
        options = {"NextToken": token} if token else {}
        return self._aws.call(
            "ssm:DescribeParameters",
            lambda: self._client.describe_parameters(ParameterFilters=[chosen], MaxResults=most, **options),
        )

    def _with_mark(self, name: str, entry: Mapping[str, Any]) -> SecretMetadata | None:
        """Return a parameter with the mark in its tags; None if it is gone by now."""
        seen = parse_parameter(name, entry)
        try:
            reply = self._aws.call(
                "ssm:ListTagsForResource",
                lambda: self._client.list_tags_for_resource(
                    ResourceType="Parameter", ResourceId=seen.remote_id
                ),
            )
        except NotFound:
            return None
        return replace(seen, mark=parse_mark({tag["Key"]: tag["Value"] for tag in reply["TagList"]}))

    def _read(self, selector: str, *, decrypt: bool = False) -> Mapping[str, Any] | None:
        return read_parameter(self._client, self._aws.call, selector, decrypt=decrypt)

    def _history(self, path: str) -> list[Mapping[str, Any]]:
        return list(read_history(self._client, self._aws.call, path))

    def _revert(
        self, over: SecretMetadata, history: list[Mapping[str, Any]], wrote: Callable[[str], bool]
    ) -> None:
        write_back(
            self._client, self._aws.call, self._path(over.name), over=over, history=history, wrote=wrote
        )

    def _version(self, path: str, number: int) -> Mapping[str, Any] | None:
        return self._read(f"{path}:{number}") if number > 0 else None

    def _put(self, path: str, value: str, **options: Any) -> int:
        if len(value.encode()) > self.max_value_bytes:
            raise QuotaExceeded(f"the value has more than the {self.max_value_bytes:,} bytes of its tier")
        if not value:
            raise RequestRefused("Parameter Store takes no empty value")
        if refusal := self.explain_content_refusal(value):
            raise RequestRefused(refusal)
        reply = self._aws.call(
            "ssm:PutParameter", lambda: self._client.put_parameter(Name=path, Value=value, **options)
        )
        return int(reply["Version"])

    def _key(self, path: str = "") -> dict[str, str]:
        """Return the key of a write: the target's, or the one that an existing parameter has."""
        own = self.destination["kms_key_id"]
        if own or not path:
            return {"KeyId": own} if own else {}
        entries = self._describe({"Key": "Name", "Values": [path]})["Parameters"]
        key = entries[0].get("KeyId") if entries else ""
        return {"KeyId": key} if key else {}

    def _confirm(self, seen: SecretMetadata, path: str, number: int, value: str) -> SecretMetadata:
        """Return the version that was just made, over the one in `seen`; raises as `update` does.

        Raises TargetBusy where the looks fail and the answered number shows that another version came in
        between: the next attempt writes that back. An outcome that is only looked for would not.
        """
        if number == 1 and seen.mark is not None:
            # It was deleted between the read and the write, which made it again: with our mark.
            self.mark(seen, seen.mark)
        try:
            made = self._look_after(seen.name, path, number)
            came_over = number == 1 or self._came_over(seen, number)
            history = [] if came_over else self._history(path)
        except BackendError as error:
            if number in {1, version_number(seen.version) + 1}:
                raise OutcomeUnknown(_UNKNOWN, made=str(number)) from error
            unseen = TargetBusy(_UNKNOWN)
            # The one in between may be ours, too: the SDK sends a request again.
            unseen.made = str(number)
            raise unseen from error
        if not came_over:
            self._revert(seen, history, functools.partial(self.values_equal, value))
        return replace(seen, presence=Presence.PRESENT, version=made, previous_version=seen.version)

    def _look_after(self, name: str, path: str, number: int) -> str:
        """Return the version of a number that AWS has just answered with. Raises OutcomeUnknown."""
        try:
            ours = self._version(path, number)
        except BackendError as error:
            raise OutcomeUnknown(_UNKNOWN, made=str(number)) from error
        if ours is None:
            raise OutcomeUnknown(_UNKNOWN, made=str(number))
        return parse_parameter(name, ours).version

    def _came_over(self, over: SecretMetadata, number: int) -> bool:
        """Return whether the version before a number is the one in `over`."""
        before = self._version(self._path(over.name), number - 1)
        return before is not None and parse_parameter(over.name, before).version == over.version

    def _find_earlier(
        self, seen: SecretMetadata, current: SecretMetadata, value: str, *, token: str, repeated: bool
    ) -> SecretMetadata:
        """Return the version after the one in `seen` if it is this write's, by an earlier attempt."""
        copy = self.read_value(seen.name)
        is_next = version_matches(current.version, self.predict_version(seen.version, token=token))
        if copy is None or not is_next or copy.metadata.version != current.version:
            raise ChangedSinceRead(_CHANGED)
        if not self.values_equal(value, copy.value):
            raise ChangedSinceRead(_CHANGED)
        if repeated:
            history = self._history(self._path(seen.name))
            self._revert(seen, history, functools.partial(self.values_equal, value))
        if self.get_metadata(seen.name).mark != seen.mark:
            raise ChangedSinceRead(_CHANGED)
        return replace(seen, presence=Presence.PRESENT, version=current.version)
