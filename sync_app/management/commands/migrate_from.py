"""Plans, applies and shows migrations from a shell, which acts as Keeper within the rules' environments."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError, CommandParser

from core.listing import add_format
from environments_app.authorization.policy import Grant
from environments_app.authorization.principals import system_principal
from environments_app.errors import AccessError
from environments_app.models import Environment, Role
from secrets_app.errors import SecretError
from sync_app.errors import SyncError
from sync_app.migration import engine, service
from sync_app.migration.credentials import migration_principal
from sync_app.migration.placing import Rule
from sync_app.migration.sources.base import Source
from sync_app.migration.sources.registry import SOURCES
from sync_app.models import Migration, MigrationLine
from sync_app.models.migration import Choice, LineState, MigrationState, Word

LEFT: Final = 3
STOPPED: Final = 4
_SHOWN: Final = 200
_STANDARD_INPUT: Final = "-"
_UNSETTLED: Final = (Word.CHANGED, Word.REFUSED, Word.UNREADABLE)


class Command(BaseCommand):
    """Does at once, in this process, what a worker does for the pages."""

    help = (
        "Carry secrets with all their versions here from another system. Exits with 0 if all is carried, "
        "3 if lines are left, 4 if it stopped."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        for kind, source in SOURCES.items():
            add = actions.add_parser(kind, help=f"plan a migration from {source.label}, and apply it")
            add.add_argument("address", help=source.setting_fields[0].help or source.setting_fields[0].label)
            for each in source.setting_fields[1:]:
                add.add_argument(
                    _option(each.name), dest=each.name, default=each.default, help=each.label,
                    choices=each.choices or None,
                )  # fmt: skip
            for each in source.credential_fields:
                option = f"{_option(each.name)}-file"
                add.add_argument(
                    option, dest=each.name, default="", help=f"file with the {each.label}, - for the input"
                )
            rule = "PLACE=ENVIRONMENT[:PREFIX], or PLACE=first-folder:FOLDER=ENVIRONMENT,…"
            add.add_argument(
                "--rule", action="append", default=[], dest="rules",
                help=f"{rule} (default: each place to the environment of its name)",
            )  # fmt: skip
            add.add_argument("--apply", action="store_true", help="apply the plan as well")
            add.add_argument(
                "--follow", type=int, default=0, metavar="SECONDS", help="look again until stopped"
            )
            add_format(add)
        for action, help_text in (
            ("plan", "plan again a migration that has not ended"),
            ("apply", "apply the plan of a migration"),
            ("status", "show migrations, or the lines of one"),
            ("stop", "end a migration; what is stored stays"),
        ):
            add = actions.add_parser(action, help=help_text)
            add.add_argument(
                "migration", type=int, nargs="?" if action == "status" else None, help="its number"
            )
            if action == "apply":
                add.add_argument("--take-source", action="store_true", help="where both sides changed")
                add.add_argument(
                    "--skip-refused",
                    action="store_true",
                    help="settle what cannot be carried: it stays there",
                )
                add.add_argument(
                    "--follow", type=int, default=0, metavar="SECONDS", help="look again until stopped"
                )
            add_format(add)

    def handle(self, *_args: Any, **options: Any) -> None:
        self._as_json = options["format"] == "json"
        try:
            act = {"plan": self._plan, "apply": self._apply, "status": self._status, "stop": self._stop}
            code = act.get(options["action"], self._start)(options)
        except (SyncError, AccessError, SecretError) as error:
            raise CommandError(str(error)) from error
        if code:
            sys.exit(code)

    def _start(self, options: Mapping[str, Any]) -> int:
        kind = SOURCES[options["action"]]
        settings = {each.name: options[each.name] for each in kind.setting_fields if each.name in options}
        settings[kind.setting_fields[0].name] = options["address"]
        credentials = {each.name: _read(options[each.name]) for each in kind.credential_fields}
        given = options["rules"] or _rules_by_name(kind(settings=settings, credentials=credentials))
        rules = [service.parse_rule(text, _environment) for text in given]
        migration = service.start(
            actor=system_principal(grants=_grants(rules)),
            source=kind.kind,
            settings=settings,
            credentials=credentials,
            rules=rules,
        )
        self._work(migration)
        if options["apply"]:
            return self._applied(migration, options["follow"])
        return self._show(migration)

    def _plan(self, options: Mapping[str, Any]) -> int:
        migration = _migration(options)
        service.plan_again(actor=migration_principal(migration), migration=migration)
        self._work(migration)
        return self._show(migration)

    def _apply(self, options: Mapping[str, Any]) -> int:
        migration = _migration(options)
        actor = migration_principal(migration)
        if options["take_source"]:
            lines = MigrationLine.objects.filter(migration=migration, plan=migration.plan, word=Word.CHANGED)
            for line in lines:
                service.choose(actor=actor, migration=migration, line=line, choice=Choice.TAKE)
        if options["skip_refused"]:
            for group in service.unsettled(migration):
                service.skip(actor=actor, migration=migration, reason=group["reason"])
        return self._applied(migration, options["follow"])

    def _applied(self, migration: Migration, follow: int) -> int:
        migration.refresh_from_db()
        if migration.state == MigrationState.PLANNED:
            actor = migration_principal(migration)
            service.request_apply(
                actor=actor, migration=migration, digest=migration.plan_digest, follow_seconds=follow
            )
            self._work(migration)
        return self._show(migration)

    def _status(self, options: Mapping[str, Any]) -> int:
        if options["migration"] is not None:
            return self._show(_migration(options))
        found = [_summary(each) for each in Migration.objects.select_related("environment")[:_SHOWN]]
        text = "\n".join(
            f"{each['migration']}: {each['source']} {each['address']}: {each['state']}" for each in found
        )
        self.stdout.write(json.dumps(found) if self._as_json else text or "There is no migration.")
        return 0

    def _stop(self, options: Mapping[str, Any]) -> int:
        migration = _migration(options)
        service.stop(actor=migration_principal(migration), migration=migration)
        self._show(migration)
        return 0

    def _work(self, migration: Migration) -> None:
        """Carry the migration on until there is nothing more to do at once."""
        done = engine.execute(migration.pk)
        migration.refresh_from_db()
        if done is None or migration.state in {MigrationState.PLANNING, MigrationState.APPLYING}:
            raise CommandError(
                "Not finished yet, and carried on by the next worker: "
                f"{migration.error or 'a worker has taken it'}"
            )

    def _show(self, migration: Migration) -> int:
        migration.refresh_from_db()
        lines = MigrationLine.objects.filter(migration=migration, plan=migration.plan)
        left = lines.exclude(state=LineState.LEFT).filter(word__in=_UNSETTLED, chosen="") | lines.filter(
            state=LineState.LEFT
        )
        report = {
            **_summary(migration),
            "mounts": _led(migration),
            "lines": [_line(each) for each in left.order_by("id")[:_SHOWN]],
        }
        self.stdout.write(json.dumps(report) if self._as_json else _text(report))
        if migration.state in {MigrationState.FAILED, MigrationState.STOPPED}:
            return STOPPED
        return LEFT if left.exists() else 0


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _environment(name: str) -> Environment | None:
    return Environment.objects.filter(name=name).first()


def _rules_by_name(source: Source) -> list[str]:
    """Return the rules by which each place of a source goes to the environment of its name."""
    with source:
        return [f"{place}={place}" for place in source.places()]


def _grants(rules: list[Rule]) -> tuple[Grant, ...]:
    uuids = {uuid for rule in rules for uuid in rule.environments.values()}
    return tuple(
        Grant(
            environment_id=each.pk,
            environment_uuid=each.uuid,
            environment_name=each.name,
            role=Role.EDITOR,
            prefix="",
        )
        for each in Environment.objects.filter(uuid__in=uuids)
    )


def _migration(options: Mapping[str, Any]) -> Migration:
    found = Migration.objects.select_related("environment").filter(pk=options["migration"]).first()
    if found is None:
        raise CommandError("There is no migration of this number.", returncode=2)
    return found


def _read(file: str) -> str:
    if not file:
        return ""
    try:
        return (
            sys.stdin.read() if file == _STANDARD_INPUT else Path(file).read_text(encoding="utf-8")
        ).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{file} cannot be read: {type(error).__name__}", returncode=2) from error


def _summary(migration: Migration) -> dict[str, Any]:
    return {
        "migration": migration.pk,
        "source": migration.source,
        "address": migration.endpoint,
        "state": migration.state,
        "plan": migration.plan_digest,
        "counts": migration.counts,
        "follow_seconds": migration.follow_seconds,
        "error": migration.error,
    }


def _led(migration: Migration) -> list[str]:
    """Return what becomes of the paths of old clients where they are not led as the rules say."""
    is_ended = migration.state in {MigrationState.STOPPED, MigrationState.FAILED}
    return [] if is_ended else service.led(migration)


def _line(line: MigrationLine) -> dict[str, Any]:
    return {
        "place": line.place,
        "path": line.path,
        "name": line.name,
        "word": line.word,
        "state": line.state,
        "reason": line.reason,
        "versions": len(line.versions),
    }


def _text(report: Mapping[str, Any]) -> str:
    counts = report["counts"] or {}
    words = ", ".join(f"{number:,} {word}" for word, number in (counts.get("words") or {}).items())
    states = ", ".join(f"{number:,} {state}" for state, number in (counts.get("states") or {}).items())
    secrets, versions = counts.get("secrets", 0), counts.get("versions", 0)
    head = (
        f"migration {report['migration']} from {report['source']} {report['address']}: {report['state']}\n"
        f"  {secrets:,} secrets, {versions:,} versions: {words or 'nothing there'}"
    )
    lines = [head, f"  {states}"] if states else [head]
    if report["error"]:
        lines.append(f"  {report['error']}")
    lines += [f"  old paths, not led yet: {each}" for each in report["mounts"]]
    lines += [
        f"  {each['word']} [{each['state']}] {each['place']}/{each['path']}: {each['reason']}"
        for each in report["lines"]
    ]
    return "\n".join(lines)
