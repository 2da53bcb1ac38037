"""The front door: every use case of this app that changes something, for the apps above."""

from environments_app.environments.groups import add_to_group, create_group, delete_group, remove_from_group
from environments_app.environments.memberships import (
    change_membership,
    find_membership,
    grant,
    revoke_membership,
)
from environments_app.environments.service import (
    create_environment,
    find_environment,
    find_environment_by_id,
    update_environment,
)
from environments_app.saml.group_mapping import map_group, unmap_group
from environments_app.tokens.rotation import narrow, rotate
from environments_app.tokens.service import find_token, issue, revoke
from environments_app.users.accounts import (
    create_user,
    disable_user,
    restore_account,
    set_password,
    update_user,
)
from environments_app.users.suspensions import confirm_account, confirm_mapping, find_suspended_mapping

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
