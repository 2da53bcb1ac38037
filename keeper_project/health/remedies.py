"""What an operator does about each system that fails."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from keeper_project.models import System

REMEDIES: Final[Mapping[System, str]] = MappingProxyType(
    {
        System.DATABASE: "Check that the database is running and reachable. Acknowledged data is safe.",
        System.BROKER: (
            "Check CELERY_BROKER_URL and that the broker is running. Due work is stored in the database and "
            "continues when the broker answers."
        ),
        System.REDIS: "Check REDIS_URL and that Redis is running. Keeper keeps working without it.",
        System.MAIL: "Check the EMAIL_ variables. Messages are queued and retried.",
        System.IDENTITY_PROVIDER: (
            "Check KEEPER_SAML_METADATA_URL or _FILE with the identity provider's administrators. Keeper "
            "uses the last metadata until then. Operators can sign in with a password."
        ),
    }
)
KEY_REMEDY: Final = "Run keeper kms test-connection to find the missing permission or the key's state."
DATA_KEY_REMEDY: Final = "Run keeper kms key-info to list the affected data keys and the cause."
SINK_REMEDY: Final = (
    "Check KEEPER_AUDIT_SINKS or KEEPER_EVENT_SINKS. Missing events are sent once it is reachable."
)
SIGNING_REMEDY: Final = "Run keeper checkpoint to find out why the audit log is not signed."
TARGET_REMEDY: Final = "Open the target to see the error and test the connection."
SILENT_REMEDY: Final = (
    "No worker has checked recently. If Keeper has been running for a few minutes, start a worker and beat."
)
