"""The acts that the apps declare, by the nouns that the names of their routes and pages begin with."""

from collections.abc import Iterator
from typing import Final

from environments_app import acts as access
from environments_app.authorization.act import Act
from secrets_app import acts as secrets
from sync_app import acts as sync

DECLARED: Final[dict[str, tuple[Act, ...]]] = {
    "access-request": access.ACCESS_REQUESTS,
    "admin-token": access.TOKENS,
    "approval": access.APPROVALS,
    "member": access.MEMBERSHIPS,
    "message": (access.RETRY_MESSAGE,),
    "person": (*access.USERS, secrets.OFFBOARD),
    "plan": (*sync.PLANS, *sync.ITEMS),
    "recipient": (access.TEST_MESSAGE, access.REMOVE_ADDRESSEE),
    "review": access.REVIEWS,
    "rotation": (*sync.POLICIES, *sync.ROTATIONS),
    "secret": secrets.SECRETS,
    "target": sync.TARGETS,
    "token": access.TOKENS,
    "trust": access.TRUSTS,
    "webhook": (secrets.TEST_WEBHOOK, access.REMOVE_ADDRESSEE),
}
_NAMES: Final = {"api-rotation-rotate": "api-rotate", "person-offboard": "offboard"}


def routes() -> Iterator[tuple[str, str, Act]]:
    """Yield the name of each act's route, with its noun."""
    for noun, declared in DECLARED.items():
        for act in declared:
            if act.summary:
                name = f"api-{noun}-{act.slug}"
                yield _NAMES.get(name, name), noun, act


def pages() -> Iterator[tuple[str, str, Act]]:
    """Yield the name of each act's page, with its noun."""
    for noun, declared in DECLARED.items():
        for act in declared:
            if act.on_page:
                name = f"{noun}-{act.slug}"
                yield _NAMES.get(name, name), noun, act
