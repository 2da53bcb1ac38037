"""AWS IAM: access keys of one user, of which AWS allows two.

Permissions of the administrator, on the user: iam:ListAccessKeys, CreateAccessKey, UpdateAccessKey,
DeleteAccessKey, GetAccessKeyLastUsed. A key is tried with sts:GetCallerIdentity, which needs none.

The secret of a key is only in the answer that made it. When that is lost, the one key that was not
there before and was never used is deleted, and another made; whatever else is found stops for an
operator. There is no lock on AWS: what is deactivated and deleted is always a key named by its id.
"""

import re
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any, ClassVar, Final, TypeVar

from botocore import xform_name
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from core.errors import OutboundError
from sync_app.backends.answers import PARSE_ERRORS, unexpected_answer
from sync_app.backends.aws.connection import create_guarded_client, normalize_endpoint, require_region
from sync_app.backends.aws.errors import translate_error, translate_no_answer
from sync_app.backends.capabilities import FormField
from sync_app.errors import (
    CredentialInUse,
    CredentialsRejected,
    LoginMissing,
    OutcomeAmbiguous,
    PermissionMissing,
    QuotaExceeded,
    StillAccepted,
    TargetUnreachable,
    ValueUnusable,
)
from sync_app.rotators.base import Fence, Login, LoginAnswer, LoginProbe, PendingCredential, Rotator
from sync_app.rotators.credential_json import parse_object, replace_fields, require_text

Reply = TypeVar("Reply")

LIMIT: Final = 2
# No key has this id: a permission to change keys is tried on it.
_NO_KEY: Final = "AKIAKEEPERCHECKSONLY"
# A refusal because of a wrong clock, without a result for the key.
_CLOCK: Final = re.compile(r"expired|not yet current", re.IGNORECASE)


class AwsIam(Rotator):
    """The access keys of one IAM user, as `{"UserName", "AccessKeyId", "SecretAccessKey"}`."""

    label: ClassVar[str] = "AWS IAM access keys"
    icon: ClassVar[str] = "cloud"
    settings_fields: ClassVar[tuple[FormField, ...]] = (
        FormField(name="user_name", label="IAM user", required=True),
        FormField(name="region", label="Region", default="us-east-1", help="Of STS, which tries the keys."),
        FormField(name="iam_endpoint", label="IAM endpoint", help="Empty: AWS's own."),
        FormField(name="sts_endpoint", label="STS endpoint", help="Empty: AWS's own."),
    )
    admin_fields: ClassVar[tuple[FormField, ...]] = (
        FormField(name="access_key_id", label="Access key ID", required=True, sensitive=True),
        FormField(name="secret_access_key", label="Secret access key", required=True, sensitive=True),
    )
    # IAM is eventually consistent; new and deactivated keys take seconds to be known everywhere.
    propagation_seconds: ClassVar[int] = 60
    # A key that was left is there beside a new one, and AWS allows two.
    overwrites_idle: ClassVar[bool] = False
    # Of a request; None: KEEPER_OUTBOUND_SECONDS.
    timeout_seconds: ClassVar[float | None] = None

    def __init__(self, *, settings: Mapping[str, str], admin: Mapping[str, str]) -> None:
        super().__init__(settings=settings, admin=admin)
        require_region(self.settings["region"])
        self._places = {
            service: normalize_endpoint(self.settings, f"{service}_endpoint") or None
            for service in ("iam", "sts")
        }
        self._user = self.settings["user_name"]

    @property
    def endpoint(self) -> str:
        return f"{self._places['iam'] or 'https://iam.amazonaws.com'}/{self._user}"

    @classmethod
    def logins_of(cls, settings: Mapping[str, str]) -> frozenset[Login]:
        return frozenset({Login(settings["user_name"])})

    def check_setup(self, current: str) -> None:
        """List the keys, read the current key's last use, and try to change a key that does not exist.

        Whether keys may be created cannot be tried without creating one.
        """
        key = self._key_id(current)
        self._require_room(self._list_keys(), key)
        self._call("iam", "GetAccessKeyLastUsed", AccessKeyId=key)
        for operation, more in (("UpdateAccessKey", {"Status": "Inactive"}), ("DeleteAccessKey", {})):
            try:
                self._call("iam", operation, UserName=self._user, AccessKeyId=_NO_KEY, **more)
            except LoginMissing:
                continue

    def idle_login(self, current: str) -> str:
        """Return the user: its second place for a key is the idle one."""
        self._key_id(current)
        return self._user

    def prepare(self, current: str) -> PendingCredential:
        """Return the ids of the existing keys, to distinguish a new one."""
        used = self._key_id(current)
        keys = self._list_keys()
        self._require_room(keys, used)
        return PendingCredential(login=self._user, before=tuple(sorted(keys)))

    def set(self, pending: PendingCredential, *, current: str, fence: Fence) -> str:
        """Make a key; one that an attempt before made, and whose secret was lost, is deleted first."""
        used = self._key_id(current)
        if used not in pending.before:
            raise CredentialInUse(f"{used} serves the current value and is newer than this run")
        self._delete_lost(pending, used, fence)
        fence.require_held()
        try:
            made = self._call("iam", "CreateAccessKey", UserName=self._user)["AccessKey"]
        except (CredentialsRejected, PermissionMissing, QuotaExceeded) as error:
            # No key is to be taken for ours any more.
            error.made_nothing = True
            raise
        return replace_fields(
            current,
            UserName=self._user,
            AccessKeyId=made["AccessKeyId"],
            SecretAccessKey=made["SecretAccessKey"],
        )

    def discard(self, value: str) -> None:
        self._delete(self._key_id(value))

    def probe(self, value: str) -> LoginProbe:
        """Ask AWS who the key belongs to. Raises ValueUnusable if that is not the policy's user."""
        own = {
            "aws_access_key_id": self._key_id(value),
            "aws_secret_access_key": require_text(parse_object(value), "SecretAccessKey"),
        }
        try:
            client, session = self._client("sts", own)
            with closing(session):
                arn = str(client.get_caller_identity()["Arn"])
        except ClientError as error:
            code, message = (
                str(error.response.get("Error", {}).get(name, "")) for name in ("Code", "Message")
            )
            if code == "InvalidClientTokenId" or (
                code == "SignatureDoesNotMatch" and not _CLOCK.search(message)
            ):
                return LoginProbe(LoginAnswer.REFUSED, f"AWS refuses the key ({code})")
            return LoginProbe(LoginAnswer.UNKNOWN, f"AWS did not judge the key ({code})")
        except OutboundError as error:
            return LoginProbe(LoginAnswer.UNKNOWN, str(error))
        except BotoCoreError as error:
            return LoginProbe(LoginAnswer.UNKNOWN, str(translate_no_answer("sts:GetCallerIdentity", error)))
        except (ResponseParserError, *PARSE_ERRORS):
            return LoginProbe(LoginAnswer.UNKNOWN, str(unexpected_answer("sts:GetCallerIdentity")))
        kind, _, name = arn.rpartition(":")[2].partition("/")
        # IAM has no two names that differ in case alone.
        if kind != "user" or name.rpartition("/")[2].lower() != self._user.lower():
            raise ValueUnusable(f"the value's key is not one of {self._user}: AWS says that it is of {arn}")
        return LoginProbe(LoginAnswer.ACCEPTED)

    def retire(self, value: str, *, current: str, fence: Fence) -> None:
        """Deactivate the key, see that it is refused, and then delete it."""
        key = self._key_id(value)
        if key == self._key_id(current):
            raise CredentialInUse(f"{key} has the current value: nothing was changed")
        keys = self._list_keys()
        fence.require_held()
        if keys.get(key) == "Active":
            self._deactivate(key)
        probed = self.probe(value)
        if probed.answer is not LoginAnswer.REFUSED:
            raise StillAccepted(
                f"{key} is inactive, but not proven to be refused ({probed.why or probed.answer}): try again"
            )
        if key in keys:
            fence.require_held()
            self._delete(key)

    def revoke_unserved(self, pending: PendingCredential, *, current: str, fence: Fence) -> None:
        """Delete the key that `set` made: by its id if it is known, else the one that was never used."""
        if pending.value is not None:
            self.retire(pending.value, current=current, fence=fence)
            return
        fence.require_held()
        self._delete_lost(pending, self._key_id(current), fence)

    # --- How ----------------------------------------------------------------------------------

    def _delete_lost(self, pending: PendingCredential, used: str, fence: Fence) -> None:
        """Delete the one key that is new and was never used.

        Raises OutcomeAmbiguous if there are several, or it is in use.
        """
        keys = self._list_keys()
        if used not in keys:
            raise LoginMissing(f"{used}, which serves the current value, is no key of {self._user}")
        new = sorted(keys.keys() - set(pending.before))
        if not new:
            return
        (lost, *others) = new
        if others or lost == used or self._was_used(lost):
            raise OutcomeAmbiguous(
                f"{self._user} has keys that this run may not have made ({', '.join(new)}): find out whose "
                "they are, delete what nobody uses, and retry"
            )
        fence.require_held()
        self._deactivate(lost)
        # Checked again: a key that came into use in the meantime stays, and an operator decides.
        if self._was_used(lost):
            raise OutcomeAmbiguous(f"{lost} was used just before it was deactivated: find out by whom")
        fence.require_held()
        self._delete(lost)

    def _require_room(self, keys: Mapping[str, str], used: str) -> None:
        if keys.get(used) != "Active":
            raise LoginMissing(f"{used}, which serves the current value, is no active key of {self._user}")
        others = sorted(keys.keys() - {used})
        if len(keys) >= LIMIT:
            raise QuotaExceeded(
                f"{self._user} has {len(keys)} access keys, as many as AWS allows: delete {others[0]} "
                "if nobody uses it"
            )

    def _list_keys(self) -> dict[str, str]:
        reply = self._call("iam", "ListAccessKeys", UserName=self._user)
        return {key["AccessKeyId"]: key["Status"] for key in reply["AccessKeyMetadata"]}

    def _was_used(self, key: str) -> bool:
        reply = self._call("iam", "GetAccessKeyLastUsed", AccessKeyId=key)
        return "LastUsedDate" in reply["AccessKeyLastUsed"]

    def _deactivate(self, key: str) -> None:
        self._call("iam", "UpdateAccessKey", UserName=self._user, AccessKeyId=key, Status="Inactive")

    def _delete(self, key: str) -> None:
        try:
            self._call("iam", "DeleteAccessKey", UserName=self._user, AccessKeyId=key)
        except LoginMissing:
            return  # by an attempt before

    def _key_id(self, value: str) -> str:
        fields = parse_object(value)
        require_text(fields, "SecretAccessKey")
        if fields.get("UserName", self._user) != self._user:
            raise ValueUnusable(f"the value's UserName is not {self._user}")
        return require_text(fields, "AccessKeyId")

    def _call(self, service: str, operation: str, **parameters: str) -> Any:
        """Ask AWS once: a request that makes a key is never repeated unseen."""
        admin = {
            "aws_access_key_id": self._admin["access_key_id"],
            "aws_secret_access_key": self._admin["secret_access_key"],
        }
        client, session = self._client(service, admin)
        with closing(session):
            method = getattr(client, xform_name(operation))
            return _send(f"{service}:{operation}", lambda: method(**parameters))

    def _client(self, service: str, credentials: dict[str, str]) -> Any:
        return create_guarded_client(
            service,
            region=self.settings["region"],
            endpoint=self._places[service],
            credentials=credentials,
            seconds=self.timeout_seconds,
            attempts=1,
            connections=1,
        )


def _send(operation: str, request: Callable[[], Reply]) -> Reply:
    try:
        return request()
    except OutboundError as error:
        raise TargetUnreachable(str(error)) from None
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code")
        if code == "NoSuchEntity":
            raise LoginMissing(f"{operation}: IAM does not know the user or key") from None
        if code == "LimitExceeded":
            raise QuotaExceeded(
                f"{operation}: the user has as many access keys as AWS allows: delete the one that nobody "
                "uses, then retry"
            ) from None
        raise translate_error(operation, error) from None
    except BotoCoreError as error:
        raise translate_no_answer(operation, error) from None
    except (ResponseParserError, *PARSE_ERRORS):
        raise unexpected_answer(operation) from None
