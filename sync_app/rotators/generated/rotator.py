"""A new value for a secret of no other system: no request is sent, so no login can be tested.

Consumers are offered current and previous; the system that checks the value must accept both.
"""

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from secrets_app.errors import InvalidOption
from secrets_app.types.generators.registry import GENERATORS, generate
from sync_app.backends.capabilities import FormField
from sync_app.errors import BadDestination, ValueUnusable
from sync_app.rotators.base import Fence, Login, LoginAnswer, LoginProbe, PendingCredential, Rotator


class GeneratedValue(Rotator):
    """Values of one of Keeper's generators. Needs no permissions anywhere."""

    label: ClassVar[str] = "Generated value"
    icon: ClassVar[str] = "dice"
    settings_fields: ClassVar[tuple[FormField, ...]] = (
        FormField(name="kind", label="Kind", default="password", choices=tuple(GENERATORS)),
        FormField(name="options", label="Options", default="{}", help='JSON, such as {"length": 40}.'),
    )
    admin_fields: ClassVar[tuple[FormField, ...]] = ()
    supports_probe: ClassVar[bool] = False

    def __init__(self, *, settings: Mapping[str, str], admin: Mapping[str, str]) -> None:
        super().__init__(settings=settings, admin=admin)
        self._options = _options(self.settings["options"])
        try:
            GENERATORS[self.settings["kind"]].checked(self._options)
        except InvalidOption as error:
            raise BadDestination(str(error), field="options") from error

    @property
    def endpoint(self) -> str:
        return ""

    @classmethod
    def logins_of(cls, settings: Mapping[str, str]) -> frozenset[Login]:  # noqa: ARG003 - there are none
        return frozenset()

    def check_setup(self, current: str) -> None:
        """Do nothing: there is nothing that could be missing."""

    def idle_login(self, current: str) -> str:
        return ""

    def prepare(self, current: str) -> PendingCredential:
        return PendingCredential(login="", value=generate(self.settings["kind"], self._options).value)

    def set(self, pending: PendingCredential, *, current: str, fence: Fence) -> str:
        if pending.value is None:
            raise ValueUnusable("there is no pending value")
        fence.require_held()
        return pending.value

    def probe(self, value: str) -> LoginProbe:
        return LoginProbe(LoginAnswer.UNKNOWN, "a generated value is not tied to a login that could be tried")

    def retire(self, value: str, *, current: str, fence: Fence) -> None:
        """Check the lease only: Keeper does not know which systems accepted the old value."""
        fence.require_held()

    def revoke_unserved(self, pending: PendingCredential, *, current: str, fence: Fence) -> None:
        """Do nothing but ask whose turn it is: the value was never served."""
        fence.require_held()


def _options(text: str) -> dict[str, Any]:
    try:
        options = json.loads(text)
    except ValueError:
        options = None
    if not isinstance(options, dict):
        raise BadDestination("options are a JSON object", field="options")
    return options
