"""Sync with other systems, and the targets of a new installation."""

from core.config.variables import Group

_sync = Group("Sync", page="sync.md")
KEEPER_SYNC_ALLOW_INSTANCE_CREDENTIALS = _sync.switch(
    "KEEPER_SYNC_ALLOW_INSTANCE_CREDENTIALS",
    default=False,
    help="Lets AWS targets without an access key use the identity of Keeper's machine. Every manager of an "
    "environment can then reach what that identity reaches.",
)
KEEPER_SYNC_RUN_SECONDS = _sync.whole(
    "KEEPER_SYNC_RUN_SECONDS",
    6 * 3600,
    unit="seconds",
    help="Deadline of a run, retries included. It then ends as failed; the next run continues.",
)
KEEPER_DELETION_WINDOW_HOURS = _sync.whole(
    "KEEPER_DELETION_WINDOW_HOURS",
    24,
    unit="hours",
    help="Period over which the deletion budget of a target counts deletions. Deletions over the budget "
    "wait for "
    "a person.",
)
KEEPER_DEFAULT_TARGET_ENVIRONMENT = _sync.text(
    "KEEPER_DEFAULT_TARGET_ENVIRONMENT",
    "development",
    help="Environment that gets the targets of VAULT_* and AWS_* in a new installation. Empty creates none.",
)
VAULT_URL = _sync.text(
    "VAULT_URL",
    help="Address of Vault or OpenBao for the target `vault`. Private addresses must be in "
    "KEEPER_OUTBOUND_ALLOWED.",
)
VAULT_TOKEN = _sync.text(
    "VAULT_TOKEN",
    help="Token of that target. Keeper stores it sealed; remove it from the environment afterwards.",
)
VAULT_MOUNT_POINT = _sync.text("VAULT_MOUNT_POINT", "secret", help="KV version 2 mount of that target.")
