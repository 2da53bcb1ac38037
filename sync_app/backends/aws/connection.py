"""How AWS is reached for a target: with its keys or a role that they assume, where Keeper may connect.

Connections are guarded and take bounded time. The AWS SDK takes time and memory: it is loaded when the
first client is made. The destination and the credentials of a target are read here.
"""

import functools
import re
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError
from django.conf import settings

from core.errors import BadEndpoint, EndpointRefused, OutboundError
from core.network.outbound import normalised_endpoint
from sync_app.backends.answers import PARSE_ERRORS, require_plain_id, unexpected_answer
from sync_app.backends.aws.errors import NOT_FOUND, NotFound, translate_error, translate_no_answer
from sync_app.backends.base import Backend
from sync_app.backends.capabilities import fill_defaults
from sync_app.backends.names import Prefix
from sync_app.backends.observations import Mark
from sync_app.errors import BadDestination, TargetUnreachable

if TYPE_CHECKING:
    import boto3

    from core.network.aws import PermittedSession


def create_guarded_client(
    service: str,
    *,
    region: str,
    endpoint: str | None,
    credentials: dict[str, str],
    seconds: float | None,
    attempts: int,
    connections: int,
) -> "tuple[Any, PermittedSession]":
    """Return a client, and what closes its connections; `seconds` is for each attempt, altogether."""
    from botocore.config import Config  # noqa: PLC0415 - see above

    from core.network.aws import guard  # noqa: PLC0415 - see above

    config = Config(
        retries={"mode": "standard", "total_max_attempts": attempts},
        max_pool_connections=connections,
    )
    with _making:
        client: Any = _session().client(
            service,  # type: ignore[call-overload]  # the stub wants a name that is written there
            region_name=region,
            endpoint_url=endpoint,
            config=config,
            **credentials,
        )
    return client, guard(client, seconds=seconds)


# Clients are safe to share between threads, making them is not.
_making = threading.Lock()


@functools.cache
def _session() -> "boto3.session.Session":
    """Return the session of this process, which has read the descriptions of AWS once."""
    import boto3  # noqa: PLC0415 - see above

    return boto3.session.Session()


_REGION: Final = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")


def parse_recovery_window(text: str) -> int:
    """Return the days.

    Raises BadDestination: AWS takes 7 to 30 (DeleteSecret, RecoveryWindowInDays).
    """
    if not text.isdecimal() or not 7 <= int(text) <= 30:  # noqa: PLR2004  AWS's bounds
        raise BadDestination("7 to 30 days", field="recovery_window_days")
    return int(text)


def resolve_endpoints(destination: Mapping[str, str], service: str) -> dict[str, str]:
    """Return the address of a service and of STS: the given one, or else that of the region.

    Raises BadDestination.
    """
    region = destination["region"]
    require_region(region)
    # AWS General Reference, "Service endpoints"; other partitions need theirs to be given.
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return {
        each: normalize_endpoint(destination, field) or f"https://{each}.{region}.{domain}"
        for each, field in ((service, "endpoint"), ("sts", "sts_endpoint"))
    }


def require_region(region: str) -> None:
    """Raise BadDestination for what is no name of a region."""
    if not _REGION.fullmatch(region):
        raise BadDestination("enter a region, for example eu-central-1", field="region")


def normalize_endpoint(destination: Mapping[str, str], field: str) -> str:
    """Return the address in a field; empty if there is none. Raises BadDestination."""
    text = destination[field]
    try:
        return normalised_endpoint(text) if text else ""
    except BadEndpoint as error:
        raise BadDestination(str(error), field=field) from error


def require_complete_credentials(credentials: Mapping[str, str]) -> None:
    """Refuse half a key, and none where Keeper's own identity is not to be lent. Raises BadDestination."""
    if bool(credentials["access_key_id"]) != bool(credentials["secret_access_key"]):
        raise BadDestination(
            "enter both the access key ID and the secret access key", field="secret_access_key"
        )
    if not credentials["access_key_id"] and not settings.KEEPER_SYNC_ALLOW_INSTANCE_CREDENTIALS:
        raise BadDestination(
            "enter an access key: targets use the identity of Keeper's own machine only where "
            "KEEPER_SYNC_ALLOW_INSTANCE_CREDENTIALS allows it",
            field="access_key_id",
        )


Answer = TypeVar("Answer")

_ATTEMPTS: Final = 3
_CONNECTIONS: Final = 16


class AwsConnection:
    """The connections to one region, safe to share between threads."""

    def __init__(
        self,
        *,
        destination: Mapping[str, str],
        credentials: Mapping[str, str],
        seconds: float | None,
        service: str,
    ) -> None:
        """Take complete fields as AwsSecretsManager names them, the time for each attempt, and the service.

        Assumes the role, if there is one. Raises a BackendError.
        """
        self._destination, self._credentials, self._seconds = destination, credentials, seconds
        self._endpoints = resolve_endpoints(destination, service)
        self._sessions: list[PermittedSession] = []
        # Known from the credentials where a role gave them; else STS is asked.
        self._account = ""
        self._lent = self._credential_options()
        self.client = self._create_client(service, self._lent)

    def close(self) -> None:
        for session in self._sessions:
            session.close()

    def resolve_account(self) -> str:
        """Return the account: the assumed role's, or the answer of STS, which needs no permission."""
        if not self._account:
            client = self._create_client("sts", self._lent)
            self._account = require_plain_id(
                self.call("sts:GetCallerIdentity", client.get_caller_identity)["Account"]
            )
        return self._account

    def call(self, operation: str, request: Callable[[], Answer]) -> Answer:
        """Ask AWS; its own errors may repeat what was sent, and are not passed on."""
        try:
            return request()
        except EndpointRefused as error:
            raise TargetUnreachable(str(error)) from None
        except OutboundError as error:
            raise TargetUnreachable(f"{operation}: {error}") from None
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code in NOT_FOUND:
                raise NotFound("the secret is gone from AWS: plan again") from None
            raise translate_error(operation, error) from None
        except BotoCoreError as error:
            raise translate_no_answer(operation, error) from None
        except (ResponseParserError, *PARSE_ERRORS):
            # The SDK takes some answers apart without a look at their form.
            raise unexpected_answer(operation) from None

    def _credential_options(self) -> dict[str, str]:
        own = {
            "aws_access_key_id": self._credentials["access_key_id"],
            "aws_secret_access_key": self._credentials["secret_access_key"],
            "aws_session_token": self._credentials["session_token"],
        }
        given = {key: text for key, text in own.items() if text}
        role = self._destination["role_arn"]
        if not role:
            return given
        external = self._destination["external_id"]
        options = {"ExternalId": external} if external else {}
        client = self._create_client("sts", given)
        reply = self.call(
            "sts:AssumeRole",
            lambda: client.assume_role(RoleArn=role, RoleSessionName="keeper-sync", **options),
        )
        # arn:aws:sts::ACCOUNT:assumed-role/NAME/SESSION
        self._account = reply["AssumedRoleUser"]["Arn"].split(":")[4]
        lent = reply["Credentials"]
        return {
            "aws_access_key_id": lent["AccessKeyId"],
            "aws_secret_access_key": lent["SecretAccessKey"],
            "aws_session_token": lent["SessionToken"],
        }

    def _create_client(self, service: str, credentials: dict[str, str]) -> Any:
        client, session = create_guarded_client(
            service,
            region=self._destination["region"],
            endpoint=self._endpoints[service],
            credentials=credentials,
            seconds=self._seconds,
            attempts=_ATTEMPTS,
            connections=_CONNECTIONS,
        )
        self._sessions.append(session)
        return client


class AwsBackend(Backend):
    """What one service of AWS keeps in one account and region below one prefix."""

    # As endpoints and clients name it.
    service: ClassVar[str]
    summary_fields: ClassVar[tuple[str, ...]] = ("region", "prefix")
    # Of a request; None: KEEPER_OUTBOUND_SECONDS.
    timeout_seconds: ClassVar[float | None] = None

    @classmethod
    def summarize(cls, destination: Mapping[str, str]) -> str:
        region, prefix = destination.get("region", ""), destination.get("prefix", "")
        return f"{cls.summary_label} {region} /{prefix}".rstrip("/").rstrip()

    def __init__(self, *, destination: Mapping[str, str], credentials: Mapping[str, str]) -> None:
        super().__init__(destination=destination, credentials=credentials)
        self._prefix = Prefix(self.destination["prefix"])
        require_complete_credentials(self._credentials)
        self._aws = AwsConnection(
            destination=self.destination,
            credentials=self._credentials,
            seconds=self.timeout_seconds,
            service=self.service,
        )
        self._client: Any = self._aws.client

    @classmethod
    def endpoint(cls, destination: Mapping[str, str]) -> str:
        given = fill_defaults(cls.destination_fields, destination)
        return " ".join(resolve_endpoints(given, cls.service).values())

    @property
    def path_prefix(self) -> str:
        return self._prefix.text

    def close(self) -> None:
        self._aws.close()


def mark_tags(mark: Mark) -> list[dict[str, str]]:
    """Return a mark as the tags of a request."""
    return [{"Key": key, "Value": text} for key, text in mark.labels().items()]
