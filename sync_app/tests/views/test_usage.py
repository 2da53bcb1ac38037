"""The page of a secret's use: as the events show it, for managers; others see their own use alone."""

from collections.abc import Callable
from datetime import timedelta
from random import Random
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.utils import timezone

from audit_app.events.actions import Action
from audit_app.models import AuditEvent, ManifestUse, UsageEntry
from audit_app.queries import usage_index
from audit_app.tests.trail import sql
from core.canonical_json import parsed_details
from environments_app.models import GroupMember, Membership, Role, ServiceToken, User
from environments_app.tests.cast import Cast
from secrets_app.models import LastAsked, Secret
from secrets_app.queries import last_asked
from secrets_app.services import read, transfer, write
from secrets_app.services.share import share_once
from secrets_app.services.usage import check, usage_report
from secrets_app.tests.kept import change, keep
from sync_app.domain.rotation_state import Slot
from sync_app.models import Rotation, RotationPolicy
from sync_app.rotation.impact import Impact, impact_of
from sync_app.rotation.policies import credentials as rotation_credentials

pytestmark = pytest.mark.every_database_weekly


def report_of(cast: Cast, secret: Secret, user: User | None = None) -> Any:
    stored = Secret.objects.select_related("environment").get(pk=secret.pk)
    return usage_report(actor=cast.principal(user or cast.alice), secret=stored)


def impact(cast: Cast, secret: Secret) -> Impact:
    report = report_of(cast, secret)
    return impact_of(actor=cast.principal(cast.alice), secret=report.secret, report=report)


def age(days: float) -> None:
    back = timedelta(days=days)
    for model in (UsageEntry, ManifestUse):
        for row in model.objects.all():
            model.objects.filter(pk=row.pk).update(first_at=row.first_at - back, last_at=row.last_at - back)


def token_reads(bearer: Any, cast: Cast, secret: Secret) -> ServiceToken:
    client: Client = bearer("reader", cast.development)
    assert client.get(f"/api/secrets/{secret.pk}").json()["value"]
    return ServiceToken.objects.latest("pk")


def test_it_joins_every_way_with_what_was_done(cast: Cast) -> None:
    secret = keep(cast)
    bob = cast.principal(cast.bob)
    read.reveal(actor=bob, secret=secret)
    change(cast, secret, "another")
    read.reveal_environment(actor=bob, environment=cast.development)
    Membership.objects.create(
        environment=cast.development, user=cast.bob, role=Role.READER, prefix="payments"
    )
    report = report_of(cast, secret)
    (found,) = [reader for reader in report.readers if reader.name == "bob"]
    assert sorted(found.why) == ["direct grant: reader", "direct grant: reader, payments/"]
    assert (found.count, found.numbers, found.holds) == (2, {1, 2}, 2)
    erin = next(reader for reader in report.readers if reader.name == "erin")
    assert (erin.count, erin.last_at, erin.is_used) == (0, None, False)
    assert "vera" not in {reader.name for reader in report.readers}
    assert report.ghosts == []


def test_values_that_a_person_took_by_a_list_are_no_file_for_sure(cast: Cast) -> None:
    """The event of `kpr run` is that of an export."""
    secret = keep(cast)
    read.reveal_environment(actor=cast.principal(cast.bob), environment=cast.development)
    (line,) = [each for each in impact(cast, secret).copies if each.what == "bob"]
    assert "export, kpr run or another list of values" in line.why
    assert "does not know whether a file was made" in line.why


def test_a_version_that_was_changed_by_hand_is_replaced_and_works_in_no_overlap(
    cast: Cast, signed_in: Callable[[User], Client]
) -> None:
    secret = keep(cast)
    read.reveal(actor=cast.principal(cast.bob), secret=secret)
    change(cast, secret, "another")
    page = signed_in(cast.alice).get(f"/secrets/{secret.pk}/usage").content.decode()
    assert 'v1 <span class="quiet">replaced</span>' in page
    policy = RotationPolicy(environment=cast.development, secret=secret, rotator="generated")
    rotation_credentials.seal_credentials(policy, {})
    policy.save()
    Rotation.objects.create(
        policy=policy,
        slot=Slot.WORKING,
        trigger="person",
        promoted_at=timezone.now(),
        from_number=1,
        to_number=2,
        actor_kind="user",
        actor_uuid=cast.alice.uuid,
        actor_name="alice",
    )
    page = signed_in(cast.alice).get(f"/secrets/{secret.pk}/usage").content.decode()
    assert 'v1 <span class="quiet">works in the overlap</span>' in page


def test_who_read_a_served_version_and_may_not_any_more_is_a_ghost(cast: Cast) -> None:
    secret = keep(cast)
    for user in (cast.bob, cast.erin):
        read.reveal(actor=cast.principal(user), secret=secret)
    sql("DELETE FROM environments_app_membership WHERE user_id = %s", cast.erin.pk)
    cast.bob.is_active = False
    cast.bob.save()
    ghosts = {ghost.name: ghost.hindrances for ghost in report_of(cast, secret).ghosts}
    assert ghosts == {"bob": ["account disabled"], "erin": ["no access now"]}
    for value in ("v2", "v3"):
        change(cast, secret, value)
    Secret.objects.filter(pk=secret.pk).update(previous_number=None)
    assert report_of(cast, secret).ghosts == []


def test_who_knows_a_served_value_by_another_version_or_secret_is_a_ghost(cast: Cast) -> None:
    alice, secret = cast.principal(cast.alice), keep(cast)
    read.reveal(actor=cast.principal(cast.bob), secret=secret)
    for value in ("v2", "v3", "v4"):
        change(cast, secret, value)
    sql("DELETE FROM environments_app_membership WHERE user_id = %s", cast.bob.pk)
    assert report_of(cast, secret).ghosts == []
    secret = Secret.objects.select_related("environment").get(pk=secret.pk)
    write.rollback(actor=alice, secret=secret, number=1)
    assert [ghost.name for ghost in report_of(cast, secret).ghosts] == ["bob"]
    copied = transfer.copy(actor=alice, secret=secret, environment=cast.production, name="elsewhere/key")
    moved = transfer.move(actor=alice, secret=secret, environment=cast.development, name="moved")
    for each, place in ((copied, "development/"), (moved, "development/")):
        (bob,) = [ghost for ghost in report_of(cast, each).ghosts if ghost.name == "bob"]
        assert bob.hindrances[-1].startswith(f"knows it as {place}")
    assert any(line.what == "bob" and line.why.count(place) == 1 for line in impact(cast, copied).reasons)
    # Another value of the copy is known to nobody by that.
    change(cast, copied, "another")
    Secret.objects.filter(pk=copied.pk).update(previous_number=None)
    assert "bob" not in {ghost.name for ghost in report_of(cast, copied).ghosts}


def test_a_poll_is_asked_and_not_read(cast: Cast, bearer: Any) -> None:
    secret, client = keep(cast), bearer("reader", cast.development)
    last_asked._noted.clear()
    last_asked._waiting.clear()
    path = f"/api/environments/{cast.development.name}/export"
    etag = client.get(path)["ETag"]
    assert client.get(path, headers={"If-None-Match": etag}).status_code == 304
    reader = next(reader for reader in report_of(cast, secret).readers if reader.kind == "token")
    assert (reader.count, reader.asked_number, reader.holds) == (1, 1, 1)
    assert reader.asked_at == LastAsked.objects.get().asked_at


def test_a_large_group_that_never_read_it_is_one_line_and_stays_in_the_numbers(cast: Cast) -> None:
    secret, group = keep(cast), Group.objects.create(name="payments")
    for number in range(25):
        user = User.objects.create_user(f"member{number}")
        GroupMember.objects.create(group=group, user=user)
    Membership.objects.create(environment=cast.development, group=group, role=Role.READER)
    report = report_of(cast, secret)
    line = next(reader for reader in report.readers if reader.people > 1)
    assert (line.name, line.people, line.why) == ("25 people", 25, ["group payments: reader"])
    assert report.people == 25 + 3
    read.reveal(actor=cast.principal(User.objects.get(username="member3")), secret=secret)
    report = report_of(cast, secret)
    assert {"member3", "24 people"} <= {reader.name for reader in report.readers}


def test_others_see_their_own_use_alone(cast: Cast, signed_in: Any) -> None:
    secret = keep(cast)
    for user in (cast.bob, cast.erin):
        read.reveal(actor=cast.principal(user), secret=secret)
    report = report_of(cast, secret, cast.bob)
    assert [reader.name for reader in report.readers] == ["bob"]
    assert (report.sees_everyone, report.ghosts) == (False, [])
    page = signed_in(cast.bob).get(f"/secrets/{secret.pk}/usage").content.decode()
    assert "Managers of development see everyone." in page
    assert "erin" not in page
    answer = signed_in(cast.bob).get(f"/api/secrets/{secret.pk}/usage?check=1").json()
    assert [reader["name"] for reader in answer["readers"]] == ["bob"]
    assert (answer["everyone"], answer["differences"]) == (False, None)
    assert signed_in(cast.bob).get(f"/api/secrets/{secret.pk}/impact").status_code == 403


def test_readers_and_ghosts_have_the_names_that_they_gave_themselves(cast: Cast, signed_in: Any) -> None:
    secret = keep(cast)
    for user, name in ((cast.bob, "Bob Mill"), (cast.erin, "Erin Ash")):
        read.reveal(actor=cast.principal(user), secret=secret)
        User.objects.filter(pk=user.pk).update(display_name=name)
    sql("DELETE FROM environments_app_membership WHERE user_id = %s", cast.bob.pk)
    page = signed_in(cast.alice).get(f"/secrets/{secret.pk}/usage").content.decode()
    for named in ('bob <span class="quiet">Bob Mill', 'erin <span class="quiet">Erin Ash'):
        assert named in page


def test_who_is_not_counted_is_said(cast: Cast, signed_in: Any) -> None:
    secret = keep(cast)
    User.objects.filter(pk=cast.bob.pk).update(temporary_since=timezone.now())
    page = signed_in(cast.alice).get(f"/secrets/{secret.pk}/usage").content.decode()
    assert "/people/bob" not in page
    assert "A person with a temporary password, or a suspended account" in page
    assert '<a href="/environments/development/access">Access</a>' in page


def test_opening_it_is_recorded_before_anything_is_read(cast: Cast, signed_in: Any) -> None:
    secret = keep(cast)
    assert signed_in(cast.alice).get(f"/secrets/{secret.pk}/usage").status_code == 200
    viewed = AuditEvent.objects.filter(action=Action.TRAIL_VIEW).latest("pk")
    assert (viewed.actor_name, parsed_details(viewed.details)["face"]) == ("alice", "usage")


def test_the_check_finds_what_was_edited_and_a_rebuild_mends_it(cast: Cast, signed_in: Any) -> None:
    secret = keep(cast)
    bob = cast.principal(cast.bob)
    read.reveal(actor=bob, secret=secret)
    read.reveal_environment(actor=bob, environment=cast.development)
    usage_index.fill()
    assert check(secret) == []
    page = signed_in(cast.alice).get(f"/secrets/{secret.pk}/usage?check=1").content.decode()
    assert "The counts are those of the audit log." in page
    UsageEntry.objects.filter(actor_uuid=bob.uuid).delete()
    ManifestUse.objects.update(count=9)
    UsageEntry.objects.filter(means="write").update(actor_name="mallory", actor_uuid=UUID(int=5))
    found = check(secret)
    assert len(found) == 3
    assert any(line.startswith("bob, read: counted nothing, the log shows 1,") for line in found)
    page = signed_in(cast.alice).get(f"/secrets/{secret.pk}/usage?check=1").content.decode()
    assert "The counts differ from the audit log." in page
    usage_index.rebuild()
    assert check(secret) == []


def test_random_histories_are_shown_as_one_pass_over_the_events(cast: Cast) -> None:
    random = Random(3)
    secrets = [keep(cast, name) for name in ("a/one", "a/two", "b")]
    for _ in range(60):
        user = random.choice([cast.alice, cast.bob, cast.erin])
        secret = Secret.objects.select_related("environment").get(pk=random.choice(secrets).pk)
        if random.random() < 0.3:
            prefix = random.choice(["", "a"])
            read.reveal_environment(actor=cast.principal(user), environment=cast.development, prefix=prefix)
        elif random.random() < 0.2:
            change(cast, secret, f"value {random.random()}")
        else:
            read.reveal(actor=cast.principal(user), secret=secret)
    for secret in secrets:
        seen: dict[str, list[Any]] = {}
        for event in AuditEvent.objects.order_by("id"):
            if event.action not in {Action.SECRET_REVEAL, Action.SECRET_EXPORT}:
                continue
            along = event.manifest and event.manifest.items.filter(secret_uuid=secret.uuid).first()
            if event.object_uuid == secret.uuid or along:
                number = along.number if along else parsed_details(event.details)["number"]
                row = seen.setdefault(event.actor_name, [0, set(), None])
                row[:] = [row[0] + 1, row[1] | {number}, event.at]
        shown = {r.name: [r.count, r.numbers, r.last_at] for r in report_of(cast, secret).readers if r.count}
        assert {name: [row[0], row[2]] for name, row in shown.items()} == {
            name: [row[0], row[2]] for name, row in seen.items()
        }
        assert all(seen[name][1] <= row[1] for name, row in shown.items())


def test_what_breaks_follows_and_is_waited_for(cast: Cast, bearer: Any) -> None:
    secret = keep(cast)
    old = token_reads(bearer, cast, secret)
    usage_index.fill()
    age(30)
    often = token_reads(bearer, cast, secret)
    usage_index.fill()
    now = timezone.now()
    UsageEntry.objects.filter(actor_uuid=often.uuid).update(first_at=now - timedelta(hours=5), count=6)
    share_once(actor=cast.principal(cast.bob), secret=Secret.objects.get(pk=secret.pk))
    found = impact(cast, secret)
    breaks = {line.why.split(":")[0] for line in found.breaks}
    assert "holds an older value" in breaks
    assert [line.what for line in found.breaks].count("one-time link") == 1
    assert [line.why.split(":")[0] for line in found.follows] == ["reads about every 60 min"]
    assert found.headline.startswith("2 of 3 consumers would keep the old value: ")
    assert {line.what for line in found.reasons} == {"no policy"}
    assert old.uuid != often.uuid


def test_a_program_that_read_once_long_ago_is_told_apart(cast: Cast, bearer: Any) -> None:
    secret = keep(cast)
    token_reads(bearer, cast, secret)
    usage_index.fill()
    Secret.objects.filter(pk=secret.pk).update(rotated_at=timezone.now() - timedelta(days=60))
    found = impact(cast, secret)
    assert [line.why.split(":")[0] for line in found.waits] == ["was seen reading once"]
    age(8)
    assert [line.why.split(",")[0] for line in impact(cast, secret).breaks] == ["reads at start only"]


def test_nothing_known_breaks_a_secret_that_nobody_uses(cast: Cast, signed_in: Any) -> None:
    secret = keep(cast)
    page = signed_in(cast.alice).get(f"/secrets/{secret.pk}/usage").content.decode()
    assert "Nothing known breaks. Files that people exported cannot be followed." in page
    assert "Nobody has read this value since" in page
    answer = signed_in(cast.alice).get(f"/api/secrets/{secret.pk}/impact").json()
    assert (answer["breaks"], answer["follows"]) == ([], [])
    assert "no rotation policy keeps it working" in answer["overlap"]


def test_no_list_ends_silently(cast: Cast, signed_in: Any) -> None:
    secret = keep(cast)
    for number in range(130):
        UsageEntry.objects.create(
            object_uuid=secret.uuid, number=1, actor_uuid=User.objects.create_user(f"r{number:03}").uuid,
            actor_name=f"r{number:03}", actor_kind="user", means="read", stream="s", count=1,
            first_at=timezone.now(), last_at=timezone.now(), last_event_id=1,
        )  # fmt: skip
        Membership.objects.create(
            environment=cast.development, user=User.objects.get(username=f"r{number:03}"), role=Role.READER
        )
    client = signed_in(cast.alice)
    pages = [
        client.get(f"/secrets/{secret.pk}/usage{query}").content.decode() for query in ("", "?first=100")
    ]
    assert "first=100" in pages[0]
    shown = {f"r{number:03}" for number in range(130) if any(f">r{number:03}<" in page for page in pages)}
    assert len(shown) == 130
