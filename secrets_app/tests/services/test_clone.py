"""A clone takes settings and, where every guard of a bulk read lets it, the secrets; what changes meanwhile counts."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from django.test import Client

from audit_app.models import AuditEvent
from environments_app.environments.service import create_environment
from environments_app.errors import ConfirmationNeeded, Conflict, Forbidden, NameInUse
from environments_app.models import Environment, Membership, Role, User, UserRole
from environments_app.tests.cast import Cast
from secrets_app.errors import SecretError
from secrets_app.models import Secret
from secrets_app.services import clone as service
from secrets_app.services import lifecycle, write
from secrets_app.services.clone import clone_environment
from secrets_app.services.read import reveal, reveal_environment
from secrets_app.types.registry import SecretType

SignedIn = Callable[[User], Client]
VALUES = {"app/key": "s3cr3t-Kx9", "db": "two\nlines"}


@pytest.fixture
def stored(cast: Cast) -> Cast:
    """Alice manages both environments and administers."""
    cast.alice.role = UserRole.ADMIN
    cast.alice.save()
    for name, value in VALUES.items():
        write.create(
            actor=cast.principal(cast.alice),
            environment=cast.development,
            name=name,
            secret_type=SecretType.TEXT,
            value=value,
            tags=["a"],
            owner="team",
        )
    return cast


def values(cast: Cast, place: Environment) -> dict[str, str]:
    rows = Secret.objects.filter(environment=place, live=True).select_related("environment")
    return {row.name: reveal(actor=cast.principal(cast.alice), secret=row).value for row in rows}


def test_with_values_the_secrets_go_along_and_both_sides_record_it(stored: Cast) -> None:
    gone = write.create(
        actor=stored.principal(stored.alice),
        environment=stored.development,
        name="gone",
        secret_type=SecretType.TEXT,
        value="x",
    )
    lifecycle.delete(actor=stored.principal(stored.alice), secret=gone)
    stored.development.offline_hours = 8
    stored.development.save()
    place, count = clone_environment(
        actor=stored.principal(stored.alice), source=stored.development, name="copy", with_values=True
    )
    assert count == 2
    assert values(stored, place) == VALUES
    assert (place.offline_hours, place.protected) == (8, False)
    row = Secret.objects.get(environment=place, name="db")
    assert (row.tags, row.owner, row.current_number) == (["a"], "team", 1)
    read = AuditEvent.objects.get(action="secret.export")
    assert read.manifest is not None
    assert read.manifest.items.count() == 2
    # Other people get nothing by it.
    assert [member.user for member in Membership.objects.filter(environment=place)] == [stored.alice]


def test_without_values_nothing_is_read(stored: Cast) -> None:
    stored.development.protected = True
    stored.development.save()
    place, count = clone_environment(
        actor=stored.principal(stored.alice), source=stored.development, name="copy"
    )
    assert (count, values(stored, place), place.protected) == (0, {}, False)
    assert not AuditEvent.objects.filter(action="secret.export").exists()


def test_the_values_of_a_protected_environment_are_not_cloned(stored: Cast) -> None:
    stored.development.protected = True
    stored.development.save()
    with pytest.raises(Conflict, match="protected"):
        clone_environment(
            actor=stored.principal(stored.alice), source=stored.development, name="copy", with_values=True
        )
    assert not Environment.objects.filter(name="copy").exists()
    # Nor are they read for nothing.
    assert not AuditEvent.objects.filter(action="secret.export").exists()


def test_a_taken_name_is_refused_before_anything_is_read(stored: Cast) -> None:
    with pytest.raises(NameInUse):
        clone_environment(
            actor=stored.principal(stored.alice),
            source=stored.development,
            name="production",
            with_values=True,
        )
    assert not AuditEvent.objects.filter(action="secret.export").exists()


def test_it_needs_a_fresh_proof(stored: Cast) -> None:
    actor = replace(stored.principal(stored.alice), confirmed=False)
    with pytest.raises(ConfirmationNeeded):
        clone_environment(actor=actor, source=stored.development, name="copy", with_values=True)
    assert not Environment.objects.filter(name="copy").exists()


@pytest.mark.parametrize("who", ["bob", "erin", "root"])
def test_who_may_not_create_or_not_read_clones_nothing(stored: Cast, who: str) -> None:
    with pytest.raises(Forbidden):
        clone_environment(
            actor=stored.principal(getattr(stored, who)),
            source=stored.development,
            name="copy",
            with_values=True,
        )
    assert not Environment.objects.filter(name="copy").exists()


def test_who_administers_no_more_when_the_values_are_read_creates_nothing(
    stored: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meanwhile(**given: object) -> object:
        shown = reveal_environment(**given)  # type: ignore[arg-type]
        stored.alice.role = UserRole.USER
        stored.alice.save()
        return shown

    monkeypatch.setattr(service, "reveal_environment", meanwhile)
    with pytest.raises(Forbidden):
        clone_environment(
            actor=stored.principal(stored.alice), source=stored.development, name="copy", with_values=True
        )
    assert not Environment.objects.filter(name="copy").exists()


def test_what_is_protected_while_the_values_are_read_is_not_cloned(
    stored: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meanwhile(**given: object) -> object:
        shown = reveal_environment(**given)  # type: ignore[arg-type]
        place = Environment.objects.get(pk=stored.development.pk)
        place.protected = True
        place.save()
        return shown

    monkeypatch.setattr(service, "reveal_environment", meanwhile)
    with pytest.raises(Conflict):
        clone_environment(
            actor=stored.principal(stored.alice), source=stored.development, name="copy", with_values=True
        )
    assert not Environment.objects.filter(name="copy").exists()


def test_who_may_copy_no_more_stores_no_value(stored: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    def meanwhile(**given: object) -> Environment:
        membership = Membership.objects.get(user=stored.alice, environment=stored.development)
        membership.role = Role.VIEWER
        membership.save()
        return create_environment(**given)  # type: ignore[arg-type]

    monkeypatch.setattr(service, "create_environment", meanwhile)
    place, count = clone_environment(
        actor=stored.principal(stored.alice), source=stored.development, name="copy", with_values=True
    )
    assert (count, Secret.objects.filter(environment=place).exists()) == (0, False)


def test_many_secrets_are_stored_in_parts(stored: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "MAX_ITEMS", 1)
    place, count = clone_environment(
        actor=stored.principal(stored.alice), source=stored.development, name="copy", with_values=True
    )
    assert (count, values(stored, place)) == (2, VALUES)


def test_the_page_clones_and_leads_to_the_matrix(stored: Cast, signed_in: SignedIn) -> None:
    browser = signed_in(stored.alice)
    address = "/environments/development/clone"
    assert "Copy the secrets with their values" in browser.get(address).content.decode()
    refused = browser.post(address, {"name": "production", "with_values": "on"})
    assert refused.status_code == 422
    done = browser.post(address, {"name": "copy", "with_values": "on"}, follow=True)
    assert done.redirect_chain[0][0] == "/secrets/matrix?with=copy"
    assert "Environment copy created with 2 secrets." in done.content.decode()
    assert [place.name for place in done.context["columns"]] == ["copy", "development", "production"]
    assert signed_in(stored.bob).get(address).status_code == 403


def test_the_page_offers_no_values_of_a_protected_environment(stored: Cast, signed_in: SignedIn) -> None:
    stored.development.protected = True
    stored.development.save()
    browser = signed_in(stored.alice)
    address = "/environments/development/clone"
    assert "with_values" not in browser.get(address).context["form"].fields
    browser.post(address, {"name": "copy", "with_values": "on"})
    assert not Secret.objects.filter(environment__name="copy").exists()


def test_no_value_is_in_an_error(stored: Cast) -> None:
    with pytest.raises((SecretError, Conflict, NameInUse)) as raised:
        clone_environment(
            actor=stored.principal(stored.alice),
            source=stored.development,
            name="production",
            with_values=True,
        )
    assert "s3cr3t" not in str(raised.value)
