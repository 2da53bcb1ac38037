"""Imports entries of a file: what is new all or none, what changes one by one, by a plan that was seen."""

from collections.abc import Sequence

from audit_app.actions import Action
from audit_app.record import AuditObject, commit_record
from audit_app.streams import environment_stream
from environments_app.errors import ApprovalNeeded
from environments_app.models import Environment
from environments_app.policy import Principal
from secrets_app.bulk import NewSecret, create_many
from secrets_app.errors import NameTaken
from secrets_app.import_formats import Entry
from secrets_app.import_plan import Line, Plan, PlanChanged, Verdict, plan_import, same_plan
from secrets_app.input_errors import InvalidInput
from secrets_app.item_results import ItemResult, attempt
from secrets_app.writing import update

_COMMENT = "imported"


def import_entries(
    *,
    actor: Principal,
    environment: Environment,
    entries: Sequence[Entry],
    keep_existing: bool = False,
    digest: str | None = None,
) -> tuple[Plan, list[ItemResult]]:
    """Carry out an import; return its plan, and a result for each entry that was to be written.

    `digest` is that of the plan which was previewed; without it there was none. Entries that are
    refused are left out.

    Raises PlanChanged if the plan is another by now, NameTaken if a new name was given away at this
    very moment (nothing is written then), TooManyItems, KeyUnavailable, and Forbidden or Invisible.
    """
    plan = plan_import(actor=actor, environment=environment, entries=entries, keep_existing=keep_existing)
    if digest is not None and not same_plan(plan, digest):
        raise PlanChanged(plan)
    new, changed = plan.of(Verdict.NEW), plan.of(Verdict.CHANGED)
    commit_record(
        actor=actor,
        action=Action.SECRET_IMPORT,
        stream=environment_stream(environment.uuid),
        object=AuditObject("environment", environment.uuid, environment.name),
        details={"new": len(new), "changed": len(changed), "refused": len(plan.of(Verdict.REFUSED))},
    )
    results = _create(actor, environment, new)
    results += [_change(actor, line) for line in changed]
    return plan, results


def _create(actor: Principal, environment: Environment, lines: Sequence[Line]) -> list[ItemResult]:
    if not lines:
        return []
    items = [
        NewSecret(
            environment=environment,
            name=line.entry.name,
            secret_type=line.secret_type,
            value=line.entry.value,
            comment=_COMMENT,
            metadata=line.entry.metadata,
        )
        for line in lines
    ]
    try:
        secrets = create_many(actor=actor, items=items)
    except ApprovalNeeded as error:
        # The rest of the file is told apart, and asks for itself.
        return [ItemResult(name=line.entry.name, done=False, reason=str(error)) for line in lines]
    except NameTaken as error:
        raise NameTaken(
            "A name of the file was given away meanwhile. Look again; nothing was written."
        ) from error
    return [ItemResult(name=each.name, done=True, word="created", secret_id=each.pk) for each in secrets]


def _change(actor: Principal, line: Line) -> ItemResult:
    secret = line.secret
    if secret is None:
        raise AssertionError("only what exists changes")

    def write() -> int:
        if secret.resolves_references:
            reason = "It resolves references, and what is imported stays literal: change it by itself."
            raise InvalidInput("value", reason)
        update(
            actor=actor,
            secret=secret,
            value=line.entry.value,
            secret_type=line.secret_type,
            expected=secret.etag,
            comment=_COMMENT,
            **line.entry.metadata,
        )
        return int(secret.pk)

    return attempt(line.entry.name, write, word="changed")
