"""Issues a service token from the host's shell."""

import json
import re
from argparse import ArgumentParser
from datetime import datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from core.canonical_json import utc_text
from core.listing import add_format
from environments_app.authorization.policy import Principal
from environments_app.authorization.principals import system_principal
from environments_app.environments.service import find_environment
from environments_app.errors import AccessError
from environments_app.models import Environment, Role, TokenRole
from environments_app.tokens.service import Lifetime, issue

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_MAX_DIGITS = 5


class Command(BaseCommand):
    help = "Issue a service token and print it on standard output, in a text alone; it is shown this once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--environment", help="the environment; left out for --role admin")
        parser.add_argument("--role", required=True, choices=[*Role.values, TokenRole.ADMIN.value])
        parser.add_argument("--name", required=True, help="who uses it; the audit log shows this name")
        parser.add_argument("--prefix", default="", help="only names under this prefix, by whole segments")
        parser.add_argument(
            "--expires-in", help="such as 12h, 90d, 8w or never; KEEPER_TOKEN_DEFAULT_DAYS if left out"
        )
        parser.add_argument(
            "--cidr", action="append", default=[], help="a network it may be used from; repeatable"
        )
        add_format(parser)

    def handle(self, *_args: Any, **options: Any) -> None:
        actor = system_principal(is_admin=True)
        try:
            token, text = issue(
                actor=actor,
                environment=_environment(actor, options["environment"], options["role"]),
                role=options["role"],
                name=options["name"],
                prefix=options["prefix"],
                cidrs=options["cidr"],
                expires_at=expiry_of(options["expires_in"]),
            )
        except AccessError as error:
            raise CommandError(str(error)) from error
        if options["format"] == "text":
            self.stdout.write(text)
            return
        expires_at = utc_text(token.expires_at) if token.expires_at else None
        issued = {"uuid": str(token.uuid), "name": token.name, "expires_at": expires_at, "token": text}
        self.stdout.write(json.dumps(issued, indent=2))


def _environment(actor: Principal, name: str | None, role: str) -> Environment | None:
    if (name is None) != (role == TokenRole.ADMIN):
        raise CommandError("Give --environment, except for --role admin, which has none.")
    return None if name is None else find_environment(actor=actor, name=name)


def expiry_of(text: str | None) -> datetime | Lifetime | None:
    if text is None:
        return Lifetime.DEFAULT
    if text == "never":
        return None
    match = re.fullmatch(rf"([1-9][0-9]{{0,{_MAX_DIGITS - 1}}})([mhdw])", text)
    if match is None:
        raise CommandError("Give --expires-in as a number and a unit, 30m, 12h, 90d or 8w, or as never.")
    return timezone.now() + timedelta(**{_UNITS[match[2]]: int(match[1])})
