"""Syslog: RFC 5424 messages to the local daemon, or over TCP or TLS to another machine (RFC 6587, 5425)."""

import os
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar, Final

from audit_app.errors import SinkDown
from audit_app.sinks.base import Sink
from core.errors import OutboundError
from core.network.limits import limited, limited_context, opened
from core.network.outbound import permitted_addresses

LOCAL: Final = "/dev/log"
# Facility 13, log audit; severity 5, notice.
_PRIORITY: Final = 13 * 8 + 5
_TIMEOUT_SECONDS: Final = 10


class SyslogSink(Sink):
    """Sends lines to syslog, which cannot be read back.

    The local daemon takes datagrams; a server takes a stream, whose messages begin with their
    length. Over a stream the end of the connection shows whether the server still stood.
    """

    kind: ClassVar[str] = "syslog"

    def __init__(
        self,
        what: str,
        *,
        name: str = "",
        host: str = "",
        port: int = 0,
        tls: bool = False,
        ca: str = "",
        path: str = LOCAL,
    ) -> None:
        place = f"{host}:{port}" if host else path
        super().__init__(name or f"{what}:syslog{'+tls' if tls else ''}:{place}")
        self._what, self._host, self._port, self._tls, self._path = what, host, port, tls, path
        self._ca = ca

    def write(self, lines: Sequence[bytes], *, number: int, stream: str = "") -> int:
        del number, stream
        messages = [self._message(line) for line in lines]
        try:
            with self._connected() as connection:
                if self._host:
                    connection.sendall(b"".join(b"%d %s" % (len(message), message) for message in messages))
                else:
                    for message in messages:
                        connection.send(message)
        except (OSError, UnicodeError, OutboundError) as error:
            raise SinkDown(f"{self.name}: {error}") from error
        return len(lines)

    def _message(self, line: bytes) -> bytes:
        head = f"<{_PRIORITY}>1 - {socket.gethostname()} keeper {os.getpid()} {self._what} - "
        return head.encode() + line.rstrip(b"\n")

    @contextmanager
    def _connected(self) -> Iterator[socket.socket]:
        if not self._host:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as local:
                local.settimeout(_TIMEOUT_SECONDS)
                local.connect(self._path)
                yield local
            return
        addresses = permitted_addresses(self._host, self._port, encrypted=self._tls)
        with limited(), opened(addresses, self._port) as plain:
            if not self._tls:
                yield plain
                # What the server closed before is an error here, and not a loss later.
                plain.shutdown(socket.SHUT_WR)
                return
            context = limited_context(ssl.create_default_context(cadata=self._ca or None))
            with context.wrap_socket(plain, server_hostname=self._host) as secured:
                yield secured
                secured.unwrap()
