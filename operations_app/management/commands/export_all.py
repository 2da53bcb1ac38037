"""Writes everything that Keeper holds in a form that other programs read, and compares such a file."""

import getpass
import json
import sys
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit_app.errors import KeyringUnavailable
from core.listing import add_format
from environments_app.authorization.principals import system_principal
from environments_app.models import Environment
from operations_app.backup.errors import BackupError
from operations_app.export_all import service
from operations_app.export_all.comparing import compare
from operations_app.export_all.errors import ExportError
from operations_app.export_all.reading import Reading
from operations_app.export_all.vault import CREDENTIALS, VaultMount
from operations_app.management.confirmation import ask_for_name
from secrets_app.errors import SecretError
from sync_app.errors import SyncError
from sync_app.migration.sources.keeper_export import KeeperExport

LEFT: Final = 3
_SHOWN: Final = 200


class Command(BaseCommand):
    help = (
        "Write all secrets with their versions: encrypted JSON Lines, a tree of dotenv files, or a Vault. "
        "Asks before. Exits with 0 if all living secrets are written, 3 if some are left out. "
        "`verify` compares a file with what is here, and exits with 3 if something differs."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        forms = parser.add_subparsers(dest="to", required=True)
        add = forms.add_parser("json", help="a file of JSON Lines, encrypted in the age format")
        add.add_argument("output", type=Path, help="the file to write; it must not exist")
        add.add_argument(
            "--age", action="append", default=[], metavar="RECIPIENT", help="encrypt to this age recipient"
        )
        add.add_argument(
            "--passphrase-file", type=Path, help="encrypt with the first line of this file (default: asks)"
        )
        add.add_argument("--plain", action="store_true", help="do not encrypt")
        add.add_argument("--versions", choices=["all", "current"], default="all")
        _add_common(add)
        add = forms.add_parser("dotenv", help="a folder with a .env file for each environment and folder")
        add.add_argument("output", type=Path, help="the folder to write; it must not exist")
        _add_common(add)
        add = forms.add_parser("vault", help="a KV version 2 mount of Vault or OpenBao")
        add.add_argument("address", help="such as https://vault.example:8200")
        add.add_argument("--mount", required=True, help="an empty KV version 2 mount")
        add.add_argument("--namespace", default="")
        add.add_argument("--approle-mount", default="approle")
        for each in CREDENTIALS:
            option = f"--{each.name.replace('_', '-')}-file"
            add.add_argument(option, dest=each.name, type=Path, help=f"file with the {each.label}")
        add.add_argument(
            "--continue", action="store_true", dest="goes_on", help="go on with an interrupted one"
        )
        _add_common(add)
        add = forms.add_parser("verify", help="compare a decrypted file of JSON Lines with what is here")
        add.add_argument("file", help="the file; no value is printed, and none of Keeper's is opened")
        add_format(add)

    def handle(self, *_args: Any, **options: Any) -> None:
        """Ask, write, and print the counts and what is left out; or compare a file."""
        if options["to"] == "verify":
            self._verify(options["file"], options["format"])
            return
        environments = _environments(options["environments"])
        act = {"json": self._json, "dotenv": self._dotenv, "vault": self._vault}[options["to"]]
        try:
            reading = act(environments, options)
        except (ExportError, BackupError, SecretError, SyncError, KeyringUnavailable) as error:
            raise CommandError(str(error)) from error
        if options["format"] == "json":
            counts = {"secrets": reading.secrets, "versions": reading.versions}
            names = {"left_out": reading.left_out, "deleted": reading.deleted}
            self.stdout.write(json.dumps(counts | names, indent=2))
        else:
            self.stdout.write(f"{reading.secrets:,} secrets, {reading.versions:,} versions.")
            self._list("left out", reading.left_out, "living secrets are left out.")
            self._list(
                "deleted", reading.deleted, "deleted secrets are not exported: restore one to take it along."
            )
        if reading.left_out or (options["strict"] and reading.deleted):
            sys.exit(LEFT)

    def _verify(self, file: str, form: str) -> None:
        try:
            with KeeperExport(settings={"file": file}, credentials={}) as export:
                found = compare(export)
        except (SyncError, KeyringUnavailable) as error:
            raise CommandError(str(error)) from error
        if form == "json":
            self.stdout.write(json.dumps(asdict(found), indent=2))
        else:
            self.stdout.write(f"{found.secrets:,} secrets, {found.versions:,} versions in the file.")
            self._list("differs", found.differences, "differences.")
        if found.differences:
            sys.exit(LEFT)

    def _list(self, what: str, names: Sequence[str], summary: str) -> None:
        for name in names[:_SHOWN]:
            self.stdout.write(f"  {what}: {name}")
        if names:
            self.stdout.write(f"{len(names):,} {summary}")

    def _json(self, environments: Sequence[Environment], options: Mapping[str, Any]) -> Reading:
        passphrase = _passphrase(options)
        self._ask(environments, f"{options['output']}{', not encrypted' if options['plain'] else ''}")
        return service.to_json(
            actor=system_principal(is_admin=True),
            environments=environments,
            path=options["output"],
            every_version=options["versions"] == "all",
            recipients=options["age"],
            passphrase=passphrase,
            is_plain=options["plain"],
        )

    def _dotenv(self, environments: Sequence[Environment], options: Mapping[str, Any]) -> Reading:
        self._ask(environments, f"{options['output']}, not encrypted")
        return service.to_dotenv(
            actor=system_principal(is_admin=True), environments=environments, path=options["output"]
        )

    def _vault(self, environments: Sequence[Environment], options: Mapping[str, Any]) -> Reading:
        names = ("address", "namespace", "approle_mount")
        credentials = {each.name: _text(options[each.name]) for each in CREDENTIALS}
        self._ask(environments, f"{options['mount']} of {options['address']}")
        with VaultMount(
            settings={name: options[name] for name in names},
            mount=options["mount"],
            credentials=credentials,
        ) as mount:
            return service.to_vault(
                actor=system_principal(is_admin=True),
                environments=environments,
                mount=mount,
                goes_on=options["goes_on"],
            )

    def _ask(self, environments: Sequence[Environment], where: str) -> None:
        names = ", ".join(each.name for each in environments)
        self.stderr.write(f"All values of {names} are written to {where}. Their managers are notified.")
        ask_for_name()


def _add_common(parser: ArgumentParser) -> None:
    add_format(parser)
    parser.add_argument("--strict", action="store_true", help="exit with 3 for deleted secrets as well")
    parser.add_argument(
        "--environment", action="append", default=[], dest="environments", help="only this one (default: all)"
    )


def _environments(names: Sequence[str]) -> list[Environment]:
    rows = Environment.objects.order_by("position", "name")
    found = list(rows.filter(name__in=names) if names else rows)
    if missing := {*names} - {each.name for each in found}:
        raise CommandError(f"There is no environment {', '.join(sorted(missing))}.", returncode=2)
    if not found:
        raise CommandError("There is no environment.", returncode=2)
    return found


def _passphrase(options: Mapping[str, Any]) -> str:
    """Return the passphrase that encrypts the file; empty if recipients do, or nothing."""
    file, recipients, is_plain = options["passphrase_file"], options["age"], options["plain"]
    if sum(map(bool, (file, recipients, is_plain))) > 1:
        raise CommandError("Give one of --age, --passphrase-file and --plain.", returncode=2)
    if recipients or is_plain:
        return ""
    if file:
        return _text(file).partition("\n")[0]
    if not sys.stdin.isatty():
        raise CommandError("Give --age, --passphrase-file or --plain.", returncode=2)
    passphrase = getpass.getpass("Passphrase: ")
    if getpass.getpass("Again: ") != passphrase:
        raise CommandError("The passphrases differ. Nothing was written.")
    return passphrase


def _text(file: Path | None) -> str:
    if file is None:
        return ""
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{file} cannot be read: {type(error).__name__}", returncode=2) from error
