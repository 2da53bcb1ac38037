"""Shows who and what has access to an environment, now or at the end of a day."""

from datetime import date
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit_app.errors import KeyringUnavailable
from core.errors import BadQuery
from core.listing import add_format, listing
from environments_app.approvals.program_releases import explain_all_access
from environments_app.authorization.principals import system_principal
from environments_app.environments.access_history import explain_past_access
from environments_app.environments.service import find_environment
from environments_app.errors import AccessError


class Command(BaseCommand):
    """What the page *Access* lists: people, tokens and trusts."""

    help = "Show who and what has access to an environment, and by what."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--environment", required=True)
        parser.add_argument(
            "--as-of",
            type=date.fromisoformat,
            metavar="DATE",
            help="at the end of this day, in UTC, by the audit log",
        )
        add_format(parser)

    def handle(self, *_args: Any, **options: Any) -> None:
        actor, day = system_principal(is_admin=True), options["as_of"]
        try:
            place = find_environment(actor=actor, name=options["environment"])
            ways = (
                explain_past_access(actor=actor, environment=place, day=day)
                if day
                else explain_all_access(actor=actor, environment=place)
            )
        except (AccessError, BadQuery, KeyringUnavailable) as error:
            raise CommandError(str(error)) from error
        rows = [
            {
                "kind": way.kind,
                "who": way.who,
                "reads": way.reads,
                "role": way.role,
                "path_prefix": way.prefix,
                "via": way.via,
                "granted_by": way.granted_by,
                "granted": way.granted_at,
                "expires": way.expires_at,
                "hindrances": way.hindrances,
            }
            for way in ways
        ]
        self.stdout.write(listing(rows, options["format"], nothing="Nobody."))
