"""The models of the audit log."""

from audit_app.models.log import (
    LISTED_COLUMNS,
    MAC_LENGTH,
    NAME_LENGTH,
    STREAM_LENGTH,
    AuditEvent,
    Checkpoint,
    Deployment,
    Installation,
    ReadManifest,
    ReadManifestItem,
    RefusalCount,
    SinkState,
    StreamCursor,
    StreamHead,
    deployment_uuid,
    forget_deployment,
)
from audit_app.models.saved_view import SavedView
from audit_app.models.search_index import Derived, SearchEntry, SearchPosition
from audit_app.models.usage import ManifestUse, Means, SecretUse, UsageEntry, UsagePosition
