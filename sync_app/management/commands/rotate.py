"""Rotates secrets from a shell, which acts as Keeper for the policy's secret."""

import json
import sys
from argparse import ArgumentTypeError
from collections.abc import Iterable, Sequence
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit_app.interfaces import KeyringUnavailable
from core.listing import add_format
from environments_app.errors import AccessError
from environments_app.models import Role
from secrets_app.errors import SecretError
from sync_app.errors import SyncError
from sync_app.jobs.leases import database_now
from sync_app.models import Rotation, RotationPolicy
from sync_app.rotation.execution import runner as execution_runner
from sync_app.rotation.execution import schedule
from sync_app.rotation.execution.compromise_response import SecretReader, find_exposed, reader_for_operator
from sync_app.rotation.execution.consumers import find_unacknowledged
from sync_app.rotation.execution.dry_run import run_dry_run
from sync_app.rotation.execution.requests import request_rotation
from sync_app.rotation.policies.credentials import policy_principal

# Something waits: a grace, a window, a target, the next attempt.
WAITING: Final = 3
_REFUSALS: Final = (SyncError, AccessError, SecretError, KeyringUnavailable)


class Command(BaseCommand):
    """Does at once, in this process, what a worker does for the schedule, the pages and the API."""

    help = (
        "Rotate one secret, or all that are due. Exits with 0 if all is well (a grace that runs is), "
        "1 if a rotation stopped or a dry run found a fault, 2 on wrong usage, 3 if something waits."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        chosen = parser.add_mutually_exclusive_group(required=True)
        chosen.add_argument("--secret", type=_place, help="environment/name: rotate this one now")
        chosen.add_argument("--due", action="store_true", help="rotate what is due, and carry on what waits")
        chosen.add_argument(
            "--read-by",
            metavar="NAME",
            help="all that a person (username) or token (uuid) has read or written, by the audit log",
        )
        parser.add_argument(
            "--emergency",
            action="store_true",
            help="end graces now and leave none: apps that use a previous value lose access",
        )
        parser.add_argument("--dry-run", action="store_true", help="look at everything and change nothing")
        parser.add_argument("--reason", default="", help="why, for the audit log")
        add_format(parser)

    def handle(self, *_args: Any, **options: Any) -> None:
        self._as_json = options["format"] == "json"
        policies = [_policy(*options["secret"])] if options["secret"] else []
        if options["read_by"]:
            code = self._rotate_exposed(options)
        elif options["dry_run"]:
            code = self._rehearse(policies or schedule.due_policies(database_now()))
        elif policies:
            code = self._rotate(policies, options["reason"], emergency=options["emergency"])
        else:
            code = self._show([execution_runner.execute(number) for number in schedule.queue_due()])
        if code:
            sys.exit(code)

    def _rotate(self, policies: Sequence[RotationPolicy], reason: str, *, emergency: bool) -> int:
        try:
            rotations = [_request(policy, reason=reason, emergency=emergency) for policy in policies]
        except _REFUSALS as error:
            raise CommandError(str(error)) from error
        return self._show([_execute(rotation) for rotation in rotations])

    def _rotate_exposed(self, options: dict[str, Any]) -> int:
        """Rotate everything that a user or token has read; list manual changes and consumers at risk."""
        exposed = find_exposed(_reader(options["read_by"]).uuid)
        reason = options["reason"] or f"known to {options['read_by']}"
        documents: list[dict[str, Any]] = []
        for policy in (item.policy for item in exposed if item.policy is not None):
            document: dict[str, Any] = {"secret": _name(policy)}
            try:
                if not options["dry_run"]:
                    slow = sorted({row.consumer_name for row in find_unacknowledged(policy.secret)})
                    rotation = _request(policy, reason=reason, emergency=options["emergency"])
                    document |= _document(_execute(rotation)) | {"unconfirmed": slow}
            except _REFUSALS as error:
                document |= {"stopped": True, "problem": str(error)}
            documents.append(document)
        by_hand = [
            f"{item.known.secret.environment.name}/{item.known.secret.name}"
            for item in exposed
            if item.policy is None
        ]
        if self._as_json:
            self.stdout.write(json.dumps({"rotated": documents, "by_hand": by_hand}))
        else:
            lines = [*map(_format_line, documents), *(f"{name}: BY HAND" for name in by_hand)]
            self.stdout.write("\n".join(lines))
        if by_hand or any(document.get("stopped") for document in documents):
            return 1
        return WAITING if any(document.get("problem") for document in documents) else 0

    def _rehearse(self, policies: Iterable[RotationPolicy]) -> int:
        results = []
        for policy in policies:
            try:
                result = run_dry_run(actor=policy_principal(policy, role=Role.EDITOR), policy=policy)
            except _REFUSALS as error:
                raise CommandError(str(error)) from error
            results.append((_name(policy), result))
        if self._as_json:
            documents = [
                {"secret": name, "ok": result.ok, "findings": list(map(vars, result.findings))}
                for name, result in results
            ]
            self.stdout.write(json.dumps(documents))
        else:
            for name, result in results:
                self.stdout.write(f"{name}: {'would rotate' if result.ok else 'WOULD NOT ROTATE'}")
                for finding in result.findings:
                    self.stdout.write(f"  {'!' if finding.fails else '.'} {finding.what}: {finding.detail}")
            if not results:
                self.stdout.write("Nothing is due.")
        return 0 if all(result.ok for _, result in results) else 1

    def _show(self, rotations: Iterable[Rotation | None]) -> int:
        done = [rotation for rotation in rotations if rotation is not None]
        if self._as_json:
            self.stdout.write(json.dumps([_document(rotation) for rotation in done]))
        else:
            self.stdout.write("\n".join(map(_line, done)) or "Nothing is due.")
        if any(rotation.stopped_at for rotation in done):
            return 1
        return WAITING if any(rotation.problem for rotation in done) else 0


def _place(text: str) -> tuple[str, str]:
    environment, slash, name = text.partition("/")
    if not (environment and slash and name):
        raise ArgumentTypeError("name it as environment/name")
    return environment, name


def _policy(environment: str, name: str) -> RotationPolicy:
    policies = RotationPolicy.objects.select_related("environment", "secret__environment")
    policy = policies.filter(
        environment__name=environment, secret__name=name, secret__live=True, live=True
    ).first()
    if policy is None:
        raise CommandError("No secret of this name is under a rotation policy.", returncode=2)
    return policy


def _request(policy: RotationPolicy, *, reason: str, emergency: bool) -> Rotation:
    actor = policy_principal(policy, role=Role.MANAGER)
    return request_rotation(actor=actor, policy=policy, emergency=emergency, reason=reason)


def _execute(rotation: Rotation) -> Rotation:
    """Carry a rotation on, after the previous one, whose grace may have been ended early."""
    for number in (
        *Rotation.objects.filter(policy=rotation.policy, slot="working").values_list("pk", flat=True),
        rotation.pk,
    ):
        execution_runner.execute(number)
    return Rotation.objects.select_related("policy__environment", "policy__secret").get(pk=rotation.pk)


def _reader(name: str) -> SecretReader:
    try:
        return reader_for_operator(name)
    except AccessError as error:
        raise CommandError(str(error), returncode=2) from error


def _format_line(document: dict[str, Any]) -> str:
    line = f"{document['secret']}: {document.get('step', 'would rotate')}"
    if document.get("problem"):
        line += f", {'STOPPED: ' if document.get('stopped') else ''}{document['problem']}"
    if document.get("unconfirmed"):
        line += f"; not confirmed by {', '.join(document['unconfirmed'])}"
    return line


def _name(policy: RotationPolicy) -> str:
    return f"{policy.environment.name}/{policy.secret.name}"


def _document(rotation: Rotation) -> dict[str, Any]:
    return {
        "rotation": rotation.pk,
        "secret": _name(rotation.policy),
        "step": rotation.step,
        "stopped": rotation.stopped_at is not None,
        "problem": rotation.problem,
        "grace_until": rotation.grace_until.isoformat() if rotation.grace_until else None,
        "seconds_to_serve": rotation.seconds_to_serve,
        "seconds": rotation.seconds,
    }


def _line(rotation: Rotation) -> str:
    line = f"{_name(rotation.policy)}: {rotation.step}"
    if rotation.stopped_at:
        return f"{line}, STOPPED: {rotation.problem}"
    if rotation.problem:
        return f"{line}, {rotation.problem}"
    if rotation.seconds_to_serve is not None:
        line += f", served after {rotation.seconds_to_serve} s"
    if rotation.step == "grace" and rotation.grace_until:
        return f"{line}, until {rotation.grace_until:%Y-%m-%d %H:%M} UTC"
    return line
