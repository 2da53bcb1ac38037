"""The three tables of the floor.

The managers are spelled out since mypy reads Keeper's settings, which do not install this app.
"""

from typing import ClassVar

from django.db import models
from django.utils import timezone


class Token(models.Model):
    """A token, hashed."""

    digest = models.CharField(max_length=64, unique=True)
    name = models.CharField(max_length=150)

    objects: ClassVar["models.Manager[Token]"] = models.Manager()

    class Meta:
        """Keeper's process uses these models as well, without installing the app."""

        app_label = "floor"

    def __str__(self) -> str:
        return self.name

    @property
    def is_authenticated(self) -> bool:
        """What DRF's permission asks."""
        return True


class PlainSecret(models.Model):
    """A secret in the clear."""

    name = models.CharField(max_length=255, unique=True)
    secret_type = models.CharField(max_length=20, default="TEXT")
    version = models.PositiveIntegerField(default=1)
    value = models.TextField()
    updated_at = models.DateTimeField(default=timezone.now)

    objects: ClassVar["models.Manager[PlainSecret]"] = models.Manager()

    class Meta:
        """See Token."""

        app_label = "floor"

    def __str__(self) -> str:
        return self.name


class Access(models.Model):
    """Who did what to what: a plain row, neither chained nor keyed."""

    at = models.DateTimeField(default=timezone.now, db_index=True)
    actor = models.CharField(max_length=150)
    action = models.CharField(max_length=40, db_index=True)
    object_kind = models.CharField(max_length=20)
    object_id = models.CharField(max_length=36, db_index=True)
    object_name = models.CharField(max_length=512)
    outcome = models.CharField(max_length=10)
    address = models.CharField(max_length=45)
    request_id = models.CharField(max_length=64)
    details = models.TextField()

    objects: ClassVar["models.Manager[Access]"] = models.Manager()

    class Meta:
        """See Token."""

        app_label = "floor"

    def __str__(self) -> str:
        return f"{self.actor} {self.action} {self.object_name}"
