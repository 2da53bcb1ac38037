"""Webhooks: addresses that receive notifications of an environment."""

from enum import StrEnum
from typing import ClassVar

from django.db import models

from audit_app.models import deployment_uuid
from core.db.columns import timestamp
from environments_app.models import Addressee, Environment
from secrets_app.envelope import WEBHOOK_ADDRESS, Context
from secrets_app.keys.encrypted_field import EncryptedField
from secrets_app.keys.models import DataKey


class WebhookStyle(StrEnum):
    """What a webhook is sent."""

    # {"text": …}: Slack, Mattermost and many others.
    SLACK = "slack"
    # The same with kind, environment, subject, lines and link apart.
    JSON = "json"
    # No alerts: a signed message when a secret has a new value, without the value (change_webhooks.py).
    CHANGES = "changes"


class Webhook(Addressee):
    """A webhook of an environment; its address is a credential, and so sealed with its signing key."""

    TRANSPORT: ClassVar[str] = "webhook"
    MAC_LABEL: ClassVar[str] = "webhook"
    MAC_COVERS: ClassVar[tuple[str, ...]] = ("environment.uuid", "name", "endpoint", "style")

    environment = models.ForeignKey(
        Environment,
        on_delete=models.PROTECT,
        related_name="webhooks",
        help_text="The environment whose notifications are sent.",
    )
    name = models.CharField(max_length=100, help_text="Name of the webhook, unique in its environment.")
    # Scheme, host and port of the address, which may be shown.
    endpoint = models.CharField(
        max_length=300,
        help_text="Scheme, host and port of the address. The path may be a credential and is encrypted.",
    )
    style = models.CharField(
        max_length=8,
        choices=[(s, s) for s in WebhookStyle],
        default=WebhookStyle.SLACK,
        verbose_name="format",
        help_text="What is sent: alerts as Slack-compatible text or JSON, or changes of secrets.",
    )
    # JSON of `url` and `key`, which signs what is sent.
    sealed = EncryptedField(
        label=WEBHOOK_ADDRESS,
        context="sealing_context",
        verbose_name="encrypted address",
        help_text="Address and signing key, encrypted. Never shown.",
    )
    data_key = models.ForeignKey(
        DataKey,
        to_field="uuid",
        on_delete=models.PROTECT,
        related_name="webhooks",
        help_text="The key that encrypts the address.",
    )
    created_by = models.CharField(
        max_length=150, verbose_name="added by", help_text="Name of the person who added the webhook."
    )
    created_at = timestamp("added", "When the webhook was added, in UTC.")

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["environment", "name"], name="webhook_name")
        ]
        ordering: ClassVar[list[str]] = ["name"]

    def __str__(self) -> str:
        return str(self.name)

    @property
    def transport(self) -> str:
        return "change" if self.style == WebhookStyle.CHANGES else self.TRANSPORT

    def sealing_context(self) -> Context:
        return Context(
            deployment=deployment_uuid(),
            label=WEBHOOK_ADDRESS,
            row=self.uuid,
            environment=self.environment.uuid,
            parent=(self.endpoint.encode(),),
        )


class ChangePosition(models.Model):
    """How far the change webhooks have followed one log stream; a restored copy repeats no message."""

    head = models.OneToOneField(
        "audit_app.StreamHead",
        on_delete=models.DO_NOTHING,
        primary_key=True,
        db_constraint=False,
        db_column="stream",
        related_name="change_position",
        verbose_name="log stream",
        help_text="The log stream whose changes are sent.",
    )
    sequence = models.BigIntegerField(
        default=0,
        verbose_name="queued up to",
        help_text="Number of the last event of the stream whose message is queued.",
    )

    def __str__(self) -> str:
        return f"{self.head_id} #{self.sequence}"
