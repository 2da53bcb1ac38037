"""Acts on many: each secret has its own preview and its own result, and what was not seen is not touched."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from audit_app.models import AuditEvent, ReadManifestItem
from environments_app.models import Approval, Membership, User
from environments_app.tests.cast import Cast
from secrets_app.models import Secret
from secrets_app.services import lifecycle
from secrets_app.tests.kept import VALUE, change, keep
from secrets_app.views import bulk as bulk_views
from secrets_app.views import listing

pytestmark = pytest.mark.every_database

SignedIn = Callable[[User], Client]
Events = Callable[..., list[AuditEvent]]


def form(act: str, *secrets: Secret, step: str = "", **options: str) -> dict[str, Any]:
    picks = [f"{each.pk}:{each.etag}" for each in map(stored, secrets)]
    return {"act": act, "pick": picks, "step": step, **options}


def stored(secret: Secret) -> Secret:
    return Secret.objects.select_related("environment").get(pk=secret.pk)


def results(page: Any) -> dict[str, tuple[bool, str]]:
    return {result.name: (result.done, result.reason) for result in page.context["results"]}


DONE: dict[str, tuple[dict[str, str], Callable[[Cast], bool]]] = {
    "tag": ({"tags": "New, b"}, lambda cast: Secret.objects.get(name="a").tags == ["b", "new", "old"]),
    "untag": ({"tags": "old"}, lambda cast: Secret.objects.get(name="a").tags == []),
    "copy": ({"environment": "production"}, lambda cast: Secret.objects.filter(environment=cast.production, live=True).count() == 2),
    "move": ({"environment": "production"}, lambda cast: Secret.objects.get(live=True, name="a").environment == cast.production),
    "rotate": ({}, lambda cast: Secret.objects.get(name="a").rotation_due_at is not None),
    "delete": ({}, lambda cast: not Secret.objects.filter(live=True).exists()),
    "restore": ({}, lambda cast: Secret.objects.filter(live=True).count() == 2),
}  # fmt: skip


@pytest.mark.parametrize("act", DONE)
def test_an_act_is_previewed_and_then_done_to_each(cast: Cast, signed_in: SignedIn, act: str) -> None:
    secrets = [keep(cast, name, tags=["old"]) for name in ("a", "b")]
    if act == "restore":
        for secret in secrets:
            lifecycle.delete(actor=cast.principal(cast.alice), secret=secret)
    options, holds = DONE[act]
    browser = signed_in(cast.alice)
    before = list(Secret.objects.order_by("pk").values_list("revision", "live"))

    preview = browser.post("/secrets/bulk", form(act, *secrets, step="preview", **options))

    assert [each.reason for each in preview.context["chosen"]] == ["", ""]
    assert list(Secret.objects.order_by("pk").values_list("revision", "live")) == before
    done = browser.post("/secrets/bulk", form(act, *secrets, step="apply", **options))
    assert results(done) == {"a": (True, ""), "b": (True, "")}
    assert holds(cast)


def test_each_refusal_is_told_and_the_others_are_done(cast: Cast, signed_in: SignedIn) -> None:
    part = User.objects.create_user("part")
    Membership.objects.create(environment=cast.development, user=part, role="viewer")
    Membership.objects.create(environment=cast.development, user=part, role="editor", prefix="mine")
    mine, other, later = keep(cast, "mine/a"), keep(cast, "other/a"), keep(cast, "mine/b")
    browser = signed_in(part)
    sent = form("delete", mine, other, later)
    preview = browser.post("/secrets/bulk", sent)
    assert [(each.secret.name, bool(each.reason)) for each in preview.context["chosen"]] == [
        ("mine/a", False),
        ("mine/b", False),
        ("other/a", True),
    ]
    change(cast, later, "changed meanwhile")

    done = results(browser.post("/secrets/bulk", sent | {"step": "apply"}))

    assert {name: result[0] for name, result in done.items()} == {
        "mine/a": True,
        "mine/b": False,
        "other/a": False,
    }
    assert "since your preview" in done["mine/b"][1]
    assert set(Secret.objects.filter(live=True).values_list("name", flat=True)) == {"mine/b", "other/a"}


def test_what_one_may_not_see_is_not_among_the_chosen(cast: Cast, signed_in: SignedIn) -> None:
    hidden = keep(cast, "unseen/key", environment=cast.production)
    page = signed_in(cast.erin).post("/secrets/bulk", form("delete", hidden, step="apply"))
    assert b"unseen/key" not in page.content
    assert results(page) == {}
    assert stored(hidden).live


def test_a_destructive_act_in_a_protected_environment_asks_for_its_name(
    cast: Cast, signed_in: SignedIn
) -> None:
    secret = keep(cast, environment=cast.production)
    cast.production.protected = True
    cast.production.save()
    browser = signed_in(cast.alice)
    browser.post("/secrets/bulk", form("delete", secret, step="apply"))
    assert not Approval.objects.exists()
    browser.post("/secrets/bulk", form("delete", secret, step="apply", typed="production"))
    # A second person decides on it.
    assert stored(secret).live
    assert Approval.objects.get().object_uuid == secret.uuid


def test_the_chosen_of_one_environment_are_exported_on_the_record(
    cast: Cast, signed_in: SignedIn, events: Events
) -> None:
    chosen, left_out, elsewhere = (
        keep(cast, "a"),
        keep(cast, "b"),
        keep(cast, "c", environment=cast.production),
    )
    browser = signed_in(cast.alice)
    assert (
        "from one environment"
        in browser.post("/secrets/bulk", form("export", chosen, elsewhere)).content.decode()
    )
    file = browser.post("/secrets/bulk", form("export", chosen, step="apply", format="json"))
    assert file.json() == {"a": VALUE}
    (event,) = events("secret.export")
    read = ReadManifestItem.objects.filter(manifest=event.manifest_id).values_list("secret_uuid", flat=True)
    assert list(read) == [chosen.uuid]
    assert left_out.pk


def test_a_due_rotation_is_over_with_the_next_value(cast: Cast, signed_in: SignedIn) -> None:
    secret = keep(cast)
    browser = signed_in(cast.alice)
    told = browser.post("/secrets/bulk", form("rotate", secret)).content.decode()
    assert "The rest are marked as due" in told
    done = browser.post("/secrets/bulk", form("rotate", secret, step="apply")).content.decode()
    assert "<span>marked as due</span>" in done, "no policy rotates it, so that nothing was asked for"
    assert stored(secret).rotation_due_at is not None
    assert "<span>rotation due</span>" in browser.get(f"/secrets/{secret.pk}").content.decode()
    assert stored(change(cast, secret, "next")).rotation_due_at is None
    assert "rotation due" not in browser.get(f"/secrets/{secret.pk}").content.decode()


# --- The list ------------------------------------------------------------------------------------


def test_names_are_walked_as_folders(cast: Cast, signed_in: SignedIn) -> None:
    for name in ("top", "pay/a", "pay/db/one", "pay/db/two", "payments/x", "Pay/y"):
        keep(cast, name)
    browser = signed_in(cast.alice)
    top = browser.get("/secrets?view=folders")
    assert [(each["name"], each["count"]) for each in top.context["folders"]] == [
        ("Pay/", 1),
        ("pay/", 3),
        ("payments/", 1),
    ]
    assert [row["secret"].name for row in top.context["rows"]] == ["top"]
    inside = browser.get("/secrets?view=folders&prefix=pay")
    assert [(each["name"], each["count"]) for each in inside.context["folders"]] == [("db/", 2)]
    assert [row["secret"].name for row in inside.context["rows"]] == ["pay/a"]
    assert [step["name"] for step in inside.context["path"]] == ["All", "pay"]


def test_the_tree_opens_the_branch_of_the_path(cast: Cast, signed_in: SignedIn) -> None:
    for name in ("top", "pay/a", "pay/db/one", "pay/web/two", "search/x"):
        keep(cast, name)
    page = signed_in(cast.alice).get("/secrets?view=folders&prefix=pay")
    assert [(each["name"], each["depth"], each["is_open"]) for each in page.context["tree"]] == [
        ("pay/", 0, True),
        ("db/", 1, False),
        ("web/", 1, False),
        ("search/", 0, False),
    ]
    assert [each["name"] for each in page.context["folders"]] == ["db/", "web/"]


def test_folders_show_nothing_of_what_one_may_not_see(cast: Cast, signed_in: SignedIn) -> None:
    keep(cast, "secret-project/x")
    keep(cast, "mine/x")
    part = User.objects.create_user("part")
    Membership.objects.create(environment=cast.development, user=part, role="viewer", prefix="mine")
    page = signed_in(part).get("/secrets?view=folders")
    assert [each["name"] for each in page.context["folders"]] == ["mine/"]
    assert b"secret-project" not in page.content


def test_the_search_of_the_top_bar_finds_everywhere_one_may_see(cast: Cast, signed_in: SignedIn) -> None:
    keep(cast, "pay/stripe")
    keep(cast, "other", description="for Stripe", environment=cast.production)
    alice, erin = (signed_in(who).get("/secrets/search?q=stripe") for who in (cast.alice, cast.erin))
    assert [row.name for row in alice.context["found"]] == ["other", "pay/stripe"]
    assert [row.name for row in erin.context["found"]] == ["pay/stripe"]


def test_the_search_of_the_top_bar_looks_through_so_many_names_and_says_so(
    cast: Cast, signed_in: SignedIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a/late", "b", "c", "late/z", "z/late"):
        keep(cast, name)
    alice = signed_in(cast.alice)

    def found() -> tuple[list[str], bool]:
        answer = alice.get("/secrets/search?q=late")
        return [row.name for row in answer.context["found"]], b"first 3 names only" in answer.content

    assert found() == (["late/z", "a/late", "z/late"], False)
    monkeypatch.setattr(listing, "LOOKED_AT", 3)
    # What begins so is found wherever it is.
    assert found() == (["late/z", "a/late"], True)
    # Who may see no more than that has all of it looked through.
    monkeypatch.setattr(listing, "LOOKED_AT", 5)
    assert found() == (["late/z", "a/late", "z/late"], False)


@pytest.mark.parametrize(
    "path",
    [
        "/secrets?ordering=-updated",
        "/secrets?q=x&deleted=on",
        "/secrets?starred=on",
        "/secrets?recent=on",
        "/secrets?view=folders",
        "/secrets?view=folders&prefix=f",
        "/secrets/search?q=x",
    ],
)
def test_a_list_costs_the_same_statements_for_many_as_for_few(
    cast: Cast, signed_in: SignedIn, path: str
) -> None:
    browser = signed_in(cast.alice)
    costs = []
    for number in (2, 12):
        for place in range(number):
            keep(cast, f"f{number}/{place}x")
        browser.get(path)
        with CaptureQueriesContext(connection) as captured:
            browser.get(path)
        costs.append(len(captured))
        counts = [query["sql"] for query in captured.captured_queries if "COUNT(*)" in query["sql"]]
        assert all("LIMIT 2001" in sql for sql in counts if "secrets_app_secret" in sql)
    assert costs[0] == costs[1]


def test_the_list_says_how_many_match_and_where_a_page_is(cast: Cast, signed_in: SignedIn) -> None:
    for number in range(5):
        keep(cast, f"mail/{number}")
    keep(cast, "other")
    browser = signed_in(cast.alice)
    first = browser.get("/secrets?q=mail&limit=2")
    assert "1\N{EN DASH}2 of 5" in first.content.decode()
    second = browser.get(first.context["next_url"])
    assert "3\N{EN DASH}4 of 5" in second.content.decode()
    assert "1\N{EN DASH}2 of 5" in browser.get(second.context["previous_url"]).content.decode()


def test_heads_sort_and_say_how(cast: Cast, signed_in: SignedIn) -> None:
    keep(cast, "a")
    heads = signed_in(cast.alice).get("/secrets?q=a&ordering=-updated").context["heads"]
    assert heads["updated"] == {"url": "/secrets?q=a&ordering=updated", "sort": "descending"}
    assert heads["name"] == {"url": "/secrets?q=a", "sort": ""}


def test_a_row_shows_its_value_on_the_record_to_those_who_may(
    cast: Cast, signed_in: SignedIn, events: Events
) -> None:
    secret = keep(cast)
    shown = signed_in(cast.bob).post(
        f"/secrets/{secret.pk}/reveal", {"shape": "row"}, headers={"hx-request": "true"}
    )
    assert VALUE in shown.content.decode()
    assert 'data-mask-after="30"' in shown.content.decode()
    assert len(events("secret.reveal")) == 1
    assert "data-row-reveal" in signed_in(cast.bob).get("/secrets").content.decode()
    assert "data-row-reveal" not in signed_in(cast.vera).get("/secrets").content.decode()


def test_all_that_match_are_acted_on_in_parts(
    cast: Cast, signed_in: SignedIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_views, "MAX_CHOSEN", 2)
    for number in range(5):
        keep(cast, f"mail/{number}")
    other = keep(cast, "other")
    browser = signed_in(cast.alice)
    page = browser.post("/secrets/bulk", {"act": "tag", "matching": "1", "back": "q=mail"})
    assert len(page.context["secrets"]) == 5
    sent = {"act": "tag", "step": "apply", "tags": "post", "back": "q=mail"}
    picks = " ".join(f"{each.pk}:{each.etag}" for each in page.context["secrets"])
    told = []
    done = "0"
    while picks:
        page = browser.post("/secrets/bulk", sent | {"picks": picks, "done": done})
        picks, done = page.context["picks"], str(page.context["done"])
        told.append((page.context["attempted"], len(page.context["left"])))
    assert told == [(2, 3), (4, 1), (5, 0)]
    assert 'href="/secrets?q=mail"' in page.content.decode()
    assert Secret.objects.filter(search_text__contains="post").count() == 5
    assert stored(other).tags == []


def test_all_that_match_never_holds_what_one_may_not_see(cast: Cast, signed_in: SignedIn) -> None:
    keep(cast, "mine/a")
    keep(cast, "unseen/key", environment=cast.production)
    page = signed_in(cast.erin).post("/secrets/bulk", {"act": "tag", "matching": "1", "back": ""})
    assert [each.name for each in page.context["secrets"]] == ["mine/a"]


def test_the_matrix_shows_gaps_and_on_the_record_what_differs(
    cast: Cast, signed_in: SignedIn, events: Events
) -> None:
    keep(cast, "same")
    keep(cast, "same", environment=cast.production)
    keep(cast, "other")
    keep(cast, "other", "else", environment=cast.production)
    keep(cast, "gap")
    browser = signed_in(cast.alice)
    page = browser.get("/secrets/matrix")
    assert [(row["name"], row["gaps"]) for row in page.context["rows"]] == [
        ("gap", 1),
        ("other", 0),
        ("same", 0),
    ]
    assert not events("secret.compare")
    compared = browser.post("/secrets/matrix")
    told = {
        row["name"]: [cell.get("difference") for cell in row["cells"]] for row in compared.context["rows"]
    }
    assert told == {"gap": ["", None], "other": ["same", "different"], "same": ["same", "same"]}
    assert len(events("secret.compare")) == 2
    # Who reads in one environment alone sees one column, and compares nothing.
    reader = signed_in(cast.bob).post("/secrets/matrix")
    assert [row["name"] for row in reader.context["rows"]] == ["gap", "other", "same"]
    assert not reader.context["compared"]
    assert len(events("secret.compare")) == 2


def test_the_matrix_pages_by_name_with_the_same_statements(cast: Cast, signed_in: SignedIn) -> None:
    browser = signed_in(cast.alice)
    costs = []
    for first, last in ((0, 5), (5, 60)):
        for number in range(first, last):
            keep(cast, f"name-{number:02}")
        browser.get("/secrets/matrix")
        with CaptureQueriesContext(connection) as captured:
            page = browser.get("/secrets/matrix?q=name")
        costs.append(len(captured))
    assert costs[0] == costs[1]
    following = browser.get(page.context["next_url"])
    assert [row["name"] for row in following.context["rows"]] == [
        f"name-{number}" for number in range(50, 60)
    ]
    back = browser.get(following.context["previous_url"])
    assert [row["name"] for row in back.context["rows"]] == [f"name-{number:02}" for number in range(50)]


def test_a_star_is_one_persons_and_keeps_a_secret_at_hand(cast: Cast, signed_in: SignedIn) -> None:
    secret = keep(cast, "mine")
    keep(cast, "other")
    vera, bob = signed_in(cast.vera), signed_in(cast.bob)
    for _ in range(2):
        starred = vera.post(f"/secrets/{secret.pk}/star", {"starred": "1"})
    assert 'aria-pressed="true"' in starred.content.decode()
    assert [row["secret"].name for row in vera.get("/secrets?starred=on").context["rows"]] == ["mine"]
    assert [row["starred"] for row in vera.get("/secrets").context["rows"]] == [True, False]
    assert bob.get("/secrets?starred=on").context["rows"] == []
    vera.post(f"/secrets/{secret.pk}/star", {"starred": ""})
    assert vera.get("/secrets?starred=on").context["rows"] == []
    # What one may not see cannot be starred.
    assert signed_in(cast.charlie).post(f"/secrets/{secret.pk}/star", {"starred": "1"}).status_code == 404


def test_a_deletion_of_many_is_undone_by_one_click(
    cast: Cast, signed_in: SignedIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_views, "MAX_CHOSEN", 2)
    secrets = [keep(cast, name) for name in ("a", "b", "c")]
    browser = signed_in(cast.alice)
    part = browser.post("/secrets/bulk", form("delete", *secrets, step="apply"))
    left = {"act": "delete", "step": "apply", "picks": part.context["picks"]}
    assert (len(part.context["undo"]), "Undo" in part.content.decode()) == (2, False)
    done = browser.post("/secrets/bulk", left | {"undo": " ".join(part.context["undo"]), "done": "2"})
    assert not Secret.objects.filter(live=True).exists()
    assert ">Undo</button>" in done.content.decode()
    undo = {"act": "restore", "step": "apply", "picks": " ".join(done.context["undo"])}
    browser.post("/secrets/bulk", undo)
    again = browser.post("/secrets/bulk", undo | {"picks": done.context["undo"][-1]})
    assert Secret.objects.filter(live=True).count() == 3
    assert ">Undo</button>" not in again.content.decode()


def test_undo_is_offered_to_those_alone_who_may_restore(
    cast: Cast, signed_in: SignedIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_views, "allows", lambda *_, **__: False)
    done = signed_in(cast.alice).post("/secrets/bulk", form("delete", keep(cast, "a"), step="apply"))
    assert results(done) == {"a": (True, "")}
    assert ">Undo</button>" not in done.content.decode()
