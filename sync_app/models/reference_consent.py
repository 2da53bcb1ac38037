"""Consents: that values of one environment may be filled in to what goes to a target of another."""

from typing import ClassVar

from django.db import models

from audit_app.integrity.row_authentication import AuthenticatedRow
from audit_app.recording.drafts import AuditObject
from core.db.columns import timestamp
from environments_app.models import Environment
from environments_app.models.columns import path_prefix
from sync_app.models.target import Target


class ReferenceConsent(AuthenticatedRow):
    """An environment's consent that references take its values, under a prefix, to one destination.

    A target's destination never changes, so that the consent to a target is one to where it is.
    """

    MAC_LABEL: ClassVar[str] = "reference-consent"
    MAC_COVERS: ClassVar[tuple[str, ...]] = ("environment.uuid", "target.uuid", "prefix")

    # Whose values they are.
    environment = models.ForeignKey(
        Environment,
        on_delete=models.PROTECT,
        related_name="consents",
        help_text="The environment whose values may be used.",
    )
    target = models.ForeignKey(
        Target,
        on_delete=models.PROTECT,
        related_name="consents",
        help_text="The target that may receive them inside other values.",
    )
    prefix = path_prefix("Limits the consent to names under this path. Empty: all names.")
    given_by = models.CharField(max_length=150, help_text="Name of the person who gave the consent.")
    created_at = timestamp("given", "When the consent was given, in UTC.")

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["environment", "target", "prefix"], name="consent_once")
        ]
        ordering: ClassVar[list[str]] = ["id"]

    def __str__(self) -> str:
        return f"{self.environment} to {self.target}"

    @property
    def audit_object(self) -> AuditObject:
        return AuditObject(kind="consent", uuid=self.uuid, name=self.target.name)

    def covers(self, name: str) -> bool:
        """Return whether a name lies under the prefix, by whole segments."""
        return not self.prefix or name == self.prefix or name.startswith(f"{self.prefix}/")
