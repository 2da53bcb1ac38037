"""What operators do with secrets, keys and webhooks in the admin, beside the forms; never a reveal."""

from collections.abc import Sequence
from functools import partial
from typing import Final

from django import forms

from audit_app.events.actions import Action
from environments_app.admin.access_acts import TEST_MESSAGE
from environments_app.admin.acts import Act, Place, Shown, nowhere, offer
from environments_app.authorization.policy import Principal
from environments_app.forms.fields import CommaSeparatedField
from environments_app.models import Environment, User
from secrets_app.errors import EnvelopeError, KeyRefused, KeyUnavailable, SecretError
from secrets_app.exposure import Offboarded, Viewer, offboard, offboarding_report, readers_since
from secrets_app.key_operations.trial import Trial, test_key
from secrets_app.models import MAX_NAME_LENGTH, Secret, Webhook
from secrets_app.services import lifecycle, transfer
from secrets_app.services.bulk_actions import BULK_ACTIONS, Options


class PeriodForm(forms.Form):
    """How far back reads are looked for."""

    days = forms.TypedChoiceField(
        label="Period",
        coerce=int,
        choices=[(1, "Last 24 hours"), (7, "Last 7 days"), (30, "Last 30 days"), (365, "Last year")],
        initial=7,
    )


class TagsForm(forms.Form):
    """Tags to add or to remove."""

    tags = CommaSeparatedField(max_length=500, help_text="Separated by commas.")


class NameForm(forms.Form):
    """The new name of a secret."""

    name = forms.CharField(max_length=MAX_NAME_LENGTH)


class EnvironmentForm(forms.Form):
    """Where secrets are moved."""

    environment = forms.ModelChoiceField(queryset=Environment.objects.order_by("position", "name"))


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
    standing = [
        f"{_named(each.secret)}: marked as due for rotation." for each in found.standing[:_NAMED_SECRETS]
    ]
    rest = len(found.standing) - len(standing)
    tokens = [f"{token.name}: a token that they issued, to be rotated." for token in found.tokens]
    return [
        f"{len(found.standing)} of {len(found.known)} secrets that they have seen are current.",
        *standing,
        *([f"{rest} more."] if rest else []),
        *tokens,
    ]


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


def _tag(*, actor: Principal, secret: Secret, tags: Sequence[str]) -> Secret:
    return BULK_ACTIONS["tag"].run(actor, secret, Options(tags=tags))


def _untag(*, actor: Principal, secret: Secret, tags: Sequence[str]) -> Secret:
    return BULK_ACTIONS["untag"].run(actor, secret, Options(tags=tags))


def _shown_readers(found: Sequence[Viewer]) -> Shown:
    lines = [
        f"{each.name} ({each.kind}): {each.count} times, {each.versions}; "
        f"last at {each.last_at:%Y-%m-%d %H:%M:%S} UTC."
        for each in found
    ]
    return Shown(lines=lines or ["No reads in this period."])


def _is_live(secret: Secret) -> str:
    return "" if secret.live else "It is deleted."


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
_secret_act: Final = partial(Act, takes="secret", place=_place, against=_is_live, named=_named)
_SECRETS: Final = (
    Act(
        name="readers",
        label="Who read it",
        permission=Action.TRAIL_VIEW,
        use_case=readers_since,
        takes="secret",
        form=PeriodForm,
        confirmation="Keeper looks through the audit log for all reads of the value in the period, exports "
        "and reads of many included. That it was looked for is recorded.",
        done="Readers",
        show=_shown_readers,
        named=_named,
    ),
    _secret_act(
        name="move",
        label="Move to an environment",
        permission=Action.SECRET_MOVE,
        use_case=transfer.move,
        form=EnvironmentForm,
        confirmation="Each secret is copied with its current value and deleted here, where it can be "
        "restored. Programs that read it here are refused from the next request on.",
        done="Moved",
        dangerous=True,
    ),
    _secret_act(
        name="rename",
        label="Rename",
        permission=Action.SECRET_RENAME,
        use_case=lifecycle.rename,
        form=NameForm,
        confirmation="The secret keeps its history. Programs that read it under the old name are refused "
        "from the next request on.",
        done="Renamed",
        bulk=False,
    ),
    _secret_act(
        name="tag",
        label="Add tags",
        permission=Action.SECRET_UPDATE,
        use_case=_tag,
        form=TagsForm,
        confirmation="The tags are added to those that the secrets have.",
        done="Tags added",
    ),
    _secret_act(
        name="untag",
        label="Remove tags",
        permission=Action.SECRET_UPDATE,
        use_case=_untag,
        form=TagsForm,
        confirmation="The tags are removed where the secrets have them.",
        done="Tags removed",
    ),
    _secret_act(
        name="mark_due",
        label="Mark as due for rotation",
        permission=Action.SECRET_UPDATE,
        use_case=lifecycle.mark_rotation_due,
        confirmation="The secrets are marked as due. The next value clears the mark.",
        done="Marked as due",
    ),
    _secret_act(
        name="delete",
        label="Delete",
        permission=Action.SECRET_DELETE,
        use_case=lifecycle.delete,
        against=lambda secret: "" if secret.live else "It is deleted already.",
        confirmation="Programs that read these secrets are refused from the next request on. "
        "A deleted secret can be restored until it is purged.",
        done="Deleted",
        dangerous=True,
    ),
    _secret_act(
        name="restore",
        label="Restore",
        permission=Action.SECRET_RESTORE,
        use_case=lifecycle.restore,
        against=lambda secret: "It is not deleted." if secret.live else "",
        confirmation="The secrets are served again under their names, with their history.",
        done="Restored",
    ),
)


def register() -> None:
    """Offer the acts, once the pages are registered."""
    offer(User, OFFBOARD)
    offer(Environment, TEST_KEY, refusals=(KeyUnavailable, KeyRefused, EnvelopeError))
    offer(Secret, *_SECRETS, refusals=(SecretError,))
    offer(Webhook, TEST_MESSAGE)
