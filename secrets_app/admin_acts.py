"""What operators do with secrets, keys and webhooks in the admin, beside the forms; never a reveal."""

from collections.abc import Sequence
from typing import Final

from audit_app.events.actions import Action
from environments_app.admin.access_acts import TEST_MESSAGE
from environments_app.admin.acts import Act, Place, Shown, nowhere, offer
from environments_app.models import Environment
from secrets_app.errors import EnvelopeError, KeyRefused, KeyUnavailable, SecretError
from secrets_app.key_operations.key_test import Trial, test_key
from secrets_app.models import Secret, Webhook
from secrets_app.services import lifecycle


def _place(secret: Secret) -> Place:
    return Place(environment_id=secret.environment_id, name=secret.name)


def _named(secret: Secret) -> str:
    return f"{secret.environment.name}/{secret.name}"


def _shown_trials(found: Sequence[Trial]) -> Shown:
    return Shown(lines=[trial.text() for trial in found], ok=all(trial.ok for trial in found))


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
    offer(Environment, TEST_KEY, refusals=(KeyUnavailable, KeyRefused, EnvelopeError))
    offer(Secret, *_SECRETS, refusals=(SecretError,))
    offer(Webhook, TEST_MESSAGE)
