"""Where a database listens, how far it has to prove who it is, and the addresses Keeper may connect to."""

import ipaddress
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

from core.errors import OutboundError
from core.network.limits import limited_context
from core.network.outbound import permitted_addresses
from sync_app.backends.capabilities import FormField
from sync_app.errors import BadDestination, TargetUnreachable

_MAX_PORT: Final = 65_535
_HOST: Final = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")


class Tls(StrEnum):
    """How a server proves who it is; there is no mode that falls back to plaintext."""

    VERIFY_IDENTITY = "verify-identity"
    VERIFY_CA = "verify-ca"
    OFF = "off"


def endpoint_fields(port: int) -> tuple[FormField, ...]:
    """Return the form fields of an endpoint."""
    return (
        FormField(name="host", label="Host", required=True),
        FormField(name="port", label="Port", default=str(port), pattern="[1-9][0-9]{0,4}"),
        FormField(
            name="tls",
            label="TLS",
            default=Tls.VERIFY_IDENTITY,
            choices=tuple(Tls),
            help="verify-ca does not compare the host's name; off sends everything in clear.",
        ),
        FormField(
            name="ca_certificate",
            label="CA certificate",
            lines=True,
            help="PEM. Leave blank for the system's CAs.",
        ),
    )


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A database server's place."""

    host: str
    port: int
    tls: Tls
    ca_certificate: str

    @classmethod
    def of(cls, settings: Mapping[str, str]) -> Self:
        """Return the endpoint that a policy's settings name. Raises BadDestination if they are malformed."""
        host, port = settings["host"].strip().rstrip(".").lower(), settings["port"]
        if not _HOST.fullmatch(host) and not _is_ipv6(host):
            raise BadDestination("enter a host name or address without a port", field="host")
        if not port.isdecimal() or not 1 <= int(port) <= _MAX_PORT:
            raise BadDestination(f"enter a port from 1 to {_MAX_PORT}", field="port")
        made = cls(
            host=host, port=int(port), tls=Tls(settings["tls"]), ca_certificate=settings["ca_certificate"]
        )
        made.context()
        return made

    def addresses(self) -> list[str]:
        """Return the numeric addresses to connect to, judged by the endpoint rule.

        Raises TargetUnreachable if one is not permitted, or the name does not resolve.
        """
        try:
            return permitted_addresses(self.host, self.port, encrypted=self.tls is not Tls.OFF)
        except OutboundError as error:
            raise TargetUnreachable(str(error)) from None
        except OSError as error:
            raise TargetUnreachable(f"{self.host} does not resolve: check the host's name") from error

    def context(self) -> ssl.SSLContext | None:
        """Return what verifies the server; None without TLS. Raises BadDestination if the CA is no PEM."""
        if self.tls is Tls.OFF:
            return None
        try:
            context = ssl.create_default_context(cadata=self.ca_certificate or None)
        except (ssl.SSLError, ValueError) as error:
            raise BadDestination(
                "enter a PEM certificate that begins with -----BEGIN", field="ca_certificate"
            ) from error
        context.check_hostname = self.tls is Tls.VERIFY_IDENTITY
        return limited_context(context)


def _is_ipv6(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).version == 6  # noqa: PLR2004 - IP version 6
    except ValueError:
        return False
