"""What the screenshots show: three environments, two targets, a month of work, and a few things to do."""

from datetime import timedelta
from uuid import UUID

from audit_app.events.actions import Action, Outcome
from audit_app.events.actors import Actor, ActorKind
from audit_app.events.streams import environment_stream
from audit_app.recording.drafts import EventDraft
from audit_app.recording.recorder import record_many
from environments_app.models import Environment, Membership, Role, ServiceToken, User
from environments_app.tests.cast import Cast, make_cast
from environments_app.tokens.service import issue
from secrets_app.models import Secret
from secrets_app.services import write
from secrets_app.types.registry import SecretType
from sync_app.domain.delivery_state import DeliveryState
from sync_app.models import Plan, Target
from sync_app.tests.shown import make_entry, make_item, make_plan, make_target
from tools.sheet.clock import NOON, Clock

DEPLOY = Actor(kind=ActorKind.TOKEN, uuid=UUID(int=11), name="ci-deploy", address="10.0.3.17")
# name, type, owner, tags, written so many days ago, expires in so many days
PRODUCTION: tuple[tuple[str, str, str, list[str], int, int | None], ...] = (
    ("payments/db", "PASSWORD", "payments", ["postgres", "pci"], 130, None),
    ("payments/stripe-key", "API_KEY", "payments", ["pci"], 41, 22),
    ("payments/webhook-signing", "API_KEY", "payments", ["pci"], 112, None),
    ("search/index-key", "API_KEY", "search", [], 18, None),
    ("search/config", "JSON", "search", [], 9, None),
    ("mail/smtp", "PASSWORD", "platform", [], 205, None),
    ("platform/deploy-key", "TEXT", "platform", ["git"], 64, 9),
    ("platform/sentry-dsn", "API_KEY", "platform", [], 400, None),
    ("web/session-key", "TEXT", "web", [], 27, None),
    ("web/cookie-key", "TEXT", "web", [], 27, None),
    ("web/cdn-token", "API_KEY", "web", ["cdn"], 75, -2),
    ("data/warehouse", "PASSWORD", "data", ["snowflake"], 150, None),
    ("data/airflow-fernet", "TEXT", "data", [], 290, None),
)
OTHERS = ("payments/db", "payments/stripe-key", "search/config", "web/session-key", "mail/smtp")
VALUES = {"JSON": '{"workers": 4, "region": "eu-west-1", "index": "catalogue"}'}


class Scene:
    """A Keeper that was used for a while."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        clock.back(days=420)
        self.cast: Cast = make_cast()
        self.production, self.development = self.cast.production, self.cast.development
        self.staging = Environment.objects.create(name="staging", display_name="Staging", position=1)
        self.actor = self._people()
        self._secrets()
        self._tokens()
        self._month()
        clock.back()
        self.plan = self._deliveries()
        self.pages = {
            "dashboard": "/",
            "secrets": "/secrets?environment=production",
            "secret": f"/secrets/{self._secret('payments/db').pk}",
            "plan": f"/sync/plans/{self.plan.pk}",
            "activity": "/activity?environment=production",
            "environment": "/environments/production",
        }

    @property
    def viewer(self) -> User:
        """The user who looks at the pages."""
        return self.cast.alice

    def _people(self) -> User:
        for place, colour in (
            (self.development, "green"),
            (self.staging, "amber"),
            (self.production, "red"),
        ):
            place.colour = colour
            place.position = ("development", "staging", "production").index(place.name)
            place.save()
        alice = self.cast.alice
        Membership.objects.create(environment=self.staging, user=alice, role=Role.MANAGER)
        Membership.objects.create(environment=self.production, user=self.cast.bob, role=Role.READER)
        return alice

    def _secrets(self) -> None:
        oldest_first = sorted(PRODUCTION, key=lambda row: -row[4])
        for name, kind, owner, tags, days, expires in oldest_first:
            self.clock.back(days=days)
            self._keep(self.production, name, kind, owner=owner, tags=tags)
            if expires is not None:
                Secret.objects.filter(environment=self.production, name=name).update(
                    expires_at=NOON + timedelta(days=expires)
                )
        for place, days in ((self.staging, 90), (self.development, 120)):
            self.clock.back(days=days)
            for name in OTHERS:
                self._keep(place, name, "PASSWORD" if name.endswith("db") else "TEXT")
        for days, comment in ((30, "moved to the new cluster"), (3, "leaked in a log, changed at once")):
            self.clock.back(days=days)
            write.update(
                actor=self.cast.principal(self.actor),
                secret=self._secret("payments/db"),
                value=f"written-{days}-days-ago",
                comment=comment,
            )

    def _keep(self, place: Environment, name: str, kind: str, **metadata: object) -> None:
        write.create(
            actor=self.cast.principal(self.actor),
            environment=place,
            name=name,
            secret_type=SecretType(kind),
            value=VALUES.get(kind, f"the-value-of-{name.replace('/', '-')}"),
            **metadata,  # type: ignore[arg-type]
        )

    def _secret(self, name: str) -> Secret:
        return Secret.objects.select_related("environment").get(environment=self.production, name=name)

    def _tokens(self) -> None:
        self.clock.back(days=200)
        for name, place in (("ci-deploy", self.production), ("old-batch-job", self.staging)):
            end = NOON + timedelta(days=100)
            issue(
                actor=self.cast.principal(self.actor),
                environment=place,
                role="reader",
                name=name,
                expires_at=end,
            )
        ServiceToken.objects.filter(name="ci-deploy").update(last_used_at=NOON)

    def _month(self) -> None:
        """Let programs and people read, more on weekdays, and some of them be refused."""
        secrets = list(Secret.objects.filter(environment=self.production).order_by("name"))
        people = [self.cast.principal(user) for user in (self.cast.alice, self.cast.bob)]
        for day in range(29, -1, -1):
            self.clock.back(days=day, hours=1)
            busy = 9 + (day * 7) % 11 if self.clock.time.isoweekday() < 6 else 3
            reads = [(DEPLOY, secrets[(day + n) % len(secrets)], self.production) for n in range(busy)]
            reads += [(people[n % 2], secrets[(day * 3 + n) % 5], self.production) for n in range(day % 3)]
            record_many([self._read(*read) for read in reads])
            record_many([self._read(people[0], secrets[n], self.staging) for n in range(day % 4)])
            if day in {4, 5, 17}:
                vera = self.cast.principal(self.cast.vera)
                denied = self._read(vera, secrets[1], self.production, Outcome.DENIED)
                record_many([denied] * (day % 4 + 1))

    @staticmethod
    def _read(
        actor: Actor, secret: Secret, place: Environment, outcome: Outcome = Outcome.ALLOWED
    ) -> EventDraft:
        return EventDraft(
            actor=actor,
            action=Action.SECRET_REVEAL,
            stream=environment_stream(place.uuid),
            object=secret.audit_object,
            outcome=outcome,
        )

    def _deliveries(self) -> Plan:
        vault = make_target(
            self.production,
            "vault",
            destination={"address": "https://vault.example", "mount": "kv", "prefix": "prod"},
        )
        aws = make_target(
            self.production,
            "aws",
            backend="aws_secrets_manager",
            destination={"region": "eu-west-1", "prefix": "prod"},
            endpoint="https://secretsmanager.eu-west-1.amazonaws.com",
        )
        states = {
            "payments/stripe-key": DeliveryState.DRIFTED,
            "search/index-key": DeliveryState.CONFLICT,
            "payments/db": DeliveryState.PENDING,
        }
        self.clock.back(minutes=12)
        for name, *_ in PRODUCTION:
            secret = self._secret(name)
            state = states.get(name, DeliveryState.IN_SYNC)
            behind = 1 if state is DeliveryState.PENDING else 0
            make_entry(vault, secret, state, base_number=secret.current_number - behind)
            make_entry(aws, secret, DeliveryState.IN_SYNC, base_number=secret.current_number)
        self.clock.back()
        return self._planned(vault)

    def _planned(self, vault: Target) -> Plan:
        plan = make_plan(vault, counts={"unchanged": 9, "unmanaged": 17})
        make_item(plan, "web/cookie-key", "create", keeper_number=1)
        make_item(plan, "payments/db", "update", keeper_number=3, reason="Keeper has a newer version")
        make_item(
            plan,
            "search/index-key",
            "conflict",
            reason="changed on both sides",
            secret_uuid=self._secret("search/index-key").uuid,
            keeper_number=1,
            target_presence="present",
            target_version="4",
        )
        make_item(plan, "payments/stripe-key", "drifted", reason="changed in target")
        return plan
