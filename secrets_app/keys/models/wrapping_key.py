"""The key that wraps the data keys of an environment, as it was when it was looked at last."""

from typing import ClassVar

from django.db import models

from secrets_app.envelope.context import NO_ENVIRONMENT


class WrappingKey(models.Model):
    """The last known status of a key encryption key, which pages show without a request to its provider.

    No encryption or decryption depends on it.
    """

    # An environment's uuid, or the nil uuid for the system keys.
    scope = models.UUIDField(
        unique=True,
        default=NO_ENVIRONMENT,
        editable=False,
        help_text="Identifier of the environment that the key belongs to. Zeros for the system.",
    )
    # What the settings or the environment name, and the key that this was.
    reference = models.CharField(
        max_length=2048,
        blank=True,
        verbose_name="configured key",
        help_text="The key that the settings or the environment name.",
    )
    key_uri = models.CharField(
        max_length=2048,
        blank=True,
        verbose_name="key",
        help_text="Address of the key that this name led to at the last check.",
    )
    state = models.CharField(
        max_length=64, blank=True, help_text="State of the key at its provider, for example Enabled."
    )
    rotates = models.BooleanField(
        null=True,
        verbose_name="rotates automatically",
        help_text="Whether the provider rotates the key. Unknown if it was not told.",
    )
    note = models.CharField(
        max_length=500, blank=True, help_text="What else the provider reported about the key."
    )
    problem = models.CharField(
        max_length=500, blank=True, help_text="Why the key could not be used or described at the last check."
    )
    checked_at = models.DateTimeField(
        verbose_name="checked", help_text="When the key was last checked, in UTC."
    )

    class Meta:
        ordering: ClassVar = ["id"]

    def __str__(self) -> str:
        return self.key_uri or self.reference
