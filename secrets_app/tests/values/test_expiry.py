"""A certificate that nobody gave an expiry is watched by its own end, whichever way its value came."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from audit_app.integrity.check_registry import run_checks
from audit_app.models import AuditEvent
from core.canonical_json import parsed_details
from environments_app.approvals import service as approvals
from environments_app.environments import service as environments
from environments_app.errors import ApprovalNeeded
from environments_app.models import Approval, Membership, Role, User
from environments_app.tests.cast import Cast
from secrets_app.importing.formats.registry import Entry
from secrets_app.importing.service import import_entries
from secrets_app.models import Secret
from secrets_app.services import bulk_create, comparison, transfer, version_stages, write
from secrets_app.tests.kept import change, keep, send
from secrets_app.tests.types.test_secret_types_certificate import END, certificate
from secrets_app.types.registry import SecretType, inspect
from secrets_app.values.metadata import Metadata, certificate_end

pytestmark = pytest.mark.every_database_weekly

Events = Callable[..., list[AuditEvent]]
SignedIn = Callable[[User], Client]

NEXT = datetime(2028, 2, 3, 4, 5, 6, tzinfo=UTC)
OWN = datetime(2026, 12, 24, 18, tzinfo=UTC)
OLD, RENEWED = certificate(), certificate(end=NEXT)


def kept(cast: Cast, value: str = OLD, **options: Any) -> Secret:
    return keep(cast, "tls", value, secret_type=SecretType.CERTIFICATE, **options)


def stored(secret: Secret) -> Secret:
    return Secret.objects.select_related("environment").get(pk=secret.pk)


def expiry(secret: Secret) -> datetime | None:
    return stored(secret).expires_at


def describe(cast: Cast, secret: Secret, **metadata: Any) -> None:
    """Change what is known about a secret, and not its value."""
    write.update(actor=cast.principal(cast.alice), secret=stored(secret), **metadata)


def fields_of(event: AuditEvent) -> Any:
    return parsed_details(event.details).get("fields")


# --- Create and update ---------------------------------------------------------------------------


@pytest.mark.parametrize("given", [{}, {"expires_at": None}])
def test_a_certificate_without_an_expiry_brings_its_own(cast: Cast, given: dict[str, Any]) -> None:
    secret = kept(cast, **given)
    assert expiry(secret) == secret.expires_at == END
    assert stored(secret).is_authentic()
    assert not list(run_checks())


def test_it_is_the_leafs_not_the_earliest_of_the_chain(cast: Cast) -> None:
    assert expiry(kept(cast, RENEWED + OLD)) == NEXT


def test_it_moves_with_the_next_value_and_the_event_says_so(cast: Cast, events: Events) -> None:
    secret = kept(cast)
    changed = change(cast, secret, RENEWED, owner="web")
    assert expiry(secret) == changed.expires_at == NEXT
    (event,) = events("secret.update")
    assert fields_of(event) == ["expires_at", "owner"]
    assert stored(secret).is_authentic()
    assert not list(run_checks())


def test_a_date_that_means_the_same_moves_too(cast: Cast) -> None:
    secret = kept(cast, expires_at=END)
    change(cast, secret, RENEWED)
    assert expiry(secret) == NEXT


def test_a_date_that_a_person_gave_stays(cast: Cast, events: Events) -> None:
    secret = kept(cast, expires_at=OWN)
    assert expiry(secret) == OWN
    change(cast, secret, RENEWED)
    assert expiry(secret) == OWN
    change(cast, secret, OLD, expires_at=OWN + timedelta(days=1))
    assert expiry(secret) == OWN + timedelta(days=1)
    assert [fields_of(event) for event in events("secret.update")] == [None, ["expires_at"]]


def test_a_date_that_is_given_along_with_a_value_counts_even_if_it_is_the_former_end(cast: Cast) -> None:
    secret = kept(cast)
    change(cast, secret, RENEWED, expires_at=END)
    assert expiry(secret) == END


def test_a_date_that_a_person_removed_stays_removed_until_the_next_value(cast: Cast) -> None:
    secret = kept(cast)
    describe(cast, secret, expires_at=None)
    assert expiry(secret) is None
    describe(cast, secret, owner="web")
    change(cast, secret, OLD)
    assert expiry(secret) is None
    change(cast, secret, RENEWED)
    assert expiry(secret) == NEXT


def test_an_own_date_that_is_emptied_along_with_a_value_gives_way_to_the_certificates(cast: Cast) -> None:
    secret = kept(cast, expires_at=OWN)
    for _ in range(2):
        change(cast, secret, RENEWED, expires_at=None)
        assert expiry(secret) == NEXT
    assert stored(secret).state == "2-2"


def test_an_equal_value_writes_nothing(cast: Cast) -> None:
    secret = kept(cast)
    # As a certificate that was stored before Keeper took its end.
    Secret.objects.filter(pk=secret.pk).update(expires_at=None)
    change(cast, secret, OLD)
    assert (expiry(secret), stored(secret).state) == (None, "1-1")


def test_a_text_that_becomes_a_certificate_brings_its_end_and_takes_it_along_when_it_goes(
    cast: Cast, events: Events
) -> None:
    secret = keep(cast, "tls", OLD)
    assert expiry(secret) is None
    change(cast, secret, OLD, secret_type=SecretType.CERTIFICATE)
    assert expiry(secret) == END
    change(cast, secret, "none any more", secret_type=SecretType.TEXT)
    assert expiry(secret) is None
    assert [fields_of(event) for event in events("secret.update")] == [["expires_at", "secret_type"]] * 2


def test_other_types_bring_none(cast: Cast) -> None:
    own = '{"not_after": "2027-01-02T03:04:05Z"}'
    assert expiry(keep(cast, "doc", own, secret_type=SecretType.JSON)) is None


def test_a_rollback_takes_the_end_of_the_value_that_is_current_again(cast: Cast, events: Events) -> None:
    secret = kept(cast)
    change(cast, secret, RENEWED)
    write.rollback(actor=cast.principal(cast.alice), secret=stored(secret), number=1)
    assert expiry(secret) == END
    (event,) = events("secret.rollback")
    assert fields_of(event) == ["expires_at"]


def test_a_rotation_takes_the_end_of_what_is_served(cast: Cast, events: Events) -> None:
    actor, secret = cast.principal(cast.alice), kept(cast)
    drafted = version_stages.prepare(actor=actor, secret=stored(secret), value=RENEWED, comment="")
    version_stages.stage(actor=actor, secret=(held := stored(secret)), version=drafted, details={})
    assert expiry(secret) == END
    facts = {value: inspect(SecretType.CERTIFICATE, value) for value in (OLD, RENEWED)}
    version_stages.promote(actor=actor, secret=held, facts=facts[RENEWED], details={})
    assert expiry(secret) == NEXT
    version_stages.restore_previous(actor=actor, secret=held, facts=facts[OLD], details={})
    assert expiry(secret) == END
    assert [fields_of(event) for event in events("secret.rotate")] == [["expires_at"]] * 2
    assert stored(secret).is_authentic()


# --- Many at once, and from elsewhere ------------------------------------------------------------


def test_many_are_created_with_theirs(cast: Cast) -> None:
    given: list[tuple[SecretType, Metadata]] = [
        (SecretType.CERTIFICATE, {}),
        (SecretType.CERTIFICATE, {"expires_at": None, "owner": "web"}),
        (SecretType.CERTIFICATE, {"expires_at": OWN}),
        (SecretType.TEXT, {}),
    ]
    items = [
        bulk_create.NewSecret(
            environment=cast.development,
            name=f"tls/{number}",
            secret_type=kind,
            value=OLD,
            metadata=metadata,
        )
        for number, (kind, metadata) in enumerate(given)
    ]
    created = bulk_create.create_many(actor=cast.principal(cast.alice), items=items)
    assert [each.expires_at for each in created] == [END, END, OWN, None]
    rows = Secret.objects.order_by("name")
    assert [row.expires_at for row in rows] == [END, END, OWN, None]
    assert all(row.is_authentic() for row in rows)


def test_an_import_brings_and_moves_them(cast: Cast) -> None:
    def imported(name: str, value: str) -> datetime | None:
        entries = [Entry(place=1, name=name, value=value)]
        import_entries(actor=cast.principal(cast.alice), environment=cast.development, entries=entries)
        return Secret.objects.get(name=name).expires_at

    assert imported("tls", OLD) == END
    assert imported("tls", RENEWED) == NEXT
    describe(cast, Secret.objects.get(name="tls"), expires_at=OWN)
    assert imported("tls", OLD) == OWN


def test_a_copy_and_a_promotion_follow_as_well(cast: Cast) -> None:
    alice, secret = cast.principal(cast.alice), kept(cast)
    there = transfer.copy(actor=alice, secret=stored(secret), environment=cast.production)
    assert expiry(there) == END
    change(cast, secret, RENEWED)
    places: dict[str, Any] = {"source": cast.development, "target": cast.production, "names": ["tls"]}
    plan = comparison.plan_promotion(actor=alice, **places)
    comparison.promote(actor=alice, **places, digest=plan.digest)
    assert expiry(there) == NEXT


# --- Where it is seen ----------------------------------------------------------------------------


def test_the_list_the_dashboard_and_the_notices_see_it(cast: Cast, signed_in: SignedIn) -> None:
    soon = (timezone.now() + timedelta(days=10)).replace(microsecond=0)
    kept(cast, certificate(end=soon))
    keep(cast, "late", OLD, secret_type=SecretType.CERTIFICATE, expires_at=soon + timedelta(days=90))
    person = signed_in(cast.vera)
    assert [need.url for need in person.get("/").context["needs"]] == ["/secrets?state=expiring"]
    assert [row["secret"].name for row in person.get("/secrets?state=expiring").context["rows"]] == ["tls"]
    assert "tls" in person.get("/notifications").content.decode()


def test_the_form_keeps_an_expiry_that_nobody_touched(cast: Cast, signed_in: SignedIn) -> None:
    secret, editor = kept(cast), signed_in(cast.erin)
    path = f"/secrets/{secret.pk}/edit"
    shown = editor.get(path).context["form"]
    typed = {name: shown[name].value() or "" for name in ("environment", "name", "secret_type", "expected")}
    # As a browser sends it: in minutes.
    typed |= {"expires_at": "2027-01-02T03:04", "description": "renewed by hand"}

    editor.post(path, typed)
    assert (expiry(secret), stored(secret).description) == (END, "renewed by hand")
    editor.post(path, typed | {"value": RENEWED, "expected": stored(secret).etag})
    assert expiry(secret) == NEXT
    editor.post(path, typed | {"expires_at": "", "expected": stored(secret).etag})
    assert expiry(secret) is None
    editor.post(path, typed | {"expires_at": "2026-12-24T18:00", "expected": stored(secret).etag})
    assert expiry(secret) == OWN


def test_the_admin_keeps_an_expiry_that_nobody_touched(cast: Cast, signed_in: SignedIn) -> None:
    Membership.objects.create(environment=cast.development, user=cast.root, role=Role.EDITOR)
    secret, operator = kept(cast), signed_in(cast.root)
    typed = dict.fromkeys(("description", "owner", "tags", "comment"), "") | {"secret_type": "CERTIFICATE"}
    typed |= {"value": RENEWED, "expires_at_0": "2027-01-02", "expires_at_1": "03:04:05"}
    assert operator.post(f"/admin/secrets_app/secret/{secret.pk}/change/", typed).status_code == 302
    assert expiry(secret) == NEXT


def test_the_form_of_a_new_secret_may_leave_it_empty(cast: Cast, signed_in: SignedIn) -> None:
    form = {"environment": "development", "name": "tls", "secret_type": "CERTIFICATE", "value": OLD}
    signed_in(cast.erin).post("/secrets/new", form | {"expires_at": ""})
    assert Secret.objects.get(name="tls").expires_at == END


def test_the_api_tells_it(cast: Cast, signed_in: SignedIn) -> None:
    body = {"environment_id": cast.development.pk, "name": "tls", "secret_type": "CERTIFICATE", "value": OLD}
    answer = send(signed_in(cast.erin), "POST", "/api/secrets", body)
    assert (answer.status_code, json.loads(answer.content)["expires_at"]) == (201, "2027-01-02T03:04:05Z")


def test_whoever_approves_a_renewal_sees_it(cast: Cast) -> None:
    place = cast.production
    Membership.objects.create(environment=place, user=cast.erin, role=Role.MANAGER)
    secret = kept(cast, environment=place)
    environments.update_environment(actor=cast.principal(cast.alice), environment=place, protected=True)
    with pytest.raises(ApprovalNeeded) as raised:
        change(cast, secret, RENEWED)
    asked = Approval.objects.select_related("environment").get(pk=raised.value.approval)
    assert {"label": "Expires at", "before": END.isoformat(), "after": NEXT.isoformat()} in asked.summary
    approval = approvals.approve(actor=cast.principal(cast.erin), approval=asked)
    approvals.carry_out(actor=cast.principal(cast.alice), approval=approval)
    assert expiry(secret) == NEXT


# --- Facts that say no usable end ----------------------------------------------------------------


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"not_after": None},
        {"not_after": "soon"},
        # RFC 5280, 4.1.2.5: without a well-defined end.
        {"not_after": "9999-12-31T23:59:59Z"},
        {"not_after": "0001-01-01T00:00:00Z"},
        [1],
    ],
)
def test_what_has_no_end_brings_none(facts: Any) -> None:
    assert certificate_end(facts) is None


def test_edited_facts_hold_nobody_up(cast: Cast) -> None:
    secret = kept(cast)
    Secret.objects.filter(pk=secret.pk).update(facts=[1])
    change(cast, secret, RENEWED)
    # What the date was taken from is not known any more: it may be a person's.
    assert expiry(secret) == END
