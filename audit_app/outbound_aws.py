"""Makes clients of boto3 obey the endpoint rule of `audit_app.outbound`."""

from typing import Any

from botocore.awsrequest import AWSPreparedRequest, AWSRequest, AWSResponse
from botocore.exceptions import HTTPClientError
from botocore.httpsession import URLLib3Session

from audit_app.errors import EndpointRefused
from audit_app.outbound import POOLS


class PermittedSession(URLLib3Session):
    """Sends botocore's requests over permitted connections, and through no proxy."""

    def __init__(self, *, timeout: tuple[float, float], connections: int) -> None:
        super().__init__(timeout=timeout, max_pool_connections=connections)  # type: ignore[arg-type]  # the stub knows one number alone
        # botocore has no setting for this; a test notices if the attribute moves.
        self._manager.pool_classes_by_scheme = POOLS  # type: ignore[attr-defined]

    def send(self, request: AWSRequest | AWSPreparedRequest) -> AWSResponse:
        """Send a request.

        Raises EndpointRefused if its host is where Keeper does not connect.
        """
        try:
            return super().send(request)
        except HTTPClientError as error:
            if isinstance(error.__context__, EndpointRefused):
                raise error.__context__ from None
            raise


def guard(client: Any) -> PermittedSession:
    """Let a client connect where it may and nowhere else; return what closes its connections."""
    config = client.meta.config
    session = PermittedSession(
        timeout=(config.connect_timeout, config.read_timeout), connections=config.max_pool_connections
    )

    def send(request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        return session.send(request)

    # botocore sends what this event answers no more itself.
    client.meta.events.register("before-send", send)
    return session
