"""Django's mail backend for SMTP with a deadline for the whole of a message, and a largest answer.

Its server comes from the EMAIL_ variables alone, and so is not held to the endpoint rule.
"""

import smtplib
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Final

from django.conf import settings
from django.core.mail import EmailMessage
from django.core.mail.backends import smtp

from core.errors import OutboundError
from core.network.limits import limited, limited_context, opened, resolved

_SMTP_STEPS: Final = 3


class EmailBackend(smtp.EmailBackend):
    """A mail backend with a total deadline."""

    @property
    def connection_class(self) -> type[smtplib.SMTP]:
        """What speaks SMTP, over connections that keep the limits."""
        return _TlsSmtp if self.use_ssl else _Smtp

    @cached_property
    def ssl_context(self) -> ssl.SSLContext:
        """What verifies the server."""
        # Django's own is a cached property too, which its stub does not know.
        context: Any = smtp.EmailBackend.ssl_context
        return limited_context(context.func(self))

    def open(self) -> bool | None:
        """Connect and sign in. Raises an SMTPException or OSError."""
        with self._bounded():
            return super().open()

    def close(self) -> None:
        with self._bounded():
            super().close()

    def alive(self) -> int:
        """Ask the server for a sign of life, and return its code."""
        with self._bounded():
            return int(self.connection.noop()[0]) if self.connection else 0

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """Sign in, send the messages, and take leave; return how many were sent."""
        with self._bounded(_SMTP_STEPS):
            return super().send_messages(email_messages)

    @contextmanager
    def _bounded(self, steps: int = 1) -> Iterator[None]:
        """Bound some steps; a server that was cut off is asked nothing more."""
        try:
            with limited(steps * (self.timeout or settings.EMAIL_TIMEOUT)):
                yield
        except OutboundError as error:
            own: Any = vars(self)  # whose half-made connection the stub does not know
            for smtp_connection in filter(None, (own["connection"], own["_partial_connection"])):
                smtp_connection.close()
            own.update(connection=None, _partial_connection=None)
            raise smtplib.SMTPServerDisconnected(str(error)) from None


class _Smtp(smtplib.SMTP):
    def _get_socket(self, host: str, port: int, timeout: Any) -> socket.socket:  # noqa: ARG002 - smtplib's signature
        return opened(resolved(host, port), port)


class _TlsSmtp(smtplib.SMTP_SSL):
    def _get_socket(self, host: str, port: int, timeout: Any) -> socket.socket:  # noqa: ARG002 - smtplib's signature
        return self.context.wrap_socket(opened(resolved(host, port), port), server_hostname=host)
