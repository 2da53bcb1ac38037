"""The pages and the API of access reviews: what a reviewer sees, chooses and is refused."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from environments_app.environments import groups, memberships
from environments_app.models import Environment, Membership, Review, ReviewItem, User
from environments_app.reviews import decisions
from environments_app.reviews import service as reviews
from environments_app.reviews.population import key_of, lines_for
from environments_app.tests.cast import Cast, user_with_password
from environments_app.users import accounts

pytestmark = pytest.mark.django_db
SignedIn = Callable[[User], Client]


@pytest.fixture
def review(cast: Cast) -> Review:
    return reviews.start(actor=cast.principal(cast.root), name="Q4", environments=[cast.development])


def item(review: Review, name: str) -> ReviewItem:
    return ReviewItem.objects.get(review=review, subject_name=name)


def page(client: Client, review: Review, show: str = "") -> str:
    return client.get(reverse("review-detail", args=[review.pk]), {"show": show}).content.decode()


def test_a_reviewer_sees_what_they_are_asked_and_no_box_for_their_own(
    cast: Cast, review: Review, signed_in: SignedIn
) -> None:
    alice = signed_in(cast.alice)
    mine = page(alice, review)
    for name in ("erin", "bob", "vera"):
        assert f'value="{item(review, name).pk}:' in mine
    everything = page(alice, review, "all")
    assert f'value="{item(review, "alice").pk}:' not in everything
    assert "You can't decide on your own access" in everything.replace("&#x27;", "'")
    assert "Sign off" not in everything
    # Who manages nothing there finds no review.
    assert signed_in(cast.bob).get(reverse("review-detail", args=[review.pk])).status_code == 404


def test_a_review_without_reviewers_says_at_once_why_and_what_to_do(cast: Cast, signed_in: SignedIn) -> None:
    """Where one administrator made all accounts, all count as one person."""
    staging = Environment.objects.create(name="staging")
    for name, role in (("leo", "manager"), ("dana", "editor")):
        user = accounts.create_user(
            actor=cast.principal(cast.root), username=name, password="horse-battery-1"
        )
        accounts.set_password(actor=cast.principal(user), user=user, password="own-horse-battery-2")
        Membership.objects.create(environment=staging, user=user, role=role)
    Membership.objects.create(environment=staging, user=cast.root, role="manager")
    client = signed_in(cast.root)
    form = {"name": "Q4", "environments": [staging.pk], "days": 14}
    said = client.post(reverse("review-new"), form, follow=True).content.decode().replace("&#x27;", "'")
    assert "their reviewers are asked" not in said
    assert "3 entries of access are listed. 3 of them have no reviewer." in said
    assert "3 of 3 entries have no reviewer: nobody may decide them." in said
    assert "root could sign in as dana and leo." in said
    assert "Run this on the host: keeper changepassword leo." in said
    assert "You could act as dana: you made or reset this account" in said
    # What the page says is true.
    call_command("changepassword", "leo")
    leo = User.objects.get(username="leo")
    accounts.set_password(actor=cast.principal(leo), user=leo, password="own-horse-battery-3")
    said = page(client, Review.objects.get())
    assert "3 had no reviewer at the start. leo and root may decide now." in said
    assert f'value="{item(Review.objects.get(), "leo").pk}:' in said
    assert f'value="{item(Review.objects.get(), "dana").pk}:' in page(
        signed_in(User.objects.get(username="leo")), Review.objects.get()
    )


def test_a_way_that_a_review_names_is_on_the_page_that_it_names(cast: Cast, signed_in: SignedIn) -> None:
    """An administrator decides about places in groups, and has no role in the environment."""
    staging, root = Environment.objects.create(name="staging"), cast.principal(cast.root)
    olga = accounts.create_user(actor=root, username="olga", password="horse-battery-1", role="admin")
    group = groups.create_group(actor=root, name="ops")
    groups.add_to_group(actor=root, user=olga, group=group)
    Membership.objects.create(environment=staging, user=cast.alice, role="manager")
    Membership.objects.create(environment=staging, group=group, role="reader")
    review = reviews.start(actor=root, name="Q4", environments=[staging])
    said = page(signed_in(cast.alice), review, "all").replace("&#x27;", "'")
    assert "can confirm olga" not in said
    # A manager revokes the role of the group, and takes nobody out of it.
    assert "Only an administrator takes a person out of a group" in said
    accounts.set_password(actor=cast.principal(olga), user=olga, password="own-horse-battery-2")
    assert "alice can confirm olga on the page Access." in page(signed_in(cast.alice), review, "all")
    shown = signed_in(cast.alice).get("/environments/staging/access").content.decode()
    assert "Confirm the account olga" in shown


def test_only_administrators_start_a_review_and_the_page_names_them(cast: Cast, signed_in: SignedIn) -> None:
    assert "Ask an administrator: root." in signed_in(cast.alice).get("/reviews").content.decode()
    assert "Ask an administrator" not in signed_in(cast.root).get("/reviews").content.decode()


def test_the_chosen_entries_are_decided_each_by_itself(
    cast: Cast, review: Review, signed_in: SignedIn
) -> None:
    client, address = signed_in(cast.alice), reverse("review-decide", args=[review.pk])
    values = [
        value
        for name in ("bob", "vera")
        for value in page(client, review).split('"')
        if value.startswith(f"{item(review, name).pk}:")
    ]
    chosen = {"decision": "end", "item": [*values, f"{item(review, 'erin').pk}:{'0' * 32}", "nonsense"]}
    said = client.post(address, chosen, follow=True).content.decode()
    assert "2 entries ended" in said
    assert "has changed since the page was shown" in said
    assert "There is no such entry" in said
    assert not Membership.objects.filter(user__in=[cast.bob, cast.vera]).exists()
    assert item(review, "erin").decision == ""


def test_a_review_is_started_decided_and_signed_off_by_the_api(cast: Cast, signed_in: SignedIn) -> None:
    root, alice = signed_in(cast.root), signed_in(cast.alice)
    auditor = signed_in(user_with_password("audrey", role="auditor"))

    def post(client: Client, path: str, body: dict[str, Any]) -> Any:
        return client.post(path, json.dumps(body), content_type="application/json")

    made = post(root, "/api/reviews", {"name": "Q4", "environments": ["development"]})
    assert made.status_code == 201
    address = made["Location"]
    items = alice.get(f"{address}/items", {"mine": "true"}).json()["results"]
    assert [each["holder"] for each in items] == ["erin", "bob", "vera"]
    for each in items:
        body = {"decision": "keep", "state": each["state"]}
        decided = post(alice, f"{address}/items/{each['id']}/decide", body)
        assert (decided.status_code, decided.json()["decision"]) == (200, "keep")
    (own,) = alice.get(f"{address}/items", {"decision": "undecided"}).json()["results"]
    body = {"decision": "keep", "state": own["state"], "reason": "mine"}
    assert post(alice, f"{address}/items/{own['id']}/decide", body).status_code == 403
    assert post(auditor, f"{address}/sign", {}).status_code == 409
    assert post(root, f"{address}/items/{own['id']}/decide", body).status_code == 200
    assert post(root, f"{address}/sign", {}).status_code == 403
    signed = post(auditor, f"{address}/sign", {"comment": "fine"})
    assert (signed.status_code, signed.json()["state"]) == (200, "signed")
    assert alice.get(f"{address}/items", {"decision": "other"}).status_code == 400


def test_a_page_of_many_entries_asks_the_database_no_more_for_each(
    cast: Cast, signed_in: SignedIn, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(40):
        user = User.objects.create_user(f"reader-{number}")
        Membership.objects.create(environment=cast.development, user=user, role="reader")
    review = reviews.start(actor=cast.principal(cast.root), name="Q4", environments=[cast.development])
    client = signed_in(cast.alice)
    with django_assert_max_num_queries(45):
        assert page(client, review).count('name="item"') == 43


def test_a_right_that_was_changed_is_shown_beside_the_listed_one(
    cast: Cast, review: Review, signed_in: SignedIn
) -> None:
    Membership.objects.filter(user=cast.bob).update(role="editor")
    bob = Membership.objects.get(user=cast.bob)
    bob.seal_row()
    bob.save()
    client, address = signed_in(cast.alice), f"/api/reviews/{review.pk}/items"

    def entry() -> Any:
        return next(each for each in client.get(address).json()["results"] if each["holder"] == "bob")

    right = {"role": "editor", "prefix": "", "expires_at": None}
    asked = entry()
    assert (asked["role"], asked["now"], asked["kept"]) == ("reader", right, None)
    body = json.dumps({"decision": "keep", "state": asked["state"], "reason": "he writes"})
    client.post(f"{address}/{asked['id']}/decide", body, content_type="application/json")
    assert entry()["kept"] == right | {"as_listed": False}
    reviews.cancel(actor=cast.principal(cast.root), review=review, comment="over")
    assert "Kept as editor, until it is ended" in page(client, review)


def test_forms_are_shown_to_who_can_send_them(cast: Cast, review: Review, signed_in: SignedIn) -> None:
    auditor = signed_in(user_with_password("audrey", role="auditor"))
    assert "Keep selected" in page(signed_in(cast.alice), review)
    undecided = page(auditor, review, "all")
    assert "Keep selected" not in undecided
    assert "Possible when all entries are decided" in undecided
    assert reverse("review-sign", args=[review.pk]) not in undecided
    for one in ReviewItem.objects.filter(review=review).select_related("review"):
        state = lines_for([one])[key_of(one)].state
        actor = cast.principal(cast.root)
        decisions.decide(actor=actor, item=one, decision="keep", state=state, reason="needed")
    assert reverse("review-sign", args=[review.pk]) in page(auditor, review)


def test_a_review_is_started_with_a_scope_on_the_page(cast: Cast, signed_in: SignedIn) -> None:
    client = signed_in(cast.root)
    form = {
        "name": "Shop", "environments": [cast.development.pk], "days": "14", "prefix": "shop",
        "kinds": ["direct"], "ends_undecided": "on",
    }  # fmt: skip
    said = client.post(reverse("review-new"), form, follow=True).content.decode()
    review = Review.objects.get()
    assert (review.prefix, review.kinds, review.ends_undecided) == ("shop", ["direct"], True)
    assert "development, only what reaches shop/, only direct grant" in said
    assert "Keeper ends it a week after the review was due" in said
    read = client.get(f"/api/reviews/{review.pk}").json()
    assert (read["prefix"], read["kinds"], read["ends_undecided"]) == ("shop", ["direct"], True)
    assert "shop//db" in client.post(reverse("review-new"), form | {"prefix": "shop//db"}).content.decode()
    assert Review.objects.count() == 1


def test_access_is_made_less_on_the_page_and_by_the_api(
    cast: Cast, review: Review, signed_in: SignedIn
) -> None:
    client, address = signed_in(cast.alice), reverse("review-decide", args=[review.pk])
    assert "Change selected" in page(client, review)
    listed = f"/api/reviews/{review.pk}/items"
    states = {each["holder"]: each for each in client.get(listed).json()["results"]}

    def chosen(name: str, **fields: str) -> str:
        form = {"decision": "change", "item": f"{states[name]['id']}:{states[name]['state']}", **fields}
        return client.post(address, form, follow=True).content.decode()

    assert "Choose a lower role, a path or an end" in chosen("erin")
    assert "a review gives no higher role" in chosen("erin", role="manager")
    assert "Enter a role, a path or a time" in chosen("erin", expires_at="soon")
    assert "1 entry changed" in chosen("erin", role="viewer", prefix="shop", expires_at="2099-01-01T10:00")
    erin = Membership.objects.get(user=cast.erin)
    assert (erin.role, erin.prefix) == ("viewer", "shop")
    assert "Now viewer under shop/, until 2099-01-01T10:00" in page(client, review, "change")
    body = {"decision": "change", "state": states["bob"]["state"], "role": "viewer"}

    def post(body: dict[str, Any]) -> Any:
        where = f"{listed}/{states['bob']['id']}/decide"
        return client.post(where, json.dumps(body), content_type="application/json")

    assert post(body | {"decision": "keep"}).status_code == 400
    assert post(body | {"role": "manager"}).status_code == 400
    assert post(body | {"prefix": "shop//db"}).status_code == 400
    answer = post(body).json()
    assert (answer["decision"], answer["kept"]["role"], answer["now"]["role"]) == (
        "change",
        "viewer",
        "viewer",
    )


def test_select_all_is_not_shown_where_nothing_can_be_selected(
    cast: Cast, review: Review, signed_in: SignedIn
) -> None:
    assert "data-select-all" in page(signed_in(cast.alice), review)
    assert "data-select-all" not in page(signed_in(user_with_password("audrey", role="auditor")), review)


def test_what_came_back_is_decided_and_signed_on_the_page(
    cast: Cast, review: Review, signed_in: SignedIn
) -> None:
    client, auditor = signed_in(cast.root), signed_in(user_with_password("audrey", role="auditor"))
    bob = item(review, "bob")
    for one in ReviewItem.objects.filter(review=review).select_related("review"):
        line, actor = lines_for([one])[key_of(one)], cast.principal(cast.root)
        decisions.decide(actor=actor, item=one, decision="keep", state=line.state, reason="needed")
    box = f'name="item" value="{bob.pk}:'
    assert box not in page(client, review, "all")
    membership = Membership.objects.get(user=cast.bob, environment=cast.development)
    memberships.change_membership(actor=cast.principal(cast.alice), membership=membership, role="editor")
    sign = reverse("review-sign", args=[review.pk])
    assert "Decide about it again" in auditor.post(sign, {"given": ""}, follow=True).content.decode()
    shown = page(client, review, "all")
    assert "This access has changed since it was kept. Decide about it again." in shown
    (chosen,) = re.findall(rf'name="item" value="({bob.pk}:[^"]*)"', shown)
    assert shown.count('name="item"') == 1
    decide = reverse("review-decide", args=[review.pk])
    body = {"item": chosen, "decision": "end", "reason": "not wanted"}
    assert "1 entry ended." in client.post(decide, body, follow=True).content.decode()
    assert box not in page(client, review, "all")
    assert "Signed off" in auditor.post(sign, {"given": ""}, follow=True).content.decode()


def test_what_was_given_since_is_shown_at_the_sign_off(
    cast: Cast, review: Review, signed_in: SignedIn
) -> None:
    auditor = signed_in(user_with_password("audrey", role="auditor"))
    Membership.objects.create(environment=cast.development, user=cast.charlie, role="reader")
    address = f"/api/reviews/{review.pk}"
    assert "Given since" not in page(auditor, review)
    assert auditor.get(address).json()["given"] == []
    for one in ReviewItem.objects.filter(review=review).select_related("review"):
        state, actor = lines_for([one])[key_of(one)].state, cast.principal(cast.root)
        decisions.decide(actor=actor, item=one, decision="keep", state=state, reason="needed")
    shown = page(auditor, review)
    assert "Given since: 1" in shown
    assert "and the 1 given since" in shown
    read = auditor.get(address).json()
    assert [(one["holder"], one["role"]) for one in read["given"]] == [("charlie", "reader")]
    assert f'name="given" value="{read["given_digest"]}"' in shown
    # What is not acknowledged is not signed, by the page or by the API.
    sign = reverse("review-sign", args=[review.pk])
    said = auditor.post(sign, {"given": ""}, follow=True).content.decode()
    assert "1 entries of access were given since" in said
    body = json.dumps({"given": "0" * 64})
    assert auditor.post(f"{address}/sign", body, content_type="application/json").status_code == 409
    assert "Signed off" in auditor.post(sign, {"given": read["given_digest"]}, follow=True).content.decode()
    assert "Given since: 1" in page(auditor, review)
    assert auditor.get(address).json()["given"] == read["given"]
