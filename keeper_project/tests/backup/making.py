"""An installation with something of each kind in it, and its backup."""

from pathlib import Path

from environments_app.principals import system_principal
from environments_app.tests.cast import Cast
from environments_app.tokens import issue
from keeper_project.backup.writing import back_up
from secrets_app.tests.kept import change, keep
from sync_app.tests.shown import make_entry, make_target

OPERATOR = system_principal(is_admin=True)


def furnish(cast: Cast) -> None:
    """Keep secrets with history in two environments, a token, a target and an entry."""
    secret = keep(cast, "payments/key")
    change(cast, secret, "the second value of it")
    keep(cast, "other", "wert-\N{SNOWMAN}", environment=cast.production)
    issue(actor=OPERATOR, environment=cast.development, role="reader", name="build")
    make_entry(make_target(cast.development), secret, "in_sync")


def backup_of(cast: Cast, folder: Path) -> Path:
    """Return the backup of a furnished installation."""
    furnish(cast)
    return back_up(actor=OPERATOR, path=folder / "made.kbk").path
