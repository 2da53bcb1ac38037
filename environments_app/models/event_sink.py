"""Where administrators send each event of the audit log: a SIEM, or a store that nobody overwrites."""

from typing import ClassVar

from django.db import models

from audit_app.integrity.row_authentication import AuthenticatedRow
from core.db.columns import ExactCharField


class EventSink(AuthenticatedRow):
    """A sink of events; its credential is sealed, and sent to the row's address alone, which is fixed."""

    MAC_LABEL: ClassVar[str] = "event-sink"
    MAC_COVERS: ClassVar[tuple[str, ...]] = ("name", "address", "secret", "ca_certificate")

    name = ExactCharField(
        max_length=32,
        unique=True,
        help_text="Letters, digits and hyphens, such as splunk. It never changes.",
    )
    address = ExactCharField(
        max_length=500,
        help_text="Such as hec://splunk.example:8088?index=keeper&ack=1, "
        "syslog+tls://siem.example?format=cef, https://siem.example/x?format=ocsf, "
        "s3://bucket/prefix?retain_days=365. It never changes.",
    )
    # Under the system key of second factors, as the secrets of sign-in providers.
    secret = models.BinaryField(editable=False, help_text="Encrypted credential. Never shown.")
    ca_certificate = models.TextField(
        blank=True,
        verbose_name="CA certificates",
        help_text="Certificates (PEM) that the sink's own must be issued by. Empty: the public authorities.",
    )
    created_at = models.DateTimeField(
        auto_now_add=True, verbose_name="added", help_text="When the sink was added, in UTC."
    )

    class Meta:
        ordering: ClassVar[list[str]] = ["name"]

    def __str__(self) -> str:
        return str(self.name)

    @property
    def sink_name(self) -> str:
        """The name of its state, its alerts and its metrics."""
        return f"events:{self.name}"
