"""Lists environments and deleted ones; deletes, restores or removes one."""

import json
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from core.listing import add_format, listing
from environments_app.authorization.principals import system_principal
from environments_app.environments import deletion
from environments_app.errors import AccessError
from environments_app.models import Environment


class Command(BaseCommand):
    help = "List environments, deleted ones too, or delete, restore or purge one."

    def add_arguments(self, parser: CommandParser) -> None:
        acts = parser.add_subparsers(dest="act", required=True)
        add_format(acts.add_parser("list", help="list environments, deleted ones too"))
        for name, told in (
            ("delete", "delete an environment; it can be restored"),
            ("restore", "bring a deleted environment back with everything"),
            ("purge", "remove a deleted environment for good, now"),
        ):
            act = acts.add_parser(name, help=told)
            act.add_argument("name")
            add_format(act)
            if name != "restore":
                act.add_argument("--yes", action="store_true", help="do not only show what would go")

    def handle(self, *_args: Any, **options: Any) -> None:
        if options["act"] == "list":
            rows = [_row(each) for each in Environment.every.order_by("name")]
            self.stdout.write(listing(rows, options["format"], nothing="No environments."))
            return
        name, actor = options["name"], system_principal(is_admin=True)
        place = Environment.every.filter(name=name).first()
        if place is None or (options["act"] == "delete") is (place.deleted_at is not None):
            kind = "environment" if options["act"] == "delete" else "deleted environment"
            raise CommandError(f"There is no {kind} of this name: see `keeper environments list`.")
        as_json = options["format"] == "json"
        if not options.get("yes", True):
            contents = deletion.contents(place)
            if as_json:
                counts = {words.lower().replace(" ", "_"): count for words, count in contents}
                self.stdout.write(json.dumps({"name": name, "done": False, "contents": counts}, indent=2))
                sys.exit(1)
            for words, count in contents:
                self.stdout.write(f"{count:>8,}  {words}")
            raise CommandError("Nothing was done. Add --yes to go on.")
        try:
            done = self._do(options["act"], actor, place)
        except AccessError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(json.dumps({"name": name, "done": True}) if as_json else done)

    def _do(self, act: str, actor: Any, place: Environment) -> str:
        if act == "delete":
            deletion.delete_environment(actor=actor, environment=place)
            return f"{place.name} is deleted. `keeper environments restore {place.name}` brings it back."
        if act == "restore":
            deletion.restore_environment(actor=actor, environment=place)
            return f"{place.name} is restored."
        deletion.purge(actor=actor, environment=place)
        return f"{place.name} is removed. Its events stay in the audit log."


def _row(place: Environment) -> dict[str, Any]:
    return {
        "name": place.name,
        "protected": place.protected,
        "deleted": place.deleted_at,
        "purge": deletion.purge_time(place),
    }
