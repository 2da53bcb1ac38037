"""Environments: the places in which secrets live."""

from typing import ClassVar

from django.db import models

from audit_app.integrity.row_authentication import AuthenticatedRow
from environments_app.fields import ExactCharField


class Colour(models.TextChoices):
    """The palette of environments: the pages' stylesheet has a class for each, under a strict CSP."""

    SLATE = "slate"
    BLUE = "blue"
    TEAL = "teal"
    GREEN = "green"
    LIME = "lime"
    AMBER = "amber"
    ORANGE = "orange"
    RED = "red"
    PINK = "pink"
    VIOLET = "violet"


class Environment(AuthenticatedRow):
    """A place for secrets with its own members and keys."""

    MAC_LABEL: ClassVar[str] = "environment"
    MAC_COVERS: ClassVar[tuple[str, ...]] = ("name", "kms_key_alias", "protected")

    name = ExactCharField(max_length=63, unique=True)
    display_name = models.CharField(max_length=100, blank=True)
    description = models.TextField(max_length=2000, blank=True)
    colour = models.CharField(max_length=10, choices=Colour.choices, default=Colour.SLATE)
    position = models.PositiveIntegerField(default=0)
    # Whether changes in it need an approval (`second_person`), and buttons ask for its name.
    protected = models.BooleanField(default=False)
    # An alias (alias/...), a key id or an ARN; empty: the installation's key.
    kms_key_alias = models.CharField(max_length=2048, blank=True)
    # Warnings for the user who saved it; not stored.
    warnings: tuple[str, ...] = ()
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["position", "name"]

    def __str__(self) -> str:
        return str(self.name)

    @property
    def title(self) -> str:
        """What people call it."""
        return self.display_name or self.name
