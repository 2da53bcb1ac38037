"""Exports everything: to a file of JSON Lines, a tree of dotenv files, or a Vault."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from django.db import transaction
from django.utils import timezone

from audit_app.models import deployment_uuid
from environments_app.approvals.approvers import possible_managers
from environments_app.authorization.policy import Principal
from environments_app.models import Environment
from environments_app.notifications.service import message_users
from operations_app.backup.archive.format import new_file
from operations_app.export_all import age
from operations_app.export_all.dotenv_tree import new_tree
from operations_app.export_all.errors import ExportError
from operations_app.export_all.json_lines import JsonLines
from operations_app.export_all.reading import Reading, Whole
from operations_app.export_all.vault import VaultMount

KIND: Final = "export-all"
_OTHERS: Final = 0o007


def to_json(
    *,
    actor: Principal,
    environments: Sequence[Environment],
    path: Path,
    every_version: bool,
    recipients: Sequence[str] = (),
    passphrase: str = "",
    is_plain: bool = False,
) -> Reading:
    """Write a file of `keeper-export/1`, encrypted to recipients or by a passphrase unless it is plain.

    The file appears when all of it is on disk. Raises ExportError, Unwritable, Forbidden, KeyUnavailable.
    """
    if is_plain:
        _require_private(path.parent)
    elif not recipients:
        age.require_passphrase(passphrase)
    for recipient in recipients:
        age.public_key(recipient)
    reading = Reading(actor, every_version=every_version, details={"to": "json", "file": path.name[:200]})
    _tell(environments, f"the file {path.name}"[:200])
    with _failure_recorded(reading), new_file(path) as file:
        sealed = None if is_plain else age.begin(file, recipients=recipients, passphrase=passphrase)
        lines = JsonLines(sealed or file)
        lines.begin(
            deployment=deployment_uuid(),
            at=timezone.now(),
            environments=[each.name for each in environments],
            every_version=every_version,
        )
        _each(reading, environments, lines.add)
        lines.finish([*reading.left_out, *(f"{name} (deleted)" for name in reading.deleted)])
        if sealed is not None:
            sealed.finish()
    return reading


def to_dotenv(*, actor: Principal, environments: Sequence[Environment], path: Path) -> Reading:
    """Write a folder of dotenv files with the current values; what has no place in one counts as left out.

    The folder appears when all of it is on disk. Raises ExportError, Forbidden, KeyUnavailable.
    """
    _require_private(path.parent)
    reading = Reading(actor, every_version=False, details={"to": "dotenv", "file": path.name[:200]})
    _tell(environments, f"the folder {path.name}"[:200])
    with _failure_recorded(reading), new_tree(path) as tree:
        for environment in environments:
            _each(reading, [environment], tree.add)
            tree.end_environment()
        reading.left_out += tree.refused
    return reading


def to_vault(
    *, actor: Principal, environments: Sequence[Environment], mount: VaultMount, goes_on: bool
) -> Reading:
    """Write each secret with its versions into a mount; an interrupted one goes on with `goes_on`.

    Raises ExportError, a BackendError, Forbidden, KeyUnavailable.
    """
    if not goes_on:
        mount.require_empty()
    reading = Reading(
        actor,
        every_version=True,
        details={"to": "vault", "address": mount.address, "mount": mount.mount},
    )
    _tell(environments, f"the mount {mount.mount} of {mount.address}"[:200])
    with _failure_recorded(reading):
        _each(reading, environments, mount.write)
    return reading


@contextmanager
def _failure_recorded(reading: Reading) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        reading.record_failure(error)
        raise


def _each(reading: Reading, environments: Sequence[Environment], take: Callable[[Whole], Any]) -> None:
    for environment in environments:
        for whole in Reading.of(reading, environment):
            take(whole)


def _require_private(folder: Path) -> None:
    """Refuse a folder that other accounts of the host may look into or write to."""
    while not folder.exists():
        folder = folder.parent
    if folder.stat().st_mode & _OTHERS:
        raise ExportError(f"Other accounts can use {folder}. Name a folder of mode 700, or encrypt.")


def _tell(environments: Sequence[Environment], where: str) -> None:
    """Notify the managers of each environment, and administrators, before anything is read."""
    with transaction.atomic():
        for environment in environments:
            people = possible_managers(environment).exclude(email="")
            message_users(
                people=list(people.values_list("uuid", flat=True)),
                environment=environment,
                kind=KIND,
                subject=f"All secrets of {environment.name} are exported"[:200],
                lines=[
                    f"An operator on Keeper's host exports them to {where}.",
                    "If you do not know why, ask who operates Keeper, and replace the values.",
                ],
            )
