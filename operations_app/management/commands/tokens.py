"""Lists service and personal tokens, finds whose a token is, and revokes one."""

import getpass
import json
import sys
from collections.abc import Iterator
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from core.listing import add_format, listing
from environments_app.authorization.policy import Principal
from environments_app.authorization.principals import system_principal
from environments_app.environments.service import find_environment
from environments_app.errors import AccessError, BadToken
from environments_app.models import PersonalToken, ServiceToken
from environments_app.sessions.service import revoke_token
from environments_app.tokens.authentication import check_secret, parse
from environments_app.tokens.personal import parse_personal
from environments_app.tokens.service import revoke

AnyToken = ServiceToken | PersonalToken


class Command(BaseCommand):
    """Shows no secret: a token is read from standard input, never from an argument."""

    help = "List tokens, find whose a token is, or revoke one at once."

    def add_arguments(self, parser: CommandParser) -> None:
        acts = parser.add_subparsers(dest="act", required=True)
        shown = acts.add_parser("list", help="list tokens; those that have ended only with --all")
        shown.add_argument("--environment", help="this environment only")
        shown.add_argument("--all", action="store_true", help="with revoked, suspended and expired ones")
        add_format(shown)
        add_format(acts.add_parser("find", help="read a token from standard input, and show whose it is"))
        revoked = acts.add_parser("revoke", help="revoke a token at once")
        revoked.add_argument("uuid", type=UUID, help="its uuid, as listed")
        add_format(revoked)

    def handle(self, *_args: Any, **options: Any) -> None:
        actor, as_json = system_principal(is_admin=True), options["format"] == "json"
        try:
            if options["act"] == "list":
                rows = [
                    _row(each)
                    for each in _tokens(actor, options["environment"])
                    if options["all"] or each.is_live
                ]
                self.stdout.write(listing(rows, options["format"], nothing="No tokens."))
            elif options["act"] == "find":
                self.stdout.write(listing([_row(_given())], options["format"], nothing=""))
            else:
                _revoke(actor, options["uuid"])
                self.stdout.write(json.dumps({"revoked": str(options["uuid"])}) if as_json else "Revoked.")
        except AccessError as error:
            raise CommandError(str(error)) from error


def _tokens(actor: Principal, name: str | None) -> Iterator[AnyToken]:
    for kind in (ServiceToken, PersonalToken):
        rows = kind.objects.select_related("environment").order_by("pk")
        if name:
            rows = rows.filter(environment=find_environment(actor=actor, name=name))
        yield from rows.iterator()


def _row(token: AnyToken) -> dict[str, Any]:
    person = token.user.username if isinstance(token, PersonalToken) else None
    return {
        "uuid": token.uuid,
        "kind": "personal" if person else "service",
        "name": token.name,
        "person": person,
        "environment": token.environment.name if token.environment else None,
        "role": token.role if isinstance(token, ServiceToken) else None,
        "prefix": token.prefix or None,
        "live": token.is_live,
        "authentic": token.is_authentic(),
        "issued_at": token.created_at,
        "expires_at": token.expires_at,
        "last_used_at": token.last_used_at,
        "last_used_from": token.last_used_address or None,
        "revoked_at": token.revoked_at,
    }


def _given() -> AnyToken:
    """Return the token whose text standard input holds; it is no use of it. Raises CommandError."""
    text = (getpass.getpass("Token: ") if sys.stdin.isatty() else sys.stdin.readline()).strip()
    for kind, parsed in ((ServiceToken, parse), (PersonalToken, parse_personal)):
        try:
            public_id, secret = parsed(text)
        except BadToken:
            continue
        token = kind.objects.select_related("environment").filter(public_id=public_id).first()
        try:
            check_secret(token, secret)
        except BadToken as error:
            raise CommandError("Keeper issued no such token.") from error
        if token:
            return token
    raise CommandError("This is no token of Keeper: one begins with kpr_ or kpu_.")


def _revoke(actor: Principal, uuid: UUID) -> None:
    """End a token of either kind. Raises CommandError, and what `revoke` raises."""
    if token := ServiceToken.objects.select_related("environment").filter(uuid=uuid).first():
        revoke(actor=actor, token=token)
    elif personal := PersonalToken.objects.select_related("user").filter(uuid=uuid).first():
        revoke_token(actor=actor, token=personal)
    else:
        raise CommandError("There is no token of this uuid: see `keeper tokens list --all`.")
