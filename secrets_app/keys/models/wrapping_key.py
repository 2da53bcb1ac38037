"""The key that wraps the data keys of an environment, as it was when it was looked at last."""

from typing import ClassVar

from django.db import models

from secrets_app.envelope.context import NO_ENVIRONMENT


class WrappingKey(models.Model):
    """The last known status of a key encryption key, which pages show without a request to its provider.

    No encryption or decryption depends on it.
    """

    # An environment's uuid, or the nil uuid for the system keys.
    scope = models.UUIDField(unique=True, default=NO_ENVIRONMENT, editable=False)
    # What the settings or the environment name, and the key that this was.
    reference = models.CharField(max_length=2048, blank=True)
    key_uri = models.CharField(max_length=2048, blank=True)
    state = models.CharField(max_length=64, blank=True)
    rotates = models.BooleanField(null=True)
    note = models.CharField(max_length=500, blank=True)
    problem = models.CharField(max_length=500, blank=True)
    checked_at = models.DateTimeField()

    class Meta:
        ordering: ClassVar = ["id"]

    def __str__(self) -> str:
        return self.key_uri or self.reference
