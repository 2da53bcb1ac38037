"""What the pages of rotation call steps and acts: in the words of logins, or of a value that is none."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from sync_app.domain.rotation_state import OperatorAction, Step
from sync_app.rotators.base import Rotator


@dataclass(frozen=True, kw_only=True)
class Words:
    # The path of a rotation without trouble, in order.
    steps: Mapping[Step, str]
    # What an act is called, and what it does.
    acts: Mapping[OperatorAction, tuple[str, str]]
    # The notices before a policy is created, before it rotates, and before it is removed.
    making: str
    rotating: str
    removing: str
    # What to know before one enters a value by hand.
    editing: str
    # Changing what the rotator works with: the menu's item, what will happen, the button, what was done.
    connection: str
    connecting: str
    connect: str
    connected: str


_LOGINS: Final = Words(
    steps={
        Step.PREPARE: "Generate the next value",
        Step.SET: "Set it on the idle login",
        Step.TEST: "Test login and permissions",
        Step.PROMOTE: "Make it current",
        Step.GRACE: "Overlap with the previous value",
        Step.RETIRE: "Retire the previous value",
        Step.DONE: "Done",
    },
    acts={
        OperatorAction.RETRY: ("Retry", "Tries again now."),
        OperatorAction.ROLL_BACK: (
            "Roll back",
            (
                "The previous value becomes current again if it can log in. "
                "The new value is retired after another overlap."
            ),
        ),
        OperatorAction.ABANDON: (
            "Abandon",
            "Revokes the new value if it is not in use yet. The current value stays.",
        ),
        OperatorAction.RETIRE: ("Retire now", "Ends the old login and checks that it is refused."),
        OperatorAction.CUT_GRACE: (
            "End overlap",
            "The value that is not current stops working now. Apps that still use it lose access.",
        ),
    },
    making="Keeper tests the secret's current value and the administrator's permissions first, "
    "without changing anything.",
    rotating="The idle login gets a new value, which is tested and becomes current. The previous "
    "value works until its overlap ends.",
    removing="The value does not change and can be edited again. The administrator's stored "
    "credential is destroyed.",
    editing="A rotation policy manages this value. Rotate it instead. A value that you enter here "
    "is accepted only if it can log in.",
    connection="Replace credential…",
    connecting="Keeper tests the new credential and the current value first. It replaces the "
    "stored credential only if both work. Credentials are encrypted and never shown again.",
    connect="Test and replace",
    connected="Credential tested and replaced.",
)
_VALUES: Final = replace(
    _LOGINS,
    steps={**_LOGINS.steps, Step.SET: "No system to update", Step.TEST: "No login to test"},
    acts={
        **_LOGINS.acts,
        OperatorAction.ROLL_BACK: (
            "Roll back",
            "The previous value becomes current again. The new value stays available for another overlap.",
        ),
        OperatorAction.ABANDON: ("Abandon", "Discards the new value. The current value stays."),
        OperatorAction.CUT_GRACE: (
            "End overlap",
            "The value that is not current is no longer available. Apps that still use it lose access.",
        ),
    },
    making="Keeper can't test a generated value. The system that checks it must accept the "
    "current value and, until its overlap ends, the previous one.",
    rotating="A new value is generated and becomes current. The previous value works until its overlap ends.",
    removing="The value does not change and can be edited again.",
    editing="A rotation policy manages this value. Rotate it instead. Everything else can be "
    "changed as usual.",
    connection="Change generator…",
    connecting="Used from the next rotation on. The current value does not change.",
    connect="Save",
    connected="Generator changed. The current value stays until the next rotation.",
)


def words_of(rotator: type[Rotator] | None) -> Words:
    return _VALUES if rotator is not None and not rotator.supports_probe else _LOGINS
