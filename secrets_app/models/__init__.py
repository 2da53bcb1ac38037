"""What is kept: secrets, versions, references, shares, sweeps, webhooks, data keys, and what wraps those."""

from secrets_app.keys.models.data_key import DataKey
from secrets_app.keys.models.key_migration import KeyMigration
from secrets_app.keys.models.wrapping_key import WrappingKey
from secrets_app.models.environment_snapshot import EnvironmentSnapshot
from secrets_app.models.integrity_sweep import Sweep
from secrets_app.models.key_job import KeyJob, KeyJobKind
from secrets_app.models.pending_value import PendingValue
from secrets_app.models.reference import Reference
from secrets_app.models.secret import (
    MAX_NAME_LENGTH,
    Secret,
    SecretVersion,
    has_valid_tags_mac,
    search_text,
    tags_mac,
    version_context,
)
from secrets_app.models.share import Share
from secrets_app.models.star import Star
from secrets_app.models.webhook import Webhook, WebhookStyle

__all__ = [
    "MAX_NAME_LENGTH",
    "DataKey",
    "EnvironmentSnapshot",
    "KeyJob",
    "KeyJobKind",
    "KeyMigration",
    "PendingValue",
    "Reference",
    "Secret",
    "SecretVersion",
    "Share",
    "Star",
    "Sweep",
    "Webhook",
    "WebhookStyle",
    "WrappingKey",
    "has_valid_tags_mac",
    "search_text",
    "tags_mac",
    "version_context",
]
