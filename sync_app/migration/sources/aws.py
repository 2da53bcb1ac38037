"""AWS Secrets Manager and SSM Parameter Store as sources, with the versions that AWS still has."""

import json
import threading
from base64 import b64encode
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, Final

from secrets_app.services.histories import CARRIED
from secrets_app.values.metadata import MAX_COMMENT, MAX_DESCRIPTION
from sync_app.backends.answers import listed
from sync_app.backends.aws.connection import (
    AwsConnection,
    require_complete_credentials,
    resolve_endpoints,
)
from sync_app.backends.aws.errors import NotFound
from sync_app.backends.aws.metadata import CURRENT
from sync_app.backends.aws.parameter_history import read_history, read_parameter
from sync_app.backends.aws.secrets_manager import AwsSecretsManager
from sync_app.backends.capabilities import FormField
from sync_app.backends.names import Prefix
from sync_app.backends.observations import parse_mark
from sync_app.migration.labels import described_by
from sync_app.migration.sources.base import Found, FoundVersion, Source, Value

_PREVIOUS: Final = "AWSPREVIOUS"
_PENDING: Final = "AWSPENDING"
_OF_AWS: Final = {CURRENT, _PREVIOUS, _PENDING}
# What a page may have, of Secrets Manager and of Parameter Store.
_PAGE: Final = 100
_PARAMETERS: Final = 50
_OURS: Final = "a target of Keeper delivers it there"
_DELETED: Final = "it was deleted in the source since it was listed"
_SCHEDULED: Final = "it is scheduled for deletion in the source"
_ROTATED: Final = "AWS rotates it: make a policy here before its clients move"
_LIST: Final = "it is a StringList there: its text is carried"


class _Aws(Source):
    """One service of an account and region, which is the one place."""

    service: ClassVar[str]
    place_word: ClassVar[str] = "region"
    place_example: ClassVar[str] = "eu-central-1"
    setting_fields: ClassVar[tuple[FormField, ...]] = tuple(
        field
        for field in AwsSecretsManager.destination_fields
        if field.name in {"region", "prefix", "role_arn", "external_id", "endpoint", "sts_endpoint"}
    )
    credential_fields: ClassVar[tuple[FormField, ...]] = AwsSecretsManager.credential_fields

    def __init__(self, *, settings: Mapping[str, str], credentials: Mapping[str, str]) -> None:
        super().__init__(settings=settings, credentials=credentials)
        self.endpoint(self.settings)
        require_complete_credentials(self.credentials)
        self._prefix = Prefix(self.settings["prefix"])
        self._lock = threading.Lock()
        self._made: AwsConnection | None = None

    @classmethod
    def endpoint(cls, settings: Mapping[str, str]) -> str:
        given = {field.name: settings.get(field.name) or "" for field in cls.setting_fields}
        return " ".join(resolve_endpoints(given, cls.service).values())

    @property
    def _aws(self) -> AwsConnection:
        """The connection; the first use assumes the role, if there is one."""
        with self._lock:
            if self._made is None:
                self._made = AwsConnection(
                    destination=self.settings,
                    credentials=self.credentials,
                    seconds=None,
                    service=self.service,
                )
            return self._made

    def close(self) -> None:
        if self._made is not None:
            self._made.close()

    def places(self) -> Sequence[str]:
        return [self.settings["region"]]

    def _listed(
        self, operation: str, request: Any, options: Mapping[str, Any], *, member: str
    ) -> Iterator[Mapping[str, Any]]:
        """Yield the items of a list, which are a member of each page."""

        def ask(token: str) -> tuple[Any, str | None]:
            more = {"NextToken": token} if token else {}
            page = self._aws.call(operation, lambda: request(**options, **more))
            return page[member], page.get("NextToken")

        return listed(ask)


class SecretsManager(_Aws):
    """AWS Secrets Manager; versions are counted by their times, the current one last."""

    kind: ClassVar[str] = "aws"
    label: ClassVar[str] = "AWS Secrets Manager"
    service: ClassVar[str] = "secretsmanager"
    needs: ClassVar[str] = """secretsmanager:ListSecrets
secretsmanager:DescribeSecret
secretsmanager:ListSecretVersionIds
secretsmanager:GetSecretValue
kms:Decrypt (for values under a key of yours)"""

    def paths(self, place: str) -> Iterator[str]:
        options: dict[str, Any] = {"MaxResults": _PAGE}
        if start := self._prefix.start:
            options["Filters"] = [{"Key": "name", "Values": [start]}]
        found = self._listed("ListSecrets", self._aws.client.list_secrets, options, member="SecretList")
        # The filter takes a beginning in any case.
        yield from (each["Name"] for each in found if each["Name"].startswith(start))

    def find(self, place: str, path: str) -> Found:
        client = self._aws.client
        try:
            facts = self._aws.call("DescribeSecret", lambda: client.describe_secret(SecretId=path))
            rows = list(
                self._listed(
                    "ListSecretVersionIds",
                    client.list_secret_version_ids,
                    {"SecretId": path, "IncludeDeprecated": True, "MaxResults": _PAGE},
                    member="Versions",
                )
            )
        except NotFound:
            return Found(path=path, skip=_DELETED)
        tags = {str(tag["Key"]): str(tag["Value"]) for tag in facts.get("Tags") or ()}
        versions, current, previous, stages = _staged(rows)
        return Found(
            path=path,
            versions=versions,
            current=current,
            previous=previous,
            is_numbered=False,
            described=_described(tags | _tags("stage", stages), facts.get("Description")),
            skip=_why_skipped(tags, facts, current),
            note=_ROTATED if facts.get("RotationEnabled") else "",
        )

    def open(self, place: str, path: str, version: FoundVersion) -> Value | None:
        client = self._aws.client
        try:
            reply = self._aws.call(
                "GetSecretValue",
                lambda: client.get_secret_value(SecretId=path, VersionId=version.identifier),
            )
        except NotFound:
            return None
        if (text := reply.get("SecretString")) is not None:
            return Value(text)
        return Value(b64encode(reply["SecretBinary"]).decode(), is_binary=True)


def _staged(rows: Sequence[Mapping[str, Any]]) -> tuple[list[FoundVersion], int, int | None, list[str]]:
    """Return the versions in order of time with the current one last, its number, and the previous one's.

    Last are the stages of the current one that are not AWS's.
    """
    stages = {row["VersionId"]: set(row.get("VersionStages") or ()) for row in rows}
    kept = [row for row in rows if stages[row["VersionId"]] != {_PENDING}]
    kept.sort(
        key=lambda row: (
            CURRENT in stages[row["VersionId"]], row["CreatedDate"], _PREVIOUS in stages[row["VersionId"]],
            row["VersionId"],
        )
    )  # fmt: skip
    versions = [
        FoundVersion(
            number=number,
            written_at=row["CreatedDate"],
            identifier=row["VersionId"],
            comment=_comment("stages", stages[row["VersionId"]] - _OF_AWS),
        )
        for number, row in enumerate(kept, 1)
    ]
    by_stage = {stage: each.number for each in versions for stage in stages[each.identifier]}
    own = next((each - _OF_AWS for each in stages.values() if CURRENT in each), set())
    return versions, by_stage.get(CURRENT, 0), by_stage.get(_PREVIOUS), sorted(own)


def _why_skipped(tags: Mapping[str, str], facts: Mapping[str, Any], current: int) -> str:
    if parse_mark(tags):
        return _OURS
    if facts.get("DeletedDate"):
        return _SCHEDULED
    if owner := facts.get("OwningService"):
        return f"the service {owner} of AWS manages it"
    return "" if current else "it has no current version"


class ParameterStore(_Aws):
    """AWS SSM Parameter Store; AWS keeps the numbers of a parameter's last 100 versions."""

    kind: ClassVar[str] = "ssm"
    label: ClassVar[str] = "AWS SSM Parameter Store"
    service: ClassVar[str] = "ssm"
    needs: ClassVar[str] = """ssm:DescribeParameters
ssm:GetParameterHistory
ssm:GetParameter
ssm:ListTagsForResource
kms:Decrypt (for values under a key of yours)"""

    def paths(self, place: str) -> Iterator[str]:
        options: dict[str, Any] = {"MaxResults": _PARAMETERS}
        if start := self._prefix.text:
            options["ParameterFilters"] = [{"Key": "Path", "Option": "Recursive", "Values": [f"/{start}"]}]
        ask = self._aws.client.describe_parameters
        for each in self._listed("ssm:DescribeParameters", ask, options, member="Parameters"):
            yield each["Name"].removeprefix("/")

    def find(self, place: str, path: str) -> Found:
        name, history = self._history(path)
        if not history:
            return Found(path=path, skip=_DELETED)
        last, client = history[-1], self._aws.client
        reply = self._aws.call(
            "ssm:ListTagsForResource",
            lambda: client.list_tags_for_resource(ResourceType="Parameter", ResourceId=name),
        )
        tags = {str(tag["Key"]): str(tag["Value"]) for tag in reply.get("TagList") or ()}
        described = _described(tags | _tags("label", last.get("Labels")), last.get("Description"))
        if expires := _expiration(last.get("Policies") or ()):
            described["expires_at"] = expires
        return Found(
            path=path,
            versions=[
                FoundVersion(
                    number=int(each["Version"]),
                    written_at=each["LastModifiedDate"],
                    author=str(each.get("LastModifiedUser") or ""),
                    identifier=name,
                    comment=_comment("labels", each.get("Labels")),
                )
                for each in history
            ],
            current=int(last["Version"]),
            described=described,
            skip=_OURS if parse_mark(tags) else "",
            note=_LIST if last.get("Type") == "StringList" else "",
        )

    def open(self, place: str, path: str, version: FoundVersion) -> Value | None:
        selector = f"{version.identifier}:{version.number}"
        entry = read_parameter(self._aws.client, self._aws.call, selector, decrypt=True)
        return None if entry is None else Value(str(entry["Value"]))

    def _history(self, path: str) -> tuple[str, list[Mapping[str, Any]]]:
        """Return the name of a parameter in AWS, which may begin with a slash, and its versions."""
        for name in (f"/{path}",) if "/" in path else (path, f"/{path}"):
            history = list(read_history(self._aws.client, self._aws.call, name, decrypt=False))
            if history:
                return name, sorted(history, key=lambda each: int(each["Version"]))
        return path, []


def _comment(noun: str, given: Collection[str] | None) -> str | None:
    """Return the comment of a version that has labels or stages; None for the usual one."""
    return f"{CARRIED}; {noun}: {', '.join(sorted(given))}"[:MAX_COMMENT] if given else None


def _tags(noun: str, given: Collection[str] | None) -> dict[str, str]:
    """Return labels or stages of the current version as tags."""
    return {f"{noun}:{each}": "" for each in given or ()}


def _described(tags: Mapping[str, str], description: str | None) -> dict[str, Any]:
    found = described_by(tags)
    if description and len(description) <= MAX_DESCRIPTION:
        found["description"] = description
    return found


def _expiration(policies: Sequence[Mapping[str, Any]]) -> str:
    """Return the time of an expiration policy as it is stored with a plan; empty for none."""
    for policy in policies:
        try:
            found = json.loads(policy["PolicyText"])
            if found["Type"] == "Expiration":
                moment = datetime.fromisoformat(found["Attributes"]["Timestamp"])
                return moment.isoformat() if moment.tzinfo else ""
        except (KeyError, TypeError, ValueError):
            continue
    return ""
