"""Creates a trust from the host's shell, for the workloads of a platform."""

import json
import sys
from argparse import ArgumentParser, BooleanOptionalAction
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from core.canonical_json import utc_text
from core.listing import add_format
from environments_app.authorization.principals import system_principal
from environments_app.environments.service import find_environment
from environments_app.errors import AccessError
from environments_app.management.commands.issue_token import expiry_of
from environments_app.models import TrustAlgorithm, TrustPreset, TrustRole
from environments_app.trusts.service import create

# Options that are fields of a trust, where they are given.
_OPTIONAL = (
    "issuer",
    "audience",
    "algorithm",
    "jwks_url",
    "lifetime_minutes",
    "max_age_minutes",
    "single_use",
)


class Command(BaseCommand):
    help = "Create a trust, by which workloads of a platform sign in with the tokens that it signs."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--environment", required=True, help="the environment whose secrets they use")
        parser.add_argument("--preset", required=True, choices=TrustPreset.values, help="the platform")
        parser.add_argument("--name", required=True, help="by which workloads sign in")
        parser.add_argument("--role", required=True, choices=TrustRole.values)
        parser.add_argument(
            "--claim", action="append", default=[], metavar="NAME=VALUE", help="a claim to demand; repeatable"
        )
        parser.add_argument("--prefix", default="", help="only names under this prefix, by whole segments")
        parser.add_argument("--issuer", help="where the preset's is not the one")
        parser.add_argument("--audience", help="KEEPER_URL if left out")
        parser.add_argument("--algorithm", choices=TrustAlgorithm.values)
        parser.add_argument("--jwks-url", help="the address of the issuer's keys, if it is not discovered")
        parser.add_argument("--jwks-file", help="a file with the issuer's public keys; - for standard input")
        parser.add_argument("--lifetime-minutes", type=int, help="of tokens, 15 to 60")
        parser.add_argument("--max-age-minutes", type=int, help="within which a JWT must have been issued")
        parser.add_argument(
            "--expires-in", help="such as 12h, 90d, 8w or never; KEEPER_TOKEN_DEFAULT_DAYS if left out"
        )
        parser.add_argument(
            "--single-use",
            action=BooleanOptionalAction,
            help="whether each JWT is accepted once; the preset's choice if left out",
        )
        parser.add_argument(
            "--allow-pull-request-target",
            action="store_true",
            help="let GitHub workflows that run for pull_request_target sign in",
        )
        parser.add_argument(
            "--cidr", action="append", default=[], help="a network to sign in from; repeatable"
        )
        add_format(parser)

    def handle(self, *_args: Any, **options: Any) -> None:
        actor = system_principal(is_admin=True)
        fields = {name: options[name] for name in _OPTIONAL if options[name] is not None}
        if options["jwks_file"]:
            fields["jwks"] = _read(options["jwks_file"])
        try:
            trust = create(
                actor=actor,
                environment=find_environment(actor=actor, name=options["environment"]),
                preset=options["preset"],
                name=options["name"],
                role=options["role"],
                claims=_claims(options["claim"]),
                prefix=options["prefix"],
                cidrs=options["cidr"],
                allows_pull_request_target=options["allow_pull_request_target"],
                expires_at=expiry_of(options["expires_in"]),
                **fields,
            )
        except AccessError as error:
            raise CommandError(str(error)) from error
        if options["format"] == "text":
            self.stdout.write(trust.name)
            return
        expires_at = utc_text(trust.expires_at) if trust.expires_at else None
        made = {"uuid": str(trust.uuid), "name": trust.name, "expires_at": expires_at}
        self.stdout.write(json.dumps(made, indent=2))


def _claims(pairs: list[str]) -> dict[str, str]:
    split = [pair.partition("=") for pair in pairs]
    if not all(equals and name for name, equals, _ in split) or len({name for name, _, _ in split}) < len(
        split
    ):
        raise CommandError("Give each claim once, as --claim NAME=VALUE.")
    return {name: value for name, _, value in split}


def _read(place: str) -> str:
    try:
        return sys.stdin.read() if place == "-" else Path(place).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError("The file of keys cannot be read.") from error
