"""Asks AWS in the name of a target: with its keys or a role that they assume, over guarded connections."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from core.errors import EndpointRefused, OutboundError
from sync_app.backends.answers import PARSE_ERRORS, require_plain_id, unexpected_answer
from sync_app.backends.aws.clients import create_guarded_client
from sync_app.backends.aws.destination import require_complete_credentials, resolve_endpoints
from sync_app.backends.aws.errors import NOT_FOUND, NotFound, translate_error, translate_no_answer
from sync_app.backends.base import Backend
from sync_app.backends.capabilities import fill_defaults
from sync_app.backends.observations import Mark
from sync_app.backends.paths import Prefix
from sync_app.errors import TargetUnreachable

if TYPE_CHECKING:
    from audit_app.network.outbound_aws import PermittedSession

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
    # Of a request; None: KEEPER_OUTBOUND_SECONDS.
    timeout_seconds: ClassVar[float | None] = None

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
