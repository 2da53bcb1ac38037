"""Bulk actions on selected secrets: a preview, then each item separately, with its own result."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from django.conf import settings
from django.utils.module_loading import import_string

from audit_app.events.actions import Action
from environments_app.authorization.policy import Principal, allows
from environments_app.models import Environment
from secrets_app.errors import StaleVersion, TooManyItems
from secrets_app.models import Secret
from secrets_app.services import lifecycle, transfer, write
from secrets_app.values.batch_results import NOT_ALLOWED, ItemResult, run_item

# Acted on by one request; what was selected beyond that follows in further ones.
MAX_CHOSEN: Final = 200
MAX_MATCHING: Final = 2_000
_MARKED: Final = "marked as due"
# Not in the table below: what it gives is a file, not a result for each.
EXPORT: Final = "export"


@dataclass(frozen=True, kw_only=True)
class Options:
    """What an act needs besides the secrets."""

    tags: Sequence[str] = ()
    environment: Environment | None = None


Run = Callable[[Principal, Secret, Options], Secret]


@dataclass(frozen=True, kw_only=True)
class BulkAction:
    """One act on many: what it is called, what it needs and what it did to each."""

    name: str
    label: str
    # The words of its page and its button before "3 secrets".
    verb: str
    done: str
    # The rights that each secret is asked for, and the one that the destination is asked for.
    rights: tuple[Action, ...]
    run: Run
    needs: str = ""
    on_deleted: bool = False
    destructive: bool = False
    there: Action | None = None
    # An explanation for the preview, and what becomes of each secret that it takes.
    told: str = ""
    outcome: str = ""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """A chosen secret, in the state in which it was seen, and why the act would not take it."""

    secret: Secret
    reason: str = field(default="")


def preview(
    *, actor: Principal, act: BulkAction, secrets: Sequence[Secret], options: Options
) -> list[Selection]:
    """Return for each secret whether the act would take it; nothing is done.

    Raises TooManyItems for more than 2,000.
    """
    if len(secrets) > MAX_MATCHING:
        raise TooManyItems(f"Select up to {MAX_MATCHING:,} secrets. Nothing was changed.")
    taken = _taken(secrets, options.environment)
    return [
        Selection(secret=secret, reason=_refusal(actor, act, secret, options, taken)) for secret in secrets
    ]


def execute(
    *, actor: Principal, act: BulkAction, secrets: Sequence[Secret], seen: Mapping[int, str], options: Options
) -> list[ItemResult]:
    """Do it to each secret that still is as it was `seen` (id → ETag); return a result for each.

    Raises TooManyItems for more than 200, and ConfirmationNeeded.
    """
    if len(secrets) > MAX_CHOSEN:
        raise TooManyItems(f"Select up to {MAX_CHOSEN} secrets at a time. Nothing was changed.")
    return [_carried(actor, act, secret, seen.get(secret.pk, ""), options) for secret in secrets]


def _carried(actor: Principal, act: BulkAction, secret: Secret, seen: str, options: Options) -> ItemResult:
    def run() -> int:
        if secret.etag != seen:
            raise StaleVersion("Changed since your preview. Nothing was done.")
        return int(act.run(actor, secret, options).pk)

    due = secret.rotation_due_at
    result = run_item(secret.name, run, word=act.done)
    # No policy rotates it: nothing was asked for, and a person changes it.
    marked = result.done and secret.rotation_due_at not in (None, due)
    return replace(result, word=_MARKED) if marked else result


def _refusal(actor: Principal, act: BulkAction, secret: Secret, options: Options, taken: set[str]) -> str:
    place = secret.environment_id
    if bool(secret.live) == act.on_deleted:
        return "Not deleted." if act.on_deleted else "Deleted."
    if not all(allows(actor, right, environment_id=place, name=secret.name) for right in act.rights):
        return NOT_ALLOWED
    if act.there is None or options.environment is None:
        return ""
    if not allows(actor, act.there, environment_id=options.environment.pk, name=secret.name):
        return f"Your role in {options.environment.name} doesn't allow this."
    return f"Already exists in {options.environment.name}." if secret.name in taken else ""


def _taken(secrets: Sequence[Secret], environment: Environment | None) -> set[str]:
    if environment is None:
        return set()
    names = [secret.name for secret in secrets]
    rows = Secret.objects.filter(environment=environment, live=True, name__in=names)
    return set(rows.values_list("name", flat=True))


def _tag(actor: Principal, secret: Secret, options: Options) -> Secret:
    tags = sorted({*secret.tags, *options.tags})
    return write.update(actor=actor, secret=secret, expected=secret.etag, tags=tags)


def _untag(actor: Principal, secret: Secret, options: Options) -> Secret:
    tags = [tag for tag in secret.tags if tag not in options.tags]
    return write.update(actor=actor, secret=secret, expected=secret.etag, tags=tags)


def _copy(actor: Principal, secret: Secret, options: Options) -> Secret:
    return transfer.copy(actor=actor, secret=secret, environment=_destination(options))


def _move(actor: Principal, secret: Secret, options: Options) -> Secret:
    return transfer.move(actor=actor, secret=secret, environment=_destination(options))


def _destination(options: Options) -> Environment:
    if options.environment is None:
        raise AssertionError("the form asks for the environment")
    return options.environment


def _delete(actor: Principal, secret: Secret, _options: Options) -> Secret:
    return lifecycle.delete(actor=actor, secret=secret, expected=secret.etag)


def _restore(actor: Principal, secret: Secret, _options: Options) -> Secret:
    return lifecycle.restore(actor=actor, secret=secret)


def _rotate(actor: Principal, secret: Secret, _options: Options) -> Secret:
    """Request a rotation by the secret's policy, if it has one; else mark its rotation as due."""
    ask = import_string(settings.KEEPER_ROTATION_REQUESTER)
    if ask(actor=actor, secret=secret):
        return secret
    return lifecycle.mark_rotation_due(actor=actor, secret=secret, expected=secret.etag)


_REVEAL: Final = Action.SECRET_REVEAL
BULK_ACTIONS: Final = {
    act.name: act
    for act in (
        BulkAction(
            name="tag",
            outcome="tags added",
            label="Add tags…",
            verb="Add tags to",
            done="tagged",
            rights=(Action.SECRET_UPDATE,),
            run=_tag,
            needs="tags",
        ),
        BulkAction(
            name="untag",
            outcome="tags removed",
            label="Remove tags…",
            verb="Remove tags from",
            done="untagged",
            rights=(Action.SECRET_UPDATE,),
            run=_untag,
            needs="tags",
        ),
        BulkAction(
            name="copy",
            outcome="new",
            label="Copy to…",
            verb="Copy",
            done="copied",
            rights=(Action.SECRET_COPY, _REVEAL),
            run=_copy,
            needs="environment",
            there=Action.SECRET_CREATE,
        ),
        BulkAction(
            name="move",
            outcome="moved, then deleted here",
            label="Move to…",
            verb="Move",
            done="moved",
            rights=(Action.SECRET_MOVE, Action.SECRET_DELETE, _REVEAL),
            run=_move,
            needs="environment",
            there=Action.SECRET_CREATE,
            destructive=True,
        ),
        BulkAction(
            name="rotate",
            outcome="rotated by its policy, else marked as due",
            label="Rotate",
            verb="Rotate",
            done="queued for rotation or marked as due",
            told="Secrets with a rotation policy rotate now. The rest are marked as due: nothing rotates "
            "them until they have a policy. A new value clears the mark.",
            rights=(Action.SECRET_UPDATE,),
            run=_rotate,
        ),
        BulkAction(
            name="delete",
            outcome="deleted, can be restored",
            label="Delete",
            verb="Delete",
            done="deleted",
            rights=(Action.SECRET_DELETE,),
            run=_delete,
            destructive=True,
        ),
        BulkAction(
            name="restore",
            outcome="restored",
            label="Restore",
            verb="Restore",
            done="restored",
            rights=(Action.SECRET_RESTORE,),
            run=_restore,
            on_deleted=True,
        ),
    )
}
