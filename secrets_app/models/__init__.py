"""What is kept: secrets, versions, references, shares, wrapped reads, sweeps, webhooks, data keys."""

from secrets_app.keys.models import DataKey, KeyMigration, WrappingKey
from secrets_app.models.departure_value import DepartureValue
from secrets_app.models.jobs import KeyJob, KeyJobKind, Sweep
from secrets_app.models.last_asked import NO_SECRET, LastAsked
from secrets_app.models.origin import VersionOrigin
from secrets_app.models.reference import Reference
from secrets_app.models.sealed_values import EnvironmentSnapshot, PendingValue
from secrets_app.models.secret import (
    MAX_NAME_LENGTH,
    Secret,
    SecretVersion,
    has_valid_tags_mac,
    search_text,
    tags_mac,
    version_context,
)
from secrets_app.models.share import Proof, Share
from secrets_app.models.star import Star
from secrets_app.models.version_rules import VersionRules
from secrets_app.models.webhook import ChangePosition, Webhook, WebhookStyle
from secrets_app.models.wrapped_read import WrappedRead
