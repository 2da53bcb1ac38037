"""What an operator does about each system that fails."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from keeper_project.models import System

REMEDIES: Final[Mapping[System, str]] = MappingProxyType(
    {
        System.DATABASE: "Check that it runs and can be reached; nothing that was acknowledged is lost.",
        System.BROKER: (
            "Check CELERY_BROKER_URL, and that it runs. What is due stands in the database and is carried "
            "out once it answers."
        ),
        System.REDIS: "Check REDIS_URL, and that it runs. Keeper serves without: nothing is there alone.",
        System.MAIL: "Check the EMAIL_ variables. Messages wait and are tried again.",
        System.IDENTITY_PROVIDER: (
            "Check KEEPER_SAML_METADATA_URL or _FILE with the people of the identity provider. What was "
            "fetched last is believed meanwhile, and operators can sign in by password."
        ),
    }
)
KEY_REMEDY: Final = "Run keeper kms test-connection: it names the permission or the state of the key."
DATA_KEY_REMEDY: Final = "Run keeper kms key-info: it names the data keys, and why they do not open."
SINK_REMEDY: Final = (
    "It is given all that it lacks once it takes it; check KEEPER_AUDIT_SINKS or KEEPER_EVENT_SINKS."
)
SIGNING_REMEDY: Final = "Run keeper checkpoint: it says why the trail is not signed."
TARGET_REMEDY: Final = "Its page says what failed and has a button that tests the connection."
SILENT_REMEDY: Final = "No worker has asked lately. If Keeper runs for some minutes, start a worker and beat."
