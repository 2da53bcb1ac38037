"""A value that Keeper generates: there is no other system."""

import pytest

from sync_app.rotators.generated.rotator import GeneratedValue
from sync_app.tests.rotators.worlds import World


class GeneratedWorld(World):
    """Nothing but Keeper."""

    kind = GeneratedValue
    fixture = "generated"
    current = "first"

    def settings(self) -> dict[str, str]:
        return {"kind": "password"}

    def admin(self) -> dict[str, str]:
        return {}

    def works(self, value: str) -> bool:
        return True

    def spoiled(self, value: str) -> str:
        return value + "x"


@pytest.fixture
def generated() -> GeneratedWorld:
    return GeneratedWorld()
