"""What others may do in AWS Secrets Manager: with values, labels, tags, deletions, and with the whole account."""

import json
import re
from collections.abc import Callable
from random import Random
from typing import Any, ClassVar, Final
from uuid import uuid4

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ClientError, ConnectionClosedError

from core.network.aws import PermittedSession
from sync_app.backends.aws import connection
from sync_app.backends.aws.tests.world import REGION, AwsWorld, client
from sync_app.backends.observations import MARK_KEYS
from sync_app.tests.adversary.seam import Asked, Interpose
from sync_app.tests.adversary.worlds import Act, AdversaryWorld, Make, State
from tests.aws_strict.faults import Plan

_CHANGES: Final = {
    "CreateSecret",
    "PutSecretValue",
    "UpdateSecret",
    "UpdateSecretVersionStage",
    "DeleteSecret",
    "RestoreSecret",
    "TagResource",
    "UntagResource",
}
_CURRENT: Final = "AWSCURRENT"
_REFUSALS: Final = {
    404: (400, "ResourceNotFoundException"),
    403: (400, "AccessDeniedException"),
    500: (500, "InternalServiceError"),
}
# Of an ARN: what AWS puts behind a secret's name.
_SUFFIX: Final = 7
_OTHER_ROLE: Final = "arn:aws:iam::222222222222:role/keeper"
_ATTEMPTS: Final = {"asks once": 1, "asks again": 3}


class AwsAdversary(AdversaryWorld):
    """moto behind the strict layer, and another account of it that may answer in its place."""

    kind: ClassVar[str] = "aws_secrets_manager"
    # How often the SDK sends a request whose answer is lost.
    variants: ClassVar[tuple[str, ...]] = tuple(_ATTEMPTS)
    marks_may_lag: ClassVar[bool] = True
    world: AwsWorld

    def __init__(self, world: AwsWorld, variant: str, random: Random, fresh: Callable[[], str]) -> None:
        super().__init__(world, variant, random, fresh)
        lent = client("sts", world.strict_url).assume_role(RoleArn=_OTHER_ROLE, RoleSessionName="other")
        self._other_key = lent["Credentials"]["AccessKeyId"]
        self._accounts = [world.client, _of_account(lent["Credentials"], world)]

    @property
    def aws(self) -> Any:
        """The account that answers by now."""
        return self._accounts[self.elsewhere]

    # --- The seam -----------------------------------------------------------------------------

    def install(self, monkeypatch: pytest.MonkeyPatch, interpose: Interpose) -> None:
        send = PermittedSession.send
        monkeypatch.setattr(connection, "_ATTEMPTS", _ATTEMPTS[self.variant])
        monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)

        def request(permitted: PermittedSession, asked: Any) -> Any:
            def sent() -> Any:
                if self.elsewhere:
                    self._readdress(asked)
                answer = send(permitted, asked)
                # The content can be read once, and is kept by that.
                assert answer.content is not None
                return answer

            return interpose(self._asked(asked, sent))

        monkeypatch.setattr(PermittedSession, "send", request)

    def _readdress(self, asked: AWSPreparedRequest) -> None:
        signed = asked.headers["Authorization"]
        text = signed.decode() if isinstance(signed, bytes) else signed
        # moto takes the account from the access key, and looks at no signature.
        changed = re.sub(r"Credential=[^/]+/", f"Credential={self._other_key}/", text)
        del asked.headers["Authorization"]
        asked.headers["Authorization"] = changed

    def _asked(self, asked: AWSPreparedRequest, send: Callable[[], Any]) -> Asked:
        target = asked.headers.get("X-Amz-Target", b"")
        text = target.decode() if isinstance(target, bytes) else target
        operation = text.rpartition(".")[2]
        if not operation:
            return Asked(what="sts", path="", changes=False, lists=False, send=send)
        sent: Any = asked.body or b"{}"
        body = json.loads(sent)
        path = _path_of(body.get("SecretId") or body.get("Name") or "")
        return Asked(
            what=f"{operation} {path or body.get('Filters', '')}",
            path=path,
            changes=operation in _CHANGES,
            lists=operation == "ListSecrets",
            send=send,
        )

    def refused(self, asked: Asked, status: int) -> Any:
        sent, code = _REFUSALS[status]
        body = {"__type": code, "message": "refused", "Message": "refused"}
        return _answer(sent, body, {"x-amzn-errortype": code})

    def cut(self, answer: Any, share: float) -> Any:
        body = json.loads(answer.content) if answer.status_code == 200 else {}
        if "SecretList" not in body:
            return answer
        body["SecretList"] = body["SecretList"][: int(len(body["SecretList"]) * share)]
        return _answer(200, body, {})

    def lost(self) -> Exception:
        return ConnectionClosedError(endpoint_url=self.world.strict_url)

    # --- The judge's look ---------------------------------------------------------------------

    def _described(self, path: str) -> Any:
        try:
            return self.aws.describe_secret(SecretId=path)
        except self.aws.exceptions.ResourceNotFoundException:
            return None

    def state(self, path: str) -> State:
        found = self._described(path)
        if found is None:
            return State()
        tags = {tag["Key"]: tag["Value"] for tag in found.get("Tags") or []}
        mark = {key: tags[key] for key in MARK_KEYS if key in tags}
        stages = found.get("VersionIdsToStages") or {}
        current = [version for version, labels in stages.items() if _CURRENT in labels]
        told: dict[str, Any] = {
            "incarnation": found["ARN"],
            "mark": mark,
            "marked_for": mark.get("keeper-target", ""),
            "versions": frozenset(stages),
            "version": current[0] if current else "",
        }
        if found.get("DeletedDate"):
            return State(presence="deleted", **told)
        if not current:
            return State(presence="present", **told)
        value = self.aws.get_secret_value(SecretId=path, VersionStage=_CURRENT)["SecretString"]
        return State(presence="present", value=value, **told)

    def paths(self) -> list[str]:
        found: list[str] = []
        token: dict[str, str] = {}
        while True:
            page = self.aws.list_secrets(
                Filters=[{"Key": "name", "Values": [f"{self.prefix}/"]}],
                IncludePlannedDeletion=True,
                MaxResults=100,
                **token,
            )
            found += [each["Name"] for each in page["SecretList"]]
            if not page.get("NextToken"):
                return sorted(found)
            token = {"NextToken": page["NextToken"]}

    # --- What others do -----------------------------------------------------------------------

    def acts(self) -> list[Act]:
        acts = [
            Act(name="put a value", do=self._write, weight=15),
            Act(name="update the secret", do=self._update),
            Act(name="delete with recovery", do=self._soft_delete),
            Act(name="delete for ever", do=self._hard_delete),
            Act(name="recreate", do=self._recreate),
            Act(name="recreate with the same value", do=self._recreate_same),
            Act(name="recreate with the marks", do=self._recreate_marked),
            Act(name="take the mark off", do=self._unmark),
            Act(name="copy marks from another", do=self._copy_marks),
            Act(name="restore", do=self._restore),
            Act(name="move AWSCURRENT back", do=self._move_back),
            Act(name="put a pending version", do=self._put_pending, weight=5),
        ]
        return [Act(name=act.name, do=self._if_it_may_be(act.do), weight=act.weight) for act in acts]

    def _if_it_may_be(self, act: Callable[[str], object]) -> Callable[[str], object]:
        """Pass over what AWS refuses, such as a value for what is deleted."""

        def tried(path: str) -> None:
            try:
                act(path)
            except ClientError as error:
                if error.response["Error"]["Code"] not in {
                    "ResourceNotFoundException",
                    "InvalidRequestException",
                }:
                    raise

        return tried

    def _write(self, path: str) -> None:
        found = self._described(path)
        if found is None:
            self.aws.create_secret(Name=path, SecretString=self.fresh())
        elif not found.get("DeletedDate"):
            made = self.aws.put_secret_value(
                SecretId=path, SecretString=self.fresh(), ClientRequestToken=str(uuid4())
            )
            self._leave_current(path, made["VersionId"])

    def _update(self, path: str) -> None:
        found = self._described(path)
        if found is not None and not found.get("DeletedDate"):
            made = self.aws.update_secret(
                SecretId=path, SecretString=self.fresh(), ClientRequestToken=str(uuid4())
            )
            self._leave_current(path, made["VersionId"])

    def _leave_current(self, path: str, made: str) -> None:
        """Have AWSCURRENT on one version alone, as AWS has; moto leaves it on those it was moved to."""
        for version, labels in self._described(path)["VersionIdsToStages"].items():
            if version != made and _CURRENT in labels:
                self.aws.update_secret_version_stage(
                    SecretId=path, VersionStage=_CURRENT, RemoveFromVersionId=version
                )

    def _soft_delete(self, path: str) -> None:
        self.aws.delete_secret(SecretId=path)

    def _hard_delete(self, path: str) -> None:
        self.aws.delete_secret(SecretId=path, ForceDeleteWithoutRecovery=True)

    def _recreate(self, path: str) -> None:
        self._hard_delete(path)
        self.aws.create_secret(Name=path, SecretString=self.fresh())

    def _recreate_same(self, path: str) -> None:
        value = self.state(path).value or self.fresh()
        self._hard_delete(path)
        self.aws.create_secret(Name=path, SecretString=value)

    def _recreate_marked(self, path: str) -> None:
        mark = self.state(path).mark
        self._recreate(path)
        self._tag(path, mark)

    def _tag(self, path: str, mark: Any) -> None:
        if mark:
            tags = [{"Key": key, "Value": text} for key, text in mark.items()]
            self.aws.tag_resource(SecretId=path, Tags=tags)

    def _unmark(self, path: str) -> None:
        self.aws.untag_resource(SecretId=path, TagKeys=list(MARK_KEYS))

    def _copy_marks(self, path: str) -> None:
        marks = [self.state(other).mark for other in self.paths() if other != path]
        marks = [mark for mark in marks if mark]
        if marks:
            self._tag(path, self.random.choice(marks))

    def _restore(self, path: str) -> None:
        self.aws.restore_secret(SecretId=path)

    def _move_back(self, path: str) -> None:
        found = self._described(path)
        stages = (found or {}).get("VersionIdsToStages") or {}
        holders = {label: version for version, labels in stages.items() for label in labels}
        if {"AWSPREVIOUS", _CURRENT} <= holders.keys():
            self.aws.update_secret_version_stage(
                SecretId=path,
                VersionStage=_CURRENT,
                MoveToVersionId=holders["AWSPREVIOUS"],
                RemoveFromVersionId=holders[_CURRENT],
            )
            self._leave_current(path, holders["AWSPREVIOUS"])

    def _put_pending(self, path: str) -> None:
        self.aws.put_secret_value(
            SecretId=path,
            SecretString=self.fresh(),
            VersionStages=["AWSPENDING"],
            ClientRequestToken=str(uuid4()),
        )


class _Raw:
    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self, *_: Any, **__: Any) -> Any:
        yield self._content


def _answer(status: int, body: dict[str, Any], headers: dict[str, str]) -> AWSResponse:
    told: Any = headers
    return AWSResponse("", status, told, _Raw(json.dumps(body).encode()))


def _path_of(secret_id: str) -> str:
    """Return the name of a secret that a request names by that or by its ARN."""
    if not secret_id.startswith("arn:"):
        return secret_id
    return secret_id.split(":", 6)[6][:-_SUFFIX]


def _of_account(lent: dict[str, str], world: AwsWorld) -> Any:
    import boto3

    return boto3.client(
        "secretsmanager",
        region_name=REGION,
        endpoint_url=world.client.meta.endpoint_url,
        aws_access_key_id=lent["AccessKeyId"],
        aws_secret_access_key=lent["SecretAccessKey"],
        aws_session_token=lent["SessionToken"],
    )


@pytest.fixture
def aws_secrets_manager_adversary(strict_aws: tuple[str, Plan], moto_url: str) -> Make:
    url, plan = strict_aws
    plan.clear()

    def make(variant: str, random: Random, fresh: Callable[[], str]) -> AdversaryWorld:
        return AwsAdversary(AwsWorld(url, moto_url, plan), variant, random, fresh)

    return make
