"""Fills the demonstration: secrets, two targets in step, then a drift, a conflict, news and strangers.

Prints `name path` lines for what the demonstration wants to show.
"""

import os
import sys

import django
import hvac

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "keeper_project.settings")
django.setup()

from django.core.management import call_command  # noqa: E402  Django is set up first
from django.urls import reverse  # noqa: E402

from environments_app.authorization.policy import Principal  # noqa: E402
from environments_app.authorization.principals import system_principal, user_principal  # noqa: E402
from environments_app.environments.memberships import grant  # noqa: E402
from environments_app.environments.service import update_environment  # noqa: E402
from environments_app.models import Environment, Role, User  # noqa: E402
from environments_app.users.accounts import create_user  # noqa: E402
from keeper_project.runtime.database_setup import initialise  # noqa: E402
from secrets_app.models import Secret  # noqa: E402
from secrets_app.services import write  # noqa: E402
from secrets_app.types.registry import SecretType  # noqa: E402
from sync_app.models import Run, Target  # noqa: E402
from sync_app.planning import service as planning  # noqa: E402
from sync_app.runs import runner as runs_runner  # noqa: E402
from sync_app.targets import service as targets  # noqa: E402

PREFIX = "team"
SECRETS = {
    "payments/db": ("PASSWORD", "b7-quiet-harbour"),
    "payments/stripe-key": ("API_KEY", "sk_demo_4242"),
    "search/index-key": ("API_KEY", "idx-first"),
    "web/session-key": ("TEXT", "session-one"),
    "app/config": ("JSON", '{"workers": 4, "region": "eu-west-1"}'),
}


def main() -> None:
    """Seed everything."""
    call_command("migrate", verbosity=0)
    initialise(announce=lambda *_: None)
    admin = User.objects.get(username=os.environ["KEEPER_ADMIN_USERNAME"])
    place = Environment.objects.get(name="production")
    update_environment(actor=user_principal(admin), environment=place, colour="red")
    add_second_manager(user_principal(admin))
    Demonstration(user_principal(admin), place).build()


def add_second_manager(administrator: Principal) -> None:
    """Add a person whom the host made: they approve what the administrator asks, and the other way round."""
    password = os.environ["DEMO_SECOND_PASSWORD"]
    second = create_user(actor=system_principal(is_admin=True), username="lead", password=password)
    for place in Environment.objects.all():
        grant(actor=administrator, environment=place, user=second, role=Role.MANAGER)


class Demonstration:
    """What is made, by whom and where."""

    def __init__(self, actor: Principal, place: Environment) -> None:
        self.actor, self.place = actor, place
        self.vault = hvac.Client(
            url=os.environ["KEEPER_TEST_OPENBAO_URL"], token=os.environ["KEEPER_TEST_OPENBAO_TOKEN"]
        )

    def build(self) -> None:
        """Bring both targets in step, then let each side change."""
        for name, (kind, value) in SECRETS.items():
            self.keep(name, value, kind)
        vault, aws = self.vault_target(), self.aws_target()
        for target in (vault, aws):
            self.sync(target)
        # Behind Keeper's back.
        self.theirs("payments/stripe-key", "sk_demo_changed_by_hand")
        self.theirs("search/index-key", "idx-theirs")
        self.theirs("legacy/report-key", "somebody else's")
        self.theirs("mail/smtp", "smtp-password")
        # And in Keeper.
        self.keep("search/index-key", "idx-ours", "API_KEY")
        self.keep("payments/db", "c9-early-lantern", "PASSWORD")
        self.keep("web/session-key", "session-two", "TEXT")
        self.keep("app/config", '{"workers": 8, "region": "eu-west-1", "log_level": "info"}', "JSON")
        self.keep("web/cookie-key", "cookie-one", "TEXT")
        self.keep("mail/smtp", "smtp-password", "PASSWORD")
        plan = self.plan(vault)
        self.plan(aws)
        secret = Secret.objects.get(environment=self.place, name="payments/db")
        for name, path in {
            "plan": reverse("plan-detail", args=[plan]),
            "adopt": reverse("target-adopt", args=[vault.pk]),
            "secret": reverse("secret-detail", args=[secret.pk]),
            "notifications": reverse("notifications", args=[self.place.name]),
        }.items():
            sys.stdout.write(f"{name} {path}\n")

    def keep(self, name: str, value: str, kind: str) -> None:
        """Write a secret in Keeper."""
        write.put(
            actor=self.actor, environment=self.place, name=name, value=value, secret_type=SecretType(kind)
        )

    def theirs(self, name: str, value: str) -> None:
        """Write a secret in Vault as a user without Keeper would."""
        self.vault.secrets.kv.v2.create_or_update_secret(
            path=f"{PREFIX}/{name}", secret={"value": value}, mount_point="secret"
        )

    def vault_target(self) -> Target:
        """Create the target in OpenBao."""
        return targets.create(
            actor=self.actor,
            environment=self.place,
            name="vault",
            backend="vault_kv2",
            destination={"address": os.environ["KEEPER_TEST_OPENBAO_URL"], "prefix": PREFIX},
            credentials={"token": os.environ["KEEPER_TEST_OPENBAO_TOKEN"]},
            interval_seconds=0,
        )

    def aws_target(self) -> Target:
        """Create the target in moto."""
        url = os.environ["KEEPER_TEST_MOTO_URL"]
        return targets.create(
            actor=self.actor,
            environment=self.place,
            name="aws",
            backend="aws_secrets_manager",
            destination={"region": "eu-west-1", "prefix": "prod", "endpoint": url, "sts_endpoint": url},
            credentials={"access_key_id": "testing", "secret_access_key": "testing"},
            interval_seconds=0,
        )

    def sync(self, target: Target) -> None:
        """Plan and apply, here and now."""
        _executed(runs_runner.request_sync(actor=self.actor, target=target))

    def plan(self, target: Target) -> int:
        """Make a plan, here and now, and return its id."""
        run = _executed(planning.request_plan(actor=self.actor, target=target))
        assert run.plan_id, "a plan was asked for"
        return run.plan_id


def _executed(queued: Run) -> Run:
    run = runs_runner.execute(queued.pk)
    assert run is not None, "nobody else works here"
    assert run.state == "done", run.error
    return run


if __name__ == "__main__":
    main()
