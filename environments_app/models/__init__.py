"""The models of environments_app."""

from environments_app.models.access import Membership, Role, ServiceToken, TokenRole
from environments_app.models.attempt import FailedSignIns
from environments_app.models.environment import Environment
from environments_app.models.user import GroupMember, User, UserRole

__all__ = [
    "Environment",
    "FailedSignIns",
    "GroupMember",
    "Membership",
    "Role",
    "ServiceToken",
    "TokenRole",
    "User",
    "UserRole",
]
