"""Reports and evidence packs have each review that was open at some time of their period, and no other."""

from collections.abc import Callable
from datetime import datetime, timedelta
from unittest import mock

import orjson
import pytest
from django.test import Client
from django.utils import timezone

from audit_app.queries.reports import Scope, sections
from core.errors import KeeperError
from environments_app.models import Membership, Review, ReviewItem, User, UserRole
from environments_app.reviews import service as reviews
from environments_app.reviews.evidence import begin_of, reviews_between
from environments_app.reviews.population import digest_of_given, given_since
from environments_app.tests.cast import Cast, user_with_password
from environments_app.tests.reviews.test_service import decide_all, decided, started

pytestmark = [pytest.mark.django_db, pytest.mark.every_database]
NOW = timezone.now()


@pytest.fixture
def auditor(cast: Cast) -> User:
    return user_with_password("audrey", role=UserRole.AUDITOR)


def ago(days: int) -> datetime:
    return NOW - timedelta(days=days)


def lasted(review: Review, name: str, began: int, ended: int | None) -> None:
    """Let a review have begun and ended so many days ago, as Keeper would have written it."""
    review.name, review.population_at = name, ago(began)
    review.closed_at = None if ended is None else ago(ended)
    review.save()


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        (50, 45, set()),
        (50, 35, {"over"}),
        (35, 32, {"over"}),
        (25, 22, set()),
        (35, 10, {"over", "running"}),
        (10, 5, {"running"}),
    ],
)
def test_a_period_has_what_was_open_in_it(
    cast: Cast, auditor: User, since: int, until: int, expected: set[str]
) -> None:
    lasted(started(cast), "over", 40, 30)
    lasted(started(cast), "running", 20, None)
    scope = Scope(viewer=cast.principal(auditor), since=ago(since), until=ago(until))
    assert {row[0] for row in sections()["reviews"].rows(scope)} == expected
    assert {review.name for review in reviews_between(scope.since, scope.until)} == expected


@pytest.mark.parametrize("how", ["signed off", "canceled", "running", "refused", "ended later"])
def test_the_log_of_a_period_begins_with_what_was_open_in_it(cast: Cast, auditor: User, how: str) -> None:
    """By its events: a row that was deleted must be missed."""
    with mock.patch.object(timezone, "now", return_value=ago(100)):
        review = started(cast)
        if how == "signed off":
            decide_all(cast, review)
            reviews.sign(actor=cast.principal(auditor), review=review)
        elif how == "canceled":
            reviews.cancel(actor=cast.principal(cast.root), review=review, comment="wrong scope")
        elif how == "refused":
            with pytest.raises(KeeperError):
                reviews.sign(actor=cast.principal(cast.bob), review=review)
    if how == "ended later":
        reviews.cancel(actor=cast.principal(cast.root), review=review, comment="wrong scope")
    assert begin_of(ago(10), []) == (ago(10) if how in {"signed off", "canceled"} else ago(100))
    assert begin_of(ago(110), []) == ago(110)


def test_what_was_given_since_is_shown_to_who_sees_the_installation(cast: Cast, auditor: User) -> None:
    review = started(cast)
    decide_all(cast, review)
    Membership.objects.create(environment=cast.development, user=cast.charlie, role="reader", prefix="shop")
    given = digest_of_given(given_since(review))
    reviews.sign(actor=cast.principal(auditor), review=review, given=given)

    def rows(user: User) -> dict[object, tuple[object, ...]]:
        scope = Scope(viewer=cast.principal(user), since=ago(1), until=timezone.now())
        return {row[4]: (*row[6:9], row[11]) for row in sections()["reviews"].rows(scope)}

    assert rows(auditor)["charlie"] == ("development", "reader", "shop", "Given since")
    assert rows(auditor)["bob"] == ("development", "reader", "all", "Keep")
    assert rows(cast.alice).keys() == {"alice", "erin", "bob", "vera"}
    assert rows(cast.bob) == {}


def test_an_entry_that_sql_changed_is_marked_in_report_and_api_and_on_the_page(
    cast: Cast, auditor: User, client: Client, sql: Callable[..., None]
) -> None:
    review = started(cast)
    decide_all(cast, review)
    reviews.sign(actor=cast.principal(auditor), review=review, given=digest_of_given(given_since(review)))
    sql("UPDATE environments_app_reviewitem SET decision = 'end' WHERE subject_name = 'bob'")
    scope = Scope(viewer=cast.principal(auditor), since=ago(1), until=timezone.now())

    decisions = {row[4]: row[11] for row in sections()["reviews"].rows(scope)}

    assert (decisions["bob"], decisions["vera"]) == ("modified outside Keeper", "Keep")
    client.force_login(auditor)
    page = client.get(f"/reviews/{review.pk}").content.decode()
    assert page.count("This row was changed outside Keeper.") == 1
    found = client.get(f"/api/reviews/{review.pk}/items").json()["results"]
    assert {item["holder"] for item in found if not item["verified"]} == {"bob"}


def test_the_api_answers_each_entry_as_its_row_is(cast: Cast, client: Client) -> None:
    review = started(cast)
    item = ReviewItem.objects.select_related("review").get(review=review, subject_name="bob")
    assert item.reviewer_name == "alice"
    decided(cast.root, item, "keep", "asked by phone")
    client.force_login(cast.root)
    found = {each["id"]: each for each in client.get(f"/api/reviews/{review.pk}/items").json()["results"]}
    columns = {
        "uuid": "uuid", "kind": "kind", "environment": "environment_name", "holder": "subject_name",
        "role": "role", "prefix": "prefix", "via": "via", "granted_by": "granted_by_name", "since": "since",
        "expires_at": "expires_at", "hindrances": "hindrances", "last_used_at": "last_used_at",
        "unused": "unused", "reviewer": "reviewer_name", "reason": "reason", "decided_by": "decided_by_name",
        "decided_at": "decided_at",
    }  # fmt: skip
    for row in review.items.all():
        expected = orjson.loads(
            orjson.dumps({name: getattr(row, column) for name, column in columns.items()})
        )
        answered = {name: found[row.pk][name] for name in columns}
        for name in ("since", "expires_at", "last_used_at", "decided_at"):
            expected[name] = expected[name] and expected[name].replace("+00:00", "Z")
        assert answered == expected
        assert found[row.pk]["decision"] == (row.decision or "undecided")
