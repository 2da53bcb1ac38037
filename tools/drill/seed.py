"""Fills the drill's installation with something of each kind that a restore has to bring back or suspend."""

import os
import sys

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "keeper_project.settings")
django.setup()

from django.core.management import call_command  # noqa: E402  Django is set up first

from environments_app.authorization.principals import system_principal, user_principal  # noqa: E402
from environments_app.models import Environment, Role, User  # noqa: E402
from environments_app.tokens.service import issue  # noqa: E402
from secrets_app.services import write  # noqa: E402
from secrets_app.types.registry import SecretType  # noqa: E402
from sync_app.tests.shown import make_entry, make_target  # noqa: E402
from tools.drill import SEEDED  # noqa: E402


def main() -> None:
    """Seed everything; print a line `role uuid token` for each of the tokens."""
    call_command("init_db", verbosity=0, stdout=sys.stderr)
    admin = user_principal(User.objects.get(username=os.environ["KEEPER_ADMIN_USERNAME"]))
    place = Environment.objects.get(name="development")
    for number in range(SEEDED):
        secret, _ = write.put(
            actor=admin,
            environment=place,
            name=f"seeded/{number}",
            value=f"seeded value {number}",
            secret_type=SecretType.TEXT,
        )
    make_entry(make_target(place), secret, "in_sync")
    for role in (Role.READER, Role.EDITOR):
        token, text = issue(
            actor=system_principal(is_admin=True), environment=place, role=role, name=f"drill {role}"
        )
        sys.stdout.write(f"{role} {token.uuid} {text}\n")


if __name__ == "__main__":
    main()
