"""What no review covered is listed for operators, and for managers of their own environments."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from audit_app.queries.reports import Scope, sections
from core.errors import BadQuery
from environments_app.environments.groups import create_group
from environments_app.errors import Conflict
from environments_app.models import AccessKind, Environment, Membership, Review, User, UserRole
from environments_app.reviews import service as reviews
from environments_app.reviews.coverage import Gap, visible_gaps
from environments_app.tests.cast import Cast, user_with_password
from environments_app.tests.reviews.test_service import decide_all, started
from environments_app.tokens.service import issue, revoke

pytestmark = [pytest.mark.django_db, pytest.mark.every_database]
SignedIn = Callable[[User], Client]


@pytest.fixture
def auditor(cast: Cast) -> User:
    return user_with_password("audrey", role=UserRole.AUDITOR)


def listed(cast: Cast, user: User, days: int = 180) -> dict[str, Gap]:
    return {gap.name: gap for gap in visible_gaps(actor=cast.principal(user), days=days)}


def signed(cast: Cast, auditor: User, review: Review) -> Review:
    decide_all(cast, review)
    return reviews.sign(actor=cast.principal(auditor), review=review)


def ago(review: Review, days: int) -> None:
    """Let a review have been signed off so long ago, as Keeper would have written it."""
    review.closed_at = timezone.now() - timedelta(days=days)
    review.save()


def test_it_stops_to_be_a_gap_once_it_is_signed_off_and_is_one_again_later(cast: Cast, auditor: User) -> None:
    assert listed(cast, auditor)["development"] == Gap(cast.development, None, None)
    assert {"production", "the installation"} <= listed(cast, auditor).keys()
    review = started(cast)
    assert listed(cast, auditor)["development"].running == review
    review = signed(cast, auditor, review)
    assert "development" not in listed(cast, auditor)
    ago(review, 100)
    assert "development" not in listed(cast, auditor)
    assert listed(cast, auditor, 90)["development"].last == review
    assert list(listed(cast, auditor, 90))[-1] == "development", "what was never reviewed is first"


@pytest.mark.parametrize("scope", [{"prefix": "app"}, {"kinds": ["direct"]}])
def test_a_review_of_a_part_covers_nothing(cast: Cast, auditor: User, scope: dict[str, object]) -> None:
    signed(cast, auditor, started(cast, **scope))
    gap = listed(cast, auditor)["development"]
    assert (gap.last, gap.running) == (None, None)


def test_neither_a_canceled_review_nor_an_edited_row_covers_it(cast: Cast, auditor: User) -> None:
    reviews.cancel(actor=cast.principal(cast.root), review=started(cast), comment="wrong scope")
    assert listed(cast, auditor)["development"].last is None
    review = signed(cast, auditor, started(cast))
    Review.objects.filter(pk=review.pk).update(places=[str(cast.production.uuid)])
    assert {"development", "production"} <= listed(cast, auditor).keys()


def test_a_manager_sees_the_own_environments_and_others_nothing(cast: Cast) -> None:
    place = Environment.objects.create(name="apart")
    Membership.objects.create(environment=place, user=cast.charlie, role="manager")
    assert listed(cast, cast.charlie).keys() == {"apart"}
    assert listed(cast, cast.bob) == {}


def test_an_environment_to_which_nobody_has_access_is_left_off_with_a_word(
    cast: Cast, auditor: User, signed_in: SignedIn
) -> None:
    place = Environment.objects.create(name="empty")
    # A group without members lets nobody in, and a revoked token neither.
    Membership.objects.create(
        environment=place, group=create_group(actor=cast.principal(cast.root), name="nobody"), role="reader"
    )
    token, _ = issue(actor=cast.principal(cast.root), environment=place, role="viewer", name="ci")
    assert "empty" in listed(cast, auditor)
    revoke(actor=cast.principal(cast.root), token=token)
    assert "empty" not in listed(cast, auditor)
    with pytest.raises(Conflict):
        started(cast, place)
    sentence = "Nobody has access to empty: there is nothing to review."
    assert sentence in signed_in(auditor).get("/reviews").content.decode()
    assert sentence not in signed_in(cast.alice).get("/reviews").content.decode()


def test_page_api_and_report_have_it(cast: Cast, auditor: User, signed_in: SignedIn) -> None:
    review = signed(cast, auditor, started(cast))
    ago(review, 200)
    client = signed_in(auditor)
    page = client.get("/reviews").content.decode()
    assert "Not reviewed for 180 days" in page
    assert f'href="/reviews/{review.pk}"' in page
    assert "Never" in page
    assert client.get("/reviews?days=0").status_code == 422
    assert [gap.name for gap in client.get("/reviews?days=365").context["gaps"]][-1] != "development"
    assert "Not reviewed" not in signed_in(cast.bob).get("/reviews").content.decode()

    found = {each["environment"]: each for each in client.get("/api/reviews/unreviewed").json()}
    assert found["development"] == {
        "environment": "development",
        "last_review": review.pk,
        "signed_at": found["development"]["signed_at"],
        "signed_by": "audrey",
        "open_review": None,
    }
    assert found[""]["last_review"] is None
    assert client.get("/api/reviews/unreviewed?days=0").status_code == 400
    assert "development" not in client.get("/api/reviews/unreviewed?days=365").content.decode()

    now = timezone.now()
    scope = Scope(viewer=cast.principal(auditor), since=now - timedelta(1), until=now)
    rows = {str(row[0]): row[1:] for row in sections()["unreviewed"].rows(scope)}
    assert rows["development"] == ("Q4", review.closed_at, "audrey", "")
    assert rows["production"] == ("never", None, "", "")


@pytest.mark.parametrize("days", [0, 3_651])
def test_days_without_a_meaning_are_refused(cast: Cast, days: int) -> None:
    with pytest.raises(BadQuery):
        visible_gaps(actor=cast.principal(cast.root), days=days)


@pytest.mark.parametrize("days", [1, 3_650])
def test_a_day_and_ten_years_are_not_refused(cast: Cast, days: int) -> None:
    assert "development" in listed(cast, cast.root, days)


def test_a_review_that_names_every_kind_of_access_is_whole(cast: Cast, auditor: User) -> None:
    signed(cast, auditor, started(cast, kinds=AccessKind.values))
    assert "development" not in listed(cast, auditor)


def test_a_review_covers_a_renamed_environment_and_an_older_one_the_name(cast: Cast, auditor: User) -> None:
    review = signed(cast, auditor, started(cast))
    Environment.objects.filter(pk=cast.development.pk).update(name="renamed")
    assert "renamed" not in listed(cast, auditor)
    # As an earlier release stored it.
    review.places = None
    review.save()
    assert "renamed" in listed(cast, auditor)
    Environment.objects.filter(pk=cast.development.pk).update(name="development")
    assert "development" not in listed(cast, auditor)
