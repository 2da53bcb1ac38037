"""The acts on secrets, and those of operators on keys and people's knowledge; never a reveal."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from django import forms

from audit_app.events.actions import Action
from environments_app.acts import TEST_MESSAGE
from environments_app.authorization.act import Act, Place, Shown, nowhere
from environments_app.authorization.policy import Principal
from environments_app.forms.fields import CommaSeparatedField
from environments_app.models import Environment, User
from secrets_app import webhooks
from secrets_app.departures.ending import offboard
from secrets_app.exposure import Viewer, offboarding_report, readers_since
from secrets_app.forms.secret import AS_WRITTEN
from secrets_app.key_operations.trial import Trial, test_key
from secrets_app.models import MAX_NAME_LENGTH, Secret, WebhookStyle
from secrets_app.models.version_rules import DESTROYED
from secrets_app.rows.references import naming_visibly
from secrets_app.services import decoys, guarded, lifecycle, transfer, write
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


OFFBOARD: Final = Act(
    name="offboard",
    label="Offboard",
    permission=Action.USER_CHANGE,
    use_case=offboard,
    takes="user",
    confirmation="The account is disabled. Its sessions, personal tokens, one-time links and requests end "
    "for good; service tokens and what they set up stay until somebody decides. Secrets that the person has "
    "seen and that are current are marked as due, and rotate where a policy rotates them. "
    "It can be repeated.",
    records=Action.USER_OFFBOARD,
    on_page=True,
    done="Disabled {row.username}. Marked as due: {result.marked}. Rotating now: {result.queued}.",
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


def _is_deleted(secret: Secret) -> str:
    return "It is not deleted." if secret.live else ""


def _is_open(secret: Secret) -> str:
    return "It is guarded already." if secret.guarded else _is_live(secret)


def _is_guarded(secret: Secret) -> str:
    return _is_live(secret) if secret.guarded else "It is not guarded."


def _may_end_guard(secret: Secret) -> str:
    return _is_guarded(secret) or (guarded.PATH_GUARDED if secret.environment.guards(secret.name) else "")


def _is_no_decoy(secret: Secret) -> str:
    return "It is a decoy already." if secret.decoy else _is_live(secret)


def _is_decoy(secret: Secret) -> str:
    return _is_live(secret) if secret.decoy else "It is no decoy."


def _restorable(secret: Secret) -> str:
    if secret.rules.state(secret.current_number) == DESTROYED:
        return "Its current version was destroyed. Create it again under its name."
    return _is_deleted(secret)


class WebhookForm(forms.Form):
    name = forms.CharField(
        max_length=webhooks.MAX_NAME,
        required=False,
        help_text="For example, #ops in Slack. Leave blank for the host of the address.",
    )
    url = forms.CharField(
        label="Address",
        max_length=webhooks.MAX_URL,
        help_text="Stored encrypted. Only the host is shown later.",
        widget=forms.TextInput(attrs=AS_WRITTEN),
    )
    style = forms.ChoiceField(
        label="Sends",
        choices=[
            (WebhookStyle.SLACK, "Alerts as text (Slack)"),
            (WebhookStyle.JSON, "Alerts as JSON"),
            (WebhookStyle.CHANGES, "Changes of secrets (Standard Webhooks)"),
        ],
    )


class NewWebhookForm(WebhookForm):
    environment = forms.ModelChoiceField(queryset=Environment.objects.order_by("position", "name"))
    field_order = ("environment", "name", "url", "style")


ADD_WEBHOOK: Final = Act(
    name="add_webhook",
    label="Add a webhook",
    permission=Action.NOTIFICATION_CREATE,
    use_case=webhooks.add_webhook,
    form=NewWebhookForm,
    confirmation="The address gets the alerts of the environment, or the changes of its secrets. "
    "Keeper shows the key that signs them once.",
    done="Webhook added.",
    show=lambda made: Shown(
        lines=(f"{made[0].name}: the receiver verifies messages by this key.",), once=made[1]
    ),
)
TEST_WEBHOOK: Final = replace(TEST_MESSAGE, summary="Send a webhook a test", about="Queue a test message.")
TEST_KEY: Final = Act(
    name="test_key",
    label="Test key",
    permission=Action.DATA_KEY_CHECK,
    use_case=test_key,
    takes="environment",
    place=nowhere,
    confirmation="Keeper makes a data key under the environment's key, opens it, and checks that it is "
    "refused in another context. Nothing is stored but the record of the test.",
    done="Key tested.",
    show=_shown_trials,
)


def referring(actor: Principal, secret: Secret) -> list[str]:
    """Return which secrets refer to one by its place, and so get nothing from it once it is elsewhere."""
    seen, hidden = naming_visibly(actor, secret)
    named = [f"{each.place.environment}/{each.place.name}" for each in seen[:_NAMED_SECRETS]]
    if rest := hidden + len(seen) - len(named):
        named.append(f"{rest} more" if named else f"{rest} that you can't see")
    if not named:
        return []
    return [f"Targets then get no new value of secrets that refer to this one: {', '.join(named)}."]


_secret_act: Final = partial(Act, takes="secret", place=_place, against=_is_live, named=_named)
RENAME: Final = _secret_act(
    name="rename",
    label="Rename",
    permission=Action.SECRET_RENAME,
    use_case=lifecycle.rename,
    form=NameForm,
    summary="Rename a secret",
    about="Give a secret another name in its environment.",
    needs_approval=True,
    conditional=True,
    confirmation="Apps that read this secret by its name must use the new name. The history stays.",
    foresee=referring,
    done="Renamed to {row.name}.",
    bulk=False,
)
SECRETS: Final = (
    Act(
        name="readers",
        label="Who read it",
        permission=Action.TRAIL_VIEW,
        use_case=readers_since,
        takes="secret",
        form=PeriodForm,
        confirmation="Keeper shows who last read the value in the period, exports and reads of many "
        "included, and how often they read it in all. That it was looked for is recorded.",
        done="These read it.",
        show=_shown_readers,
        named=_named,
    ),
    RENAME,
    _secret_act(
        name="rollback",
        label="Roll back",
        permission=Action.SECRET_ROLLBACK,
        use_case=write.rollback,
        summary="Roll back to a version",
        about="Make the value of an earlier version current again, as a new version.",
        needs_approval=True,
        conditional=True,
        on_page=True,
        done="Rolled back to v{number} (now v{row.current_number}).",
    ),
    _secret_act(
        name="copy",
        label="Duplicate",
        permission=Action.SECRET_COPY,
        use_case=transfer.copy,
        summary="Copy a secret",
        about="Create a secret with the current value of this one in another place.",
        needs_approval=True,
        conditional=True,
    ),
    _secret_act(
        name="move",
        label="Move to an environment",
        permission=Action.SECRET_MOVE,
        use_case=transfer.move,
        form=EnvironmentForm,
        summary="Move a secret",
        about="Copy a secret to another environment and delete it here, softly.",
        needs_approval=True,
        conditional=True,
        confirmation="Each secret is copied with its current value and deleted here, where it can be "
        "restored. Programs that read it here are refused from the next request on.",
        foresee=referring,
        done="Moved.",
        dangerous=True,
    ),
    _secret_act(
        name="tag",
        label="Add tags",
        permission=Action.SECRET_UPDATE,
        use_case=_tag,
        form=TagsForm,
        confirmation="The tags are added to those that the secrets have.",
        done="Tags added.",
    ),
    _secret_act(
        name="untag",
        label="Remove tags",
        permission=Action.SECRET_UPDATE,
        use_case=_untag,
        form=TagsForm,
        confirmation="The tags are removed where the secrets have them.",
        done="Tags removed.",
    ),
    _secret_act(
        name="mark_due",
        label="Mark as due for rotation",
        permission=Action.SECRET_UPDATE,
        use_case=lifecycle.mark_rotation_due,
        confirmation="The secrets are marked as due. The next value clears the mark.",
        done="Marked as due.",
    ),
    _secret_act(
        name="guard",
        label="Guard",
        icon="lock",
        permission=Action.SECRET_GUARD,
        use_case=guarded.guard,
        against=_is_open,
        summary="Guard a secret",
        about="Let each read take a second person. Programs, exports and targets no longer get the value.",
        needs_approval=True,
        conditional=True,
        on_page=True,
        question="Guard {row.name}?",
        confirmation="A value is then shown to one person, once, after a second person has agreed. Programs, "
        "exports, targets and rotations that use the secret no longer get it. To end the guard takes an "
        "approval.",
        done="Guarded {row.name}.",
    ),
    _secret_act(
        name="unguard",
        label="End the guard",
        icon="lock",
        permission=Action.SECRET_UNGUARD,
        use_case=guarded.unguard,
        against=_may_end_guard,
        summary="End the guard of a secret",
        about="Let readers read it again. It takes an approval in any environment.",
        needs_approval=True,
        conditional=True,
        on_page=True,
        question="End the guard of {row.name}?",
        confirmation="Once another manager has approved, every reader gets the value again.",
        done="Ended the guard of {row.name}.",
    ),
    _secret_act(
        name="make_decoy",
        label="Make a decoy",
        icon="bell",
        permission=Action.SECRET_DECOY_SET,
        use_case=decoys.make_decoy,
        against=_is_no_decoy,
        summary="Make a secret a decoy",
        about="Let each use raise an alert. Exports, targets and everything that reads many leave it out.",
        needs_approval=True,
        conditional=True,
        on_page=True,
        question="Make a decoy of {row.name}?",
        confirmation="Each use then raises an alert for managers and auditors. Exports, targets and "
        "references leave it out; a target that has it removes it, as if it were deleted. Choose a name and "
        "a value that tempt, and nobody needs.",
        done="{row.name} is a decoy. If a program of yours reads it, move it: the alert names the program.",
    ),
    _secret_act(
        name="end_decoy",
        label="End the decoy",
        icon="bell",
        permission=Action.SECRET_DECOY_END,
        use_case=decoys.end_decoy,
        against=_is_decoy,
        summary="End a decoy",
        about="Make it a secret like any other. Those who get its alerts are notified.",
        needs_approval=True,
        conditional=True,
        on_page=True,
        question="End the decoy {row.name}?",
        confirmation="Its uses raise no alert any more, and exports and targets take it along.",
        done="{row.name} is no decoy any more.",
    ),
    _secret_act(
        name="request_read",
        label="Request a read",
        permission=Action.SECRET_REVEAL,
        use_case=guarded.request_read,
        against=_is_guarded,
        records=Action.APPROVAL_ASK,
        summary="Request a read of a guarded secret",
        about="Ask for a second person's agreement. The answer names the request; once it is approved, its "
        "requester carries it out, which returns the value, once.",
        needs_approval=True,
        on_page=True,
        done="Requested.",
    ),
    _secret_act(
        name="delete",
        label="Delete",
        icon="trash",
        permission=Action.SECRET_DELETE,
        use_case=lifecycle.delete,
        needs_approval=True,
        on_page=True,
        question="Delete {row.name}?",
        confirmation="Apps that read this secret will start failing. You can restore it until it is purged.",
        typed=lambda secret: secret.environment.name if secret.environment.protected else "",
        foresee=referring,
        done="Deleted {row.name}. You can restore it from its page.",
        dangerous=True,
    ),
    _secret_act(
        name="restore",
        label="Restore",
        permission=Action.SECRET_RESTORE,
        use_case=lifecycle.restore,
        against=_restorable,
        on_deleted=True,
        summary="Restore a deleted secret",
        about="Bring a deleted secret back under its name.",
        needs_approval=True,
        on_page=True,
        confirmation="The secrets are served again under their names, with their history.",
        done="Restored {row.name}.",
    ),
    _secret_act(
        name="purge",
        label="Delete permanently",
        icon="trash",
        permission=Action.SECRET_PURGE,
        use_case=lifecycle.purge,
        against=_is_deleted,
        on_deleted=True,
        summary="Destroy a deleted secret",
        about="Destroy a deleted secret and all its versions for ever.",
        needs_approval=True,
        on_page=True,
        question="Permanently delete {row.name}?",
        confirmation="All versions are deleted and can't be restored. The audit log keeps its entries.",
        typed=lambda secret: secret.name,
        done="Permanently deleted {row.name}.",
        dangerous=True,
        in_admin=False,
    ),
)
