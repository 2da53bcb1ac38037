"""What the pages of rotation call steps and acts: in the words of logins, or of a value that is none."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from sync_app.domain.rotation_state import OperatorAction, Step
from sync_app.rotators.base import Rotator


@dataclass(frozen=True, kw_only=True)
class Words:
    """How a kind of rotator is spoken of."""

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
        Step.PREPARE: "Write the next value down",
        Step.SET: "Set it on the idle login",
        Step.TEST: "Log in with it, compare rights",
        Step.PROMOTE: "Serve it as current",
        Step.GRACE: "Let the previous one work",
        Step.RETIRE: "Retire the previous one",
        Step.DONE: "Done",
    },
    acts={
        OperatorAction.RETRY: ("Retry", "It is tried again at once."),
        OperatorAction.ROLL_BACK: (
            "Roll back",
            "The value before is served again, if it logs in; the new one is retired after another grace.",
        ),
        OperatorAction.ABANDON: (
            "Abandon",
            "What was set and not served is made useless; what is served stays.",
        ),
        OperatorAction.RETIRE: (
            "Retire it now",
            "The login that was left valid is ended, and proven to be refused.",
        ),
        OperatorAction.CUT_GRACE: (
            "End the grace",
            "The value that is not served stops working now, whoever still uses it.",
        ),
    },
    making="Keeper first logs in with the secret's present value and looks at the administrator's rights, "
    "without changing anything; the policy is made only if that works.",
    rotating="The idle login gets a new value, which is tested and then served. The present one works until "
    "its grace ends.",
    removing="Its value stays as it is and can be written by hand again. The administrator's sealed "
    "credential is destroyed.",
    editing="Its rotation policy writes this secret's value: rotate it instead. A value that is entered here "
    "is taken only if it logs in. The rest can be changed as usual.",
    connection="Replace credential…",
    connecting="The credential is tried first, with the value that is served, and replaces the one that is "
    "kept only if both work. It is sealed for the address and never shown again.",
    connect="Try and replace",
    connected="The new credential works, and replaces the old one.",
)
_VALUES: Final = replace(
    _LOGINS,
    steps={
        Step.PREPARE: "Write the next value down",
        Step.SET: "Keep it: there is no system to tell",
        Step.TEST: "Try nothing: it is no login",
        Step.PROMOTE: "Serve it as current",
        Step.GRACE: "Offer the previous one beside it",
        Step.RETIRE: "Offer the previous one no more",
        Step.DONE: "Done",
    },
    acts={
        **_LOGINS.acts,
        OperatorAction.ROLL_BACK: (
            "Roll back",
            "The value before is served again; the new one is offered for another grace.",
        ),
        OperatorAction.ABANDON: ("Abandon", "What was not served yet never will be; what is served stays."),
        OperatorAction.CUT_GRACE: (
            "End the grace",
            "The value that is not served is offered no more, whoever still uses it.",
        ),
    },
    making="No system is told of a generated value, and no login can be tried: whoever checks it takes the "
    "current value and, until its grace ends, the previous one.",
    rotating="A new value is made and served. The present one is offered beside it until its grace ends.",
    removing="Its value stays as it is and can be written by hand again.",
    editing="Its rotation policy alone writes this secret's value: rotate it instead. The rest can be "
    "changed as usual.",
    connection="Change the generator…",
    connecting="The next rotation makes its value this way; what is served stays as it is.",
    connect="Save",
    connected="The generator was changed. What is served stays as it is until the next rotation.",
)


def words_of(rotator: type[Rotator] | None) -> Words:
    """Return how a rotator is spoken of; None is one that this Keeper does not know."""
    return _VALUES if rotator is not None and not rotator.supports_probe else _LOGINS
