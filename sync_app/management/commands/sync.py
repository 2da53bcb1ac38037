"""Plans, carries out and shows the sync from a shell, which acts as Keeper within the target's scope."""

import json
import sys
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError, CommandParser

from core.canonical_json import Json
from core.listing import add_format
from environments_app.authorization.policy import Principal
from environments_app.errors import AccessError
from environments_app.models import Environment, Role
from sync_app.applying import service as applying
from sync_app.errors import SyncError
from sync_app.models import Plan, Run, Target
from sync_app.models.plan import Act, PlanKind, PlanState
from sync_app.models.run import RunState
from sync_app.planning import service as planning
from sync_app.planning.draft_items import AdoptMode, DisconnectMode
from sync_app.runs import runner as runs_runner
from sync_app.runs import summaries
from sync_app.runs.summaries import PlanReport, TargetReport
from sync_app.state.deletions import BEYOND_BUDGET
from sync_app.targets import default_targets
from sync_app.targets.credentials import target_principal
from sync_app.targets.default_targets import Attempt

# Something waits for a person, or for `apply`.
PENDING: Final = 3
_NONE_DESCRIBED: Final = (
    "No default target is described: set VAULT_URL and VAULT_TOKEN, or AWS_REGION, AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY (no AWS_SESSION_TOKEN, which ends within hours)."
)
_WORDS: Final = {
    Act.CREATE: "+",
    Act.UPDATE: "~",
    Act.DELETE: "-",
    Act.PULL: "<",
    Act.ADOPT: "a",
    Act.RELEASE: "r",
    Act.CONFLICT: "!",
    Act.DRIFTED: "!",
    Act.MISSING: "!",
    Act.OWNERSHIP_LOST: "!",
    Act.REFUSED: "x",
    Act.UNMANAGED: ".",
}


class Command(BaseCommand):
    """Does at once, in this process, what a worker does for the pages and the API."""

    help = (
        "Plan, carry out and show the sync with other systems. Exits with 0 if all is well, 1 if something "
        "failed, 2 on wrong usage, 3 if something waits: changes to apply, conflicts, drift."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        plan = _action(actions, "plan", "show what would be done; nothing is changed")
        leaving = [str(leaving) for leaving in DisconnectMode]
        plan.add_argument("--disconnect", choices=leaving, help="to take leave of the target")
        plan.add_argument(
            "--beyond-budget", action="store_true", help="with more deletions than the target's budget allows"
        )
        apply = _action(actions, "apply", "plan and carry it out, or carry out a plan that was shown")
        apply.add_argument("--plan", type=int, help="the number of the plan; without it a new one is made")
        adopt = _action(actions, "adopt", "plan to take over secrets that exist in the target")
        adopt.add_argument("names", nargs="+", help="names below the target's prefix")
        adopt.add_argument("--mode", choices=[str(mode) for mode in AdoptMode], default=AdoptMode.IF_EQUAL)
        adopt.add_argument("--apply", action="store_true", help="carry it out as well")
        _action(actions, "check", "look how each secret stands, by metadata only")
        status = actions.add_parser("status", help="show targets, the states of their secrets, last runs")
        status.add_argument("environment", nargs="?", help="this environment only")
        add_format(status)
        help_text = "make the targets that VAULT_* and AWS_* describe, where they do not exist"
        defaults = actions.add_parser("default-targets", help=help_text, description=help_text)
        add_format(defaults)

    def handle(self, *_args: Any, **options: Any) -> None:
        self._as_json = options["format"] == "json"
        try:
            code = getattr(self, f"_{options['action'].replace('-', '_')}")(options)
        except (SyncError, AccessError) as error:
            raise CommandError(str(error)) from error
        if code:
            sys.exit(code)

    def _plan(self, options: Mapping[str, Any]) -> int:
        target, leaving = _target(options), options["disconnect"]
        kind = PlanKind.DISCONNECT if leaving else PlanKind.SYNC
        chosen: dict[str, Json] = {"mode": leaving} if leaving else {BEYOND_BUDGET: options["beyond_budget"]}
        plan = self._made(target, kind, chosen)
        return self._show_plan(plan)

    def _apply(self, options: Mapping[str, Any]) -> int:
        target = _target(options)
        actor = _actor(target)
        if options["plan"] is None:
            run = runs_runner.request_sync(actor=actor, target=target)
        else:
            plan = Plan.objects.select_related("target__environment").filter(
                pk=options["plan"], target=target
            )
            if (stored_plan := plan.first()) is None:
                raise CommandError("The target has no plan of this number.", returncode=2)
            run = applying.request_apply(actor=actor, plan=stored_plan)
        return self._show_plan(self._plan_of(run))

    def _adopt(self, options: Mapping[str, Any]) -> int:
        target = _target(options)
        names: list[Json] = list(options["names"])
        plan = self._made(target, PlanKind.ADOPT, {"mode": options["mode"], "names": names})
        if options["apply"] and plan.state == PlanState.READY:
            plan = self._plan_of(applying.request_apply(actor=_actor(target), plan=plan))
        return self._show_plan(plan)

    def _check(self, options: Mapping[str, Any]) -> int:
        target = _target(options)
        self._executed(runs_runner.request_check(actor=_actor(target), target=target))
        return self._show_targets([summaries.target_report(target)])

    def _status(self, options: Mapping[str, Any]) -> int:
        targets = Target.objects.filter(live=True).select_related("environment").defer("credentials")
        if options["environment"]:
            targets = targets.filter(environment=_environment(options["environment"]))
        return self._show_targets([summaries.target_report(target) for target in targets])

    def _default_targets(self, _options: Mapping[str, Any]) -> int:
        attempts = default_targets.create_missing()
        if self._as_json:
            self.stdout.write(json.dumps([asdict(attempt) for attempt in attempts]))
        else:
            self.stdout.write("\n".join(map(_attempt_text, attempts)) or _NONE_DESCRIBED)
        return 1 if any(attempt.problem for attempt in attempts) else 0

    # --- How ----------------------------------------------------------------------------------

    def _made(self, target: Target, kind: PlanKind, options: Mapping[str, Json]) -> Plan:
        actor = _actor(target)
        run = planning.request_plan(actor=actor, target=target, kind=kind, options=options)
        return self._plan_of(run)

    def _plan_of(self, run: Run) -> Plan:
        plan = self._executed(run).plan
        if plan is None:
            raise CommandError("The run made no plan.")
        return plan

    def _executed(self, run: Run) -> Run:
        done = runs_runner.execute(run.pk) or Run.objects.select_related("plan").get(pk=run.pk)
        if done.state == RunState.FAILED:
            raise CommandError(done.error)
        if done.active:
            why = done.error or "a worker has taken it"
            raise CommandError(f"Not finished yet, and carried on by the next worker: {why}")
        return done

    def _show_plan(self, plan: Plan) -> int:
        report = summaries.plan_report(plan)
        self.stdout.write(json.dumps(report.as_json()) if self._as_json else _plan_text(report))
        if report.failed:
            return 1
        return PENDING if report.waiting else 0

    def _show_targets(self, reports: Sequence[TargetReport]) -> int:
        if self._as_json:
            self.stdout.write(json.dumps([report.as_json() for report in reports]))
        else:
            self.stdout.write("\n".join(map(_target_text, reports)) or "There is no target.")
        if any(report.failed for report in reports):
            return 1
        return PENDING if any(report.waiting for report in reports) else 0


def _action(actions: Any, name: str, help_text: str) -> ArgumentParser:
    action: ArgumentParser = actions.add_parser(name, help=help_text, description=help_text)
    action.add_argument("environment", help="the environment's name")
    action.add_argument("target", help="the target's name")
    add_format(action)
    return action


def _environment(name: str) -> Environment:
    environment = Environment.objects.filter(name=name).first()
    if environment is None:
        raise CommandError("Environment not found.", returncode=2)
    return environment


def _target(options: Mapping[str, Any]) -> Target:
    environment = _environment(options["environment"])
    target = Target.objects.filter(environment=environment, name=options["target"], live=True).first()
    if target is None:
        raise CommandError("The environment has no target of this name.", returncode=2)
    target.environment = environment
    return target


def _actor(target: Target) -> Principal:
    """Return Keeper itself: a user with a shell on the host operates it."""
    return target_principal(target, role=Role.MANAGER)


def _plan_text(report: PlanReport) -> str:
    lines = [f"plan {report.number} of {report.target} ({report.environment}): {report.state}"]
    for item in report.items:
        ended = f" [{item.state}] {item.error}".rstrip() if item.state not in {"planned", ""} else ""
        lines.append(f"  {_WORDS[Act(item.act)]} {item.act:<9} {item.name}: {item.reason}{ended}")
    counts = ", ".join(f"{number:,} {act}" for act, number in report.counts.items())
    lines.append(f"  {counts or 'nothing there'}")
    return "\n".join(lines)


def _attempt_text(attempt: Attempt) -> str:
    name = f"{attempt.environment}/{attempt.name}"
    if attempt.problem:
        return f"{name}: NOT MADE: {attempt.problem}. {default_targets.AGAIN}"
    return f"{name}: {'made; plan it first' if attempt.created else 'exists already'}"


def _target_text(report: TargetReport) -> str:
    states = ", ".join(f"{number:,} {state}" for state, number in report.states.items()) or "no secrets yet"
    lines = [f"{report.environment}/{report.name} ({report.backend}, {report.direction}): {states}"]
    if report.paused:
        lines.append("  paused")
    if report.last_error:
        lines.append(f"  FAILED: {report.last_error}")
    if report.last_success:
        lines.append(f"  last success {report.last_success}")
    return "\n".join(lines)
