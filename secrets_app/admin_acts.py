"""What operators do with secrets, keys and webhooks in the admin, beside the forms; never a reveal."""

from collections.abc import Sequence
from typing import Final

from audit_app.events.actions import Action
from environments_app.admin.access_acts import TEST_MESSAGE
from environments_app.admin.acts import Act, Place, Shown, nowhere, offer
from environments_app.authorization.policy import Principal
from environments_app.models import Environment, User
from secrets_app.errors import EnvelopeError, KeyRefused, KeyUnavailable, SecretError
from secrets_app.exposure.known_values import Known
from secrets_app.exposure.offboarding import Offboarded, offboard, offboarding_report
from secrets_app.key_operations.key_test import Trial, test_key
from secrets_app.models import Secret, Webhook
from secrets_app.services import lifecycle


def _place(secret: Secret) -> Place:
    return Place(environment_id=secret.environment_id, name=secret.name)


def _named(secret: Secret) -> str:
    return f"{secret.environment.name}/{secret.name}"


def _shown_trials(found: Sequence[Trial]) -> Shown:
    return Shown(lines=[trial.text() for trial in found], ok=all(trial.ok for trial in found))


# So many secrets are named before an offboarding; the report of the person has all of them.
_NAMED_SECRETS: Final = 20


def _known_lines(actor: Principal, user: User) -> list[str]:
    """Return what of a person's knowledge is current, and which tokens they know."""
    found = offboarding_report(actor=actor, user=user)
    standing = [_known_line(each) for each in found.standing[:_NAMED_SECRETS]]
    rest = len(found.standing) - len(standing)
    tokens = [f"{token.name}: a token that they issued, to be rotated." for token in found.tokens]
    return [
        f"{len(found.standing)} of {len(found.known)} secrets that they have seen are current.",
        *standing,
        *([f"{rest} more."] if rest else []),
        *tokens,
    ]


def _known_line(known: Known) -> str:
    return f"{_named(known.secret)}: marked as due for rotation."


def _shown_offboarded(done: Offboarded) -> Shown:
    return Shown(
        lines=(f"Marked as due for rotation: {done.marked}.", f"Rotations brought forward: {done.queued}.")
    )


OFFBOARD: Final = Act(
    name="offboard",
    label="Offboard",
    permission=Action.USER_CHANGE,
    use_case=offboard,
    takes="user",
    confirmation="The account is disabled and its sessions and tokens end. Secrets that the person has seen "
    "and that are current are marked as due, and rotate where a policy rotates them. It can be repeated.",
    done="Offboarded",
    show=_shown_offboarded,
    foresee=_known_lines,
    dangerous=True,
    bulk=False,
)
TEST_KEY: Final = Act(
    name="test_key",
    label="Test key",
    permission=Action.DATA_KEY_CHECK,
    use_case=test_key,
    takes="environment",
    place=nowhere,
    confirmation="Keeper makes a data key under the environment's key, opens it, and checks that it is "
    "refused in another context. Nothing is stored but the record of the test.",
    done="Key tested",
    show=_shown_trials,
)
_SECRETS: Final = (
    Act(
        name="mark_due",
        label="Mark as due for rotation",
        permission=Action.SECRET_UPDATE,
        use_case=lifecycle.mark_rotation_due,
        takes="secret",
        place=_place,
        against=lambda secret: "" if secret.live else "It is deleted.",
        confirmation="The secrets are marked as due. The next value clears the mark.",
        done="Marked as due",
        named=_named,
    ),
    Act(
        name="delete",
        label="Delete",
        permission=Action.SECRET_DELETE,
        use_case=lifecycle.delete,
        takes="secret",
        place=_place,
        against=lambda secret: "" if secret.live else "It is deleted already.",
        confirmation="Programs that read these secrets are refused from the next request on. "
        "A deleted secret can be restored until it is purged.",
        done="Deleted",
        named=_named,
        dangerous=True,
    ),
    Act(
        name="restore",
        label="Restore",
        permission=Action.SECRET_RESTORE,
        use_case=lifecycle.restore,
        takes="secret",
        place=_place,
        against=lambda secret: "It is not deleted." if secret.live else "",
        confirmation="The secrets are served again under their names, with their history.",
        done="Restored",
        named=_named,
    ),
)


def register() -> None:
    """Offer the acts, once the pages are registered."""
    offer(User, OFFBOARD)
    offer(Environment, TEST_KEY, refusals=(KeyUnavailable, KeyRefused, EnvelopeError))
    offer(Secret, *_SECRETS, refusals=(SecretError,))
    offer(Webhook, TEST_MESSAGE)
