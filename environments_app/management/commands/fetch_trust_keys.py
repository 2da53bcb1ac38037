"""Fetches the keys of a trust's issuer from the host's shell."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from core.errors import KeeperError
from core.listing import add_format
from environments_app.authorization.principals import system_principal
from environments_app.models import Trust
from environments_app.trusts.service import fetch_keys_now


class Command(BaseCommand):
    help = "Fetch the keys of a trust's issuer now; a key that it has removed is accepted no longer."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="the name of the trust")
        add_format(parser)

    def handle(self, *_args: Any, **options: Any) -> None:
        trust = Trust.objects.select_related("environment").filter(name=options["name"]).first()
        if trust is None:
            raise CommandError("There is no trust of this name.")
        try:
            fetch_keys_now(actor=system_principal(is_admin=True), trust=trust)
        except KeeperError as error:
            raise CommandError(str(error)) from error
        if options["format"] == "json":
            self.stdout.write(json.dumps({"name": trust.name, "issuer": trust.issuer}))
            return
        self.stdout.write(f"Fetched the keys of {trust.issuer}.")
