"""The front door: every use case of this app that changes something, for the apps above."""

from environments_app.accounts import create_user, disable_user, restore_account, set_password, update_user
from environments_app.environments import (
    create_environment,
    find_environment,
    find_environment_by_id,
    update_environment,
)
from environments_app.groups import add_to_group, create_group, delete_group, remove_from_group
from environments_app.members import change_membership, find_membership, grant, revoke_membership
from environments_app.saml_mappings import map_group, unmap_group
from environments_app.suspensions import confirm_account, confirm_mapping, find_suspended_mapping
from environments_app.token_changes import narrow, rotate
from environments_app.tokens import find_token, issue, revoke

__all__ = [
    "add_to_group",
    "change_membership",
    "confirm_account",
    "confirm_mapping",
    "create_environment",
    "create_group",
    "create_user",
    "delete_group",
    "disable_user",
    "find_environment",
    "find_environment_by_id",
    "find_membership",
    "find_suspended_mapping",
    "find_token",
    "grant",
    "issue",
    "map_group",
    "narrow",
    "remove_from_group",
    "restore_account",
    "revoke",
    "revoke_membership",
    "rotate",
    "set_password",
    "unmap_group",
    "update_environment",
    "update_user",
]
