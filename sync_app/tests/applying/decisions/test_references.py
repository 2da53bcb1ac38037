"""References: filled in when delivered, never stored filled in, and refused before anything is written."""

from collections.abc import Callable
from typing import Any

import pytest

from audit_app.models import AuditEvent, ReadManifestItem
from audit_app.tests.trail import take_away
from environments_app.environments.memberships import grant
from environments_app.models import Membership
from environments_app.tests.cast import Cast
from secrets_app.errors import InvalidInput, InvalidValue
from secrets_app.models import Reference, Secret, SecretVersion
from secrets_app.services import decoys, lifecycle, write
from secrets_app.services.read import reveal
from secrets_app.types.registry import SecretType
from sync_app.backends.vault.tests.world import VaultWorld
from sync_app.models import ReferenceConsent
from sync_app.runs import schedule
from sync_app.targets import consents
from sync_app.tests.applying.stage import Stage

pytestmark = pytest.mark.every_database_weekly
ADDRESS = "postgres://app:${production/db/password}@${development/db/host}/app"


class References(Stage):
    """A target of development, and secrets of production that alice may reveal there."""

    def __init__(self, cast: Cast, world: VaultWorld, **rules: Any) -> None:
        super().__init__(cast, world, **rules)
        self.production = cast.production
        self.there("db/password", "hunter2")
        self.keep("db/host", "db.internal")

    def there(self, name: str, value: str) -> Secret:
        secret, _ = write.put(
            actor=self.alice,
            environment=self.production,
            name=name,
            value=value,
            secret_type=SecretType.TEXT,
        )
        return secret

    def refer(self, name: str, value: str, *, by: Any = None, **fields: Any) -> Secret:
        secret, _ = write.put(
            actor=by or self.alice,
            environment=self.environment,
            name=name,
            value=value,
            secret_type=fields.pop("secret_type", SecretType.TEXT),
            uses_references=True,
        )
        return secret

    def consent(self, prefix: str = "") -> ReferenceConsent:
        return consents.give_consent(
            actor=self.alice, environment=self.production, target=self.target, prefix=prefix
        )


@pytest.fixture
def stage(cast: Cast, vault: VaultWorld) -> References:
    Membership.objects.get_or_create(
        user=cast.alice, environment=cast.production, defaults={"role": "manager"}
    )
    return References(cast, vault)


def values_kept(stage: References) -> list[str]:
    """Return every value that Keeper holds of the environment."""
    versions = SecretVersion.objects.filter(secret__environment=stage.environment)
    return [
        reveal(actor=stage.alice, secret=version.secret, number=version.number).value
        for version in versions.select_related("secret__environment")
    ]


def test_they_are_filled_in_when_it_is_delivered_and_never_stored(stage: References) -> None:
    stage.refer("app/url", ADDRESS)
    stage.consent()
    plan = stage.sync()
    assert plan.counts == {"create": 2}
    assert stage.theirs("app/url") == "postgres://app:hunter2@db.internal/app"
    assert stage.value("app/url") == ADDRESS
    assert not any("hunter2" in value for value in values_kept(stage))
    assert stage.sync().counts == {"unchanged": 2}


def test_the_reads_are_recorded_on_both_sides(stage: References) -> None:
    secret = stage.refer("app/url", ADDRESS)
    stage.consent()
    stage.sync()
    source = Secret.objects.get(name="db/password")
    events = AuditEvent.objects.filter(action="secret.deliver", outcome="allowed")
    here = events.get(stream=f"environment:{stage.environment.uuid}")
    there = events.get(stream=f"environment:{stage.production.uuid}")
    manifests = {event: set(_listed(event)) for event in (here, there)}
    assert {secret.uuid, source.uuid} < manifests[here]
    assert manifests[there] == {source.uuid}


def _listed(event: AuditEvent) -> list[Any]:
    return list(
        ReadManifestItem.objects.filter(manifest=event.manifest).values_list("secret_uuid", flat=True)
    )


def test_a_change_of_a_source_reaches_who_names_it(stage: References) -> None:
    stage.rules(automatic=True)
    stage.refer("app/url", ADDRESS)
    stage.refer("app/nested", "see ${development/app/url}")
    stage.consent()
    stage.sync()
    assert stage.theirs("app/nested") == "see postgres://app:hunter2@db.internal/app"
    stage.there("db/password", "correct-horse")
    plan = stage.sync(rest=True)
    assert stage.items(plan) == {"app/url": ("update", "done"), "app/nested": ("update", "done")}
    assert stage.theirs("app/nested") == "see postgres://app:correct-horse@db.internal/app"
    # The pass is brought forward by the change itself, and by no change of what is not named.
    stage.rules(due_at=None)
    schedule.schedule_environment(stage.production.pk, ["db/username"])
    assert stage.fresh().due_at is None
    schedule.schedule_environment(stage.production.pk, ["db/username", "db/password"])
    assert stage.fresh().due_at is not None


def test_without_the_choice_text_stays_literal(stage: References) -> None:
    stage.keep("app/url", ADDRESS)
    stage.consent()
    stage.sync()
    assert stage.theirs("app/url") == ADDRESS
    assert not Reference.objects.exists()


def test_what_is_taken_in_stays_literal(stage: References) -> None:
    stage.rules(direction="both", conflict="target_wins")
    stage.consent()
    stage.edit("app/theirs", "${production/db/password}")
    stage.refer("app/url", ADDRESS)
    stage.sync()
    assert stage.value("app/theirs") == "${production/db/password}"
    assert not stage.secret("app/theirs").uses_references
    # Neither is anything taken into one that resolves.
    stage.edit("app/url", "${production/db/password}")
    plan = stage.sync()
    assert stage.items(plan) == {"app/url": ("refused", "skipped")}
    assert "only pushed" in stage.entry("app/url").reason
    assert stage.value("app/url") == ADDRESS


def _source_gone(stage: References) -> None:
    lifecycle.delete(actor=stage.alice, secret=Secret.objects.get(name="db/password"))


def _source_made_a_decoy(stage: References) -> None:
    decoys.make_decoy(actor=stage.alice, secret=Secret.objects.get(name="db/password"))


def _writer_lost_the_right(stage: References) -> None:
    take_away(Membership.objects.filter(user=stage.cast.alice, environment=stage.production))


def _consent_withdrawn(stage: References) -> None:
    consents.withdraw_consent(actor=stage.alice, consent=ReferenceConsent.objects.get())


def _consent_for_something_else(stage: References) -> None:
    _consent_withdrawn(stage)
    stage.consent("cache")


def _consent_forged(stage: References) -> None:
    ReferenceConsent.objects.update(prefix="db", row_mac=b"x" * 48)


def _source_forged(stage: References) -> None:
    Secret.objects.filter(name="db/password").update(secret_type="JSON")


def _led_in_a_circle(stage: References) -> None:
    # Not by the use cases, which refuse it: by one who writes to the database.
    host = stage.refer("db/host", "literal")
    Reference.objects.create(secret=host, environment="development", name="app/url")


REFUSALS: dict[Callable[[References], None], str] = {
    _source_gone: "reference 1 names no secret that exists",
    # In the words of the next one: they do not tell that it is a decoy.
    _source_made_a_decoy: "reference 1 names a secret that its writer may not reveal",
    _writer_lost_the_right: "reference 1 names a secret that its writer may not reveal",
    _consent_withdrawn: "has not consented to this target",
    _consent_for_something_else: "has not consented to this target",
    _consent_forged: "has not consented to this target",
    _source_forged: "reference 1 names a secret whose record was changed outside Keeper",
    _led_in_a_circle: "reference 2 leads in a circle",
}


@pytest.mark.parametrize("early", [True, False], ids=["before the plan", "after the plan"])
@pytest.mark.parametrize("happens", REFUSALS)
def test_it_is_refused_before_anything_is_written(
    stage: References, happens: Callable[[References], None], early: bool
) -> None:
    stage.consent()
    stage.refer("app/url", ADDRESS)
    if early:
        happens(stage)
        plan = stage.sync()
        assert stage.items(plan)["app/url"] == ("refused", "skipped")
        assert REFUSALS[happens] in plan.items.get(name="app/url").reason
    else:
        plan = stage.plan()
        happens(stage)
        stage.apply(plan)
        assert stage.items(plan)["app/url"] == ("create", "skipped")
        reason = plan.items.get(name="app/url").error
        assert REFUSALS[happens] in reason or "changed in Keeper" in reason
    if REFUSALS[happens] in stage.entry("app/url").reason:
        assert stage.entry("app/url").state == "refused"
    assert stage.world.labels_or_none(stage.path("app/url")) is None
    assert "hunter2" not in "".join(values_kept(stage))


def test_a_value_that_names_more_than_was_noted_is_refused(stage: References) -> None:
    stage.consent()
    stage.refer("app/url", ADDRESS)
    Reference.objects.filter(name="db/password").delete()
    plan = stage.sync()
    assert stage.items(plan)["app/url"] == ("create", "skipped")
    assert "other secrets than were noted" in stage.entry("app/url").reason
    assert stage.world.labels_or_none(stage.path("app/url")) is None


def test_only_who_may_reveal_the_source_may_name_it(stage: References) -> None:
    erin = stage.cast.principal(stage.cast.erin)
    for name in ("db/password", "db/none"):
        with pytest.raises(InvalidValue, match="not found, or you can't reveal it"):
            stage.refer("app/url", f"${{production/{name}}}", by=erin)
    denied = AuditEvent.objects.filter(action="secret.reveal", outcome="denied")
    assert denied.count() == 2
    assert not Secret.objects.filter(name="app/url").exists()
    # Nor does an edit by somebody without the right pass under the name of who had it.
    stage.refer("app/url", "${production/db/password}")
    with pytest.raises(InvalidValue):
        stage.refer("app/url", "x${production/db/password}", by=erin)
    write.update(actor=erin, secret=stage.secret("app/url"), description="hers")
    assert stage.secret("app/url").resolves_as == f"user:{stage.cast.alice.uuid}"


def test_one_on_the_way_needs_its_own_writers_right(stage: References) -> None:
    grant(actor=stage.alice, environment=stage.production, user=stage.cast.erin, role="reader")
    stage.refer("app/inner", "${production/db/password}", by=stage.cast.principal(stage.cast.erin))
    stage.refer("app/outer", "<${development/app/inner}>")
    stage.consent()
    stage.sync()
    assert stage.theirs("app/outer") == "<hunter2>"
    take_away(Membership.objects.filter(user=stage.cast.erin, environment=stage.production))
    stage.there("db/password", "correct-horse")
    assert stage.sync(rest=True).counts["refused"] == 2
    assert stage.theirs("app/outer") == "<hunter2>"


def test_what_is_filled_in_is_not_looked_at_again(stage: References) -> None:
    stage.consent()
    stage.there("db/password", "${development/db/host}")
    stage.refer("app/url", "${production/db/password}")
    stage.sync()
    assert stage.theirs("app/url") == "${development/db/host}"


def test_in_json_it_stays_inside_its_string(stage: References) -> None:
    stage.consent()
    stage.there("db/password", 'a"b\nc')
    stage.refer("app/json", '{"password": "${production/db/password}"}', secret_type=SecretType.JSON)
    stage.sync()
    assert stage.theirs("app/json") == '{"password": "a\\"b\\nc"}'


def test_a_value_that_becomes_too_long_is_refused(stage: References) -> None:
    stage.consent()
    stage.there("db/password", "x" * 40_000)
    stage.refer("app/url", "${production/db/password}${production/db/password}")
    plan = stage.sync()
    assert stage.items(plan)["app/url"] == ("create", "skipped")
    assert "does not fit" in stage.entry("app/url").reason


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("${Production/db}", "Reference 1: use the form"),
        ("${HOME} ${production/}", "Reference 1: use the form"),
        ("${development/app/url}", "not found, or you can't reveal it"),
        ("".join(f"${{a/{number}}}" for number in range(21)), "at most 20"),
    ],
)
def test_what_is_no_reference_is_refused_when_written(stage: References, value: str, words: str) -> None:
    with pytest.raises(InvalidValue, match=words):
        stage.refer("app/url", value)


def test_a_circle_is_refused_when_written(stage: References) -> None:
    stage.refer("app/one", "${development/db/host}")
    stage.refer("app/two", "${development/app/one}")
    with pytest.raises(InvalidValue, match="leads back"):
        stage.refer("app/one", "${development/app/two}")


def test_the_choice_needs_the_value_and_a_type_that_has_room_for_it(stage: References) -> None:
    secret = stage.keep("app/url", ADDRESS)
    with pytest.raises(InvalidInput, match="Give the value along"):
        write.update(actor=stage.alice, secret=secret, uses_references=True)
    with pytest.raises(InvalidInput, match="Only passwords"):
        stage.refer("app/yaml", "a: b", secret_type=SecretType.YAML)
    changed = write.update(actor=stage.alice, secret=secret, value=ADDRESS, uses_references=True)
    assert changed.uses_references
    write.update(actor=stage.alice, secret=changed, uses_references=False)
    assert not Reference.objects.exists()


def test_old_text_is_looked_at_again_when_it_is_rolled_back_to(stage: References) -> None:
    secret = stage.refer("app/url", "${production/db/password}")
    stage.refer("app/url", "none")
    erin = stage.cast.principal(stage.cast.erin)
    with pytest.raises(InvalidValue):
        write.rollback(actor=erin, secret=stage.secret("app/url"), number=1)
    write.rollback(actor=stage.alice, secret=stage.secret("app/url"), number=1)
    assert [str(row) for row in secret.references.all()] == ["production/db/password"]


def test_who_resolves_cannot_be_changed_in_the_database(stage: References) -> None:
    stage.consent()
    erin = stage.cast.principal(stage.cast.erin)
    stage.refer("app/url", "literal", by=erin)
    Secret.objects.filter(name="app/url").update(resolves_as=f"user:{stage.cast.alice.uuid}")
    assert stage.items(stage.sync())["app/url"] == ("refused", "skipped")
