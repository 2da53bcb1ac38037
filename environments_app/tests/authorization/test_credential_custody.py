"""Who may be one person with whom: accounts and tokens that somebody made, or took over."""

from collections.abc import Callable
from typing import Final
from uuid import UUID

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from audit_app.events.actions import Action
from audit_app.models import AuditEvent
from audit_app.recording.drafts import AuditObject
from environments_app.access_requests import decisions
from environments_app.access_requests import service as access_requests
from environments_app.approvals import service as approvals
from environments_app.approvals.one_person import way_apart
from environments_app.authentication import second_factor
from environments_app.authorization.credential_custody import CUSTODY, CustodyGraph
from environments_app.authorization.effective_access import held_accounts
from environments_app.authorization.policy import Principal, record_denial
from environments_app.authorization.principals import system_principal, token_principal
from environments_app.environments import memberships
from environments_app.environments import service as environments
from environments_app.errors import ApprovalNeeded, Conflict, Forbidden, InvalidField
from environments_app.models import Approval, Environment, GroupMember, Membership, Role, User
from environments_app.single_sign_on import group_mapping
from environments_app.tests.cast import PASSWORD, Cast, choose_password
from environments_app.tests.trusts.issuer import Issuer
from environments_app.tests.trusts.made import make_trust
from environments_app.tokens import service as tokens
from environments_app.trusts import service as trusts
from environments_app.users import accounts, suspensions
from environments_app.users.password_links import invite, invite_new

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.every_database_weekly]
NEW = "another-long-passphrase"


@pytest.fixture
def protected(cast: Cast) -> Cast:
    """Return the cast, with production protected."""
    cast.production.protected = True
    cast.production.save()
    return cast


def host() -> Principal:
    return system_principal(is_admin=True)


def administrator(actor: Principal, name: str) -> User:
    made = accounts.create_user(actor=actor, username=name, role="admin", password=PASSWORD)
    if made.temporary_since:
        choose_password(made)
    return made


def asked(actor: Principal, act: Callable[[], object]) -> Approval:
    with pytest.raises(ApprovalNeeded) as raised:
        act()
    return Approval.objects.select_related("environment").get(pk=raised.value.approval)


def wants_in(cast: Cast, asker: User, *, user: User | None = None) -> Approval:
    """Let an account ask for a role in production, by default its own."""
    actor, user = cast.principal(asker), user or asker
    return asked(
        actor, lambda: memberships.grant(actor=actor, environment=cast.production, user=user, role="editor")
    )


def may(cast: Cast, user: User, approval: Approval) -> bool:
    return approvals.may_approve(cast.principal(user), approval)


def test_who_makes_a_second_administrator_is_not_two_people(protected: Cast) -> None:
    cast = protected
    second = administrator(cast.principal(cast.root), "second")
    third = administrator(cast.principal(second), "third")
    for user in (second, third):
        approval = wants_in(cast, cast.root)
        assert not may(cast, user, approval)
        with pytest.raises(Forbidden):
            approvals.approve(actor=cast.principal(user), approval=approval)
        assert not may(cast, cast.root, wants_in(cast, user))
    # Nor are two whom the same one made.
    assert not may(cast, administrator(cast.principal(cast.root), "fourth"), wants_in(cast, third))
    # One that somebody else made is; so is a manager whom none of them made.
    assert may(cast, administrator(host(), "other"), wants_in(cast, cast.root))
    assert may(cast, cast.alice, wants_in(cast, second))


@pytest.mark.parametrize("way", ["password", "second factor", "account"])
def test_who_took_an_administrators_account_over_is_not_two_people(protected: Cast, way: str) -> None:
    cast = protected
    root, other = cast.principal(cast.root), administrator(host(), "other")
    if way == "password":
        accounts.set_password(actor=root, user=other, password=NEW)
    elif way == "second factor":
        User.objects.filter(pk=other.pk).update()
        second_factor.begin(actor=cast.principal(other), user=other)
        factor = other.second_factors.get()
        other.second_factor = factor.uuid
        other.save()
        second_factor.remove(actor=root, user=other)
    else:
        accounts.restore_account(actor=root, user=other, role="admin", password=NEW)
    since = User.objects.get(pk=other.pk).suspended_at
    assert since is not None

    def confirm() -> None:
        suspensions.confirm_account(
            actor=cast.principal(cast.alice), environment=cast.production, user=other, since=since
        )

    if way != "second factor":
        with pytest.raises(Conflict, match="choose a password"):
            confirm()
        choose_password(other)
    assert not may(cast, other, wants_in(cast, cast.root))
    confirm()
    # Another person says that it is in its person's hands.
    assert may(cast, other, wants_in(cast, cast.root))


def test_a_manager_who_restored_an_account_does_not_confirm_it(protected: Cast) -> None:
    """They chose its password, and would be both people of a change."""
    cast = protected
    accounts.update_user(actor=host(), user=cast.alice, role="admin")
    alice, bob = cast.principal(cast.alice), cast.bob
    accounts.restore_account(actor=alice, user=bob, role="user", password=NEW)
    choose_password(bob)
    assert cast.alice.uuid in CustodyGraph().behind(bob.uuid, environment=cast.production)
    since = User.objects.get(pk=bob.pk).suspended_at
    with pytest.raises(Conflict, match="both people"):
        suspensions.confirm_account(actor=alice, environment=cast.production, user=bob, since=since)


def test_a_change_that_lets_nobody_sign_in_counts_for_nothing(protected: Cast) -> None:
    other = administrator(host(), "other")
    root = protected.principal(protected.root)
    accounts.update_user(actor=root, user=other, email="other@example.com", display_name="O")
    assert may(protected, other, wants_in(protected, protected.root))


def test_who_issued_the_token_that_issued_the_token_does_not_approve_what_it_asks(protected: Cast) -> None:
    cast, place = protected, protected.production
    Membership.objects.create(environment=place, user=cast.erin, role=Role.MANAGER)
    cast.production.protected = False
    cast.production.save()
    first, _ = tokens.issue(actor=cast.principal(cast.alice), environment=place, role="manager", name="first")
    second, _ = tokens.issue(actor=token_principal(first), environment=place, role="manager", name="second")
    place.protected = True
    place.save()
    actor = token_principal(second)
    approval = asked(
        actor,
        lambda: environments.update_environment(actor=actor, environment=place, protected=False),
    )
    assert not may(cast, cast.alice, approval)
    with pytest.raises(Forbidden):
        approvals.approve(actor=cast.principal(cast.alice), approval=approval)
    assert approvals.waiting_for(cast.principal(cast.alice)) == []
    assert may(cast, cast.erin, approval)
    assert approvals.waiting_for(cast.principal(cast.erin)) == [approval]


def test_who_replaced_a_password_confirms_it_in_no_protected_environment(protected: Cast) -> None:
    cast, place = protected, protected.production
    Membership.objects.create(environment=place, user=cast.root, role=Role.MANAGER)
    Membership.objects.create(environment=place, user=cast.bob, role=Role.MANAGER)
    helper = administrator(cast.principal(cast.root), "helper")

    def confirm(by: User) -> None:
        since = User.objects.get(pk=cast.bob.pk).suspended_at
        assert since is not None
        suspensions.confirm_account(actor=cast.principal(by), environment=place, user=cast.bob, since=since)

    for taker in (cast.root, helper):
        accounts.set_password(actor=cast.principal(taker), user=cast.bob, password=NEW)
        choose_password(cast.bob)
        with pytest.raises(Conflict, match="both people"):
            confirm(cast.root)
        assert cast.principal(cast.bob).suspended
    confirm(cast.alice)
    # Where one person suffices they gain nothing by it.
    accounts.set_password(actor=cast.principal(cast.root), user=cast.bob, password=NEW + "-again")
    choose_password(cast.bob)
    place.protected = False
    place.save()
    confirm(cast.root)


def test_what_was_asked_before_a_confirmation_stays_in_the_hands_of_then(protected: Cast) -> None:
    cast, place = protected, protected.production
    puppet = accounts.create_user(actor=cast.principal(cast.root), username="puppet", password=NEW)
    choose_password(puppet)
    for user in (puppet, cast.root):
        Membership.objects.create(environment=place, user=user, role=Role.MANAGER)
    before = wants_in(cast, puppet, user=cast.vera)
    place.protected = False
    place.save()
    token, _ = tokens.issue(actor=cast.principal(puppet), environment=place, role="manager", name="old")
    place.protected = True
    place.save()
    for by in (cast.root, puppet):
        with pytest.raises(Conflict):
            suspensions.confirm_account(actor=cast.principal(by), environment=place, user=puppet, since=None)
    assert [each.by for each in held_accounts(place)] == [["root"]]
    # No button is offered to who would be refused.
    for user, offered in ((cast.root, False), (cast.alice, True)):
        client = Client()
        client.force_login(user, backend="environments_app.users.password_backend.LocalBackend")
        page = client.get(f"/environments/{place.name}/access").content.decode()
        assert (f"Confirm the account {puppet.username}" in page) is offered
        assert ("alice can confirm it" in page) is not offered
        assert "keeper changepassword" not in page
    suspensions.confirm_account(actor=cast.principal(cast.alice), environment=place, user=puppet, since=None)
    assert held_accounts(place) == []
    assert not may(cast, cast.root, before)
    after = asked(
        cast.principal(puppet),
        lambda: environments.update_environment(
            actor=cast.principal(puppet), environment=place, protected=False
        ),
    )
    assert may(cast, cast.root, after)
    # The token that its maker could have issued as the account is still theirs.
    actor = token_principal(token)
    by_token = asked(
        actor,
        lambda: memberships.grant(actor=actor, environment=place, user=cast.charlie, role="reader"),
    )
    assert not may(cast, cast.root, by_token)
    assert may(cast, cast.alice, by_token)
    # Elsewhere nobody has confirmed it.
    hands = CustodyGraph()
    assert cast.root.uuid in hands.behind(puppet.uuid, environment=cast.development)
    assert cast.root.uuid not in hands.behind(puppet.uuid, environment=place)


def test_who_is_behind_the_maker_is_asked_as_of_each_of_its_acts(protected: Cast) -> None:
    """Directly, the maker acted when somebody had confirmed it; through another account, before."""
    cast = protected
    maker, target = administrator(host(), "maker"), administrator(host(), "target")
    accounts.set_password(actor=cast.principal(cast.root), user=maker, password=NEW)
    choose_password(maker)
    middle = administrator(cast.principal(maker), "middle")
    suspensions.confirm_account(
        actor=cast.principal(cast.alice),
        environment=cast.production,
        user=maker,
        since=User.objects.get(pk=maker.pk).suspended_at,
    )

    def behind() -> set[UUID]:
        return CustodyGraph().behind(target.uuid, environment=cast.production)

    accounts.set_password(actor=cast.principal(maker), user=target, password=NEW)
    assert behind() == {target.uuid, maker.uuid}
    accounts.set_password(actor=cast.principal(middle), user=target, password=NEW)
    assert behind() == {target.uuid, maker.uuid, middle.uuid, cast.root.uuid}


def test_who_changes_the_address_of_an_invited_account_could_sign_in_as_it(
    cast: Cast, settings: Settings
) -> None:
    settings.EMAIL_HOST, settings.KEEPER_URL = "mail.example.com", "https://keeper.example.com"
    made = invite_new(actor=host(), username="nina", email="nina@example.com")
    accounts.update_user(actor=cast.principal(cast.root), user=made, display_name="Nina")
    assert CustodyGraph().behind(made.uuid, environment=None) == {made.uuid}
    accounts.update_user(actor=cast.principal(cast.root), user=made, email="root@example.com")
    assert cast.root.uuid in CustodyGraph().behind(made.uuid, environment=None)


def test_who_sends_the_invitation_again_could_sign_in_by_it(cast: Cast, settings: Settings) -> None:
    settings.EMAIL_HOST, settings.KEEPER_URL = "mail.example.com", "https://keeper.example.com"
    made = invite_new(actor=host(), username="nina", email="nina@example.com")
    invite(actor=cast.principal(cast.root), user=made)
    assert cast.root.uuid in CustodyGraph().behind(made.uuid, environment=None)


def test_what_else_the_host_changes_ends_no_custody(cast: Cast) -> None:
    puppet = administrator(cast.principal(cast.root), "puppet")
    accounts.update_user(actor=host(), user=puppet, email="puppet@example.com", role="user")
    assert cast.root.uuid in CustodyGraph().behind(puppet.uuid, environment=None)


def test_a_refused_change_gives_no_custody(cast: Cast) -> None:
    made = make_trust(cast, Issuer(), role="editor")
    record_denial(
        actor=cast.principal(cast.bob),
        action=Action.TRUST_CHANGE,
        environment=cast.development,
        object=AuditObject("trust", made.uuid, made.name),
    )
    assert cast.bob.uuid not in CustodyGraph().behind(made.uuid, environment=cast.development)


def test_accounts_that_others_could_use_are_those_of_the_environment_that_can_sign_in(cast: Cast) -> None:
    apart, disabled, suspended, reading, held = (
        accounts.create_user(actor=cast.principal(cast.root), username=name, password=NEW)
        for name in ("apart", "disabled", "suspended", "reading", "held")
    )
    for user, place, role in (
        (apart, cast.production, "editor"),
        (disabled, cast.development, "editor"),
        (suspended, cast.development, "editor"),
        (reading, cast.development, "reader"),
        (held, cast.development, "manager"),
    ):
        Membership.objects.create(environment=place, user=user, role=role)
    for name in ("one", "two"):
        group = Group.objects.create(name=name)
        GroupMember.objects.create(user=held, group=group)
        Membership.objects.create(environment=cast.development, group=group, role="editor")
    User.objects.filter(pk=disabled.pk).update(is_active=False)
    User.objects.filter(pk=suspended.pk).update(suspended_at=timezone.now())
    assert [tuple(each) for each in held_accounts(cast.development)] == [(held, ["root"])]


def test_names_are_of_people_alone(cast: Cast) -> None:
    token, _ = tokens.issue(actor=host(), environment=cast.development, role="reader", name="ci")
    assert CustodyGraph().names_of({token.uuid, cast.bob.uuid}) == ["bob"]


def test_a_password_from_the_host_ends_custody_everywhere(protected: Cast) -> None:
    cast = protected
    puppet = administrator(cast.principal(cast.root), "puppet")
    assert not may(cast, puppet, wants_in(cast, cast.root))
    accounts.set_password(actor=host(), user=puppet, password=NEW)
    assert not may(cast, puppet, wants_in(cast, cast.root))
    choose_password(puppet)
    assert may(cast, puppet, wants_in(cast, cast.root))
    # A later takeover counts again.
    accounts.update_user(actor=cast.principal(cast.root), user=puppet, is_active=False)
    accounts.update_user(actor=cast.principal(cast.root), user=puppet, is_active=True)
    assert not may(cast, puppet, wants_in(cast, cast.root))


def test_a_forged_event_ends_no_custody(cast: Cast, sql: Callable[..., None]) -> None:
    puppet = accounts.create_user(actor=cast.principal(cast.root), username="puppet", password=NEW)
    choose_password(puppet)
    Membership.objects.create(environment=cast.development, user=puppet, role=Role.MANAGER)

    def is_held() -> bool:
        return cast.root.uuid in CustodyGraph().behind(puppet.uuid, environment=cast.development)

    suspensions.confirm_account(
        actor=cast.principal(cast.alice), environment=cast.development, user=puppet, since=None
    )
    assert not is_held()
    event = AuditEvent.objects.filter(action=Action.ACCESS_CONFIRM).latest("id")
    for change in ("actor_name = 'erin'", 'details = \'{"custody":"ended"}\''):
        sql(f"UPDATE audit_app_auditevent SET {change} WHERE id = %s", event.pk)
        assert is_held()


def test_hats_of_one_person_are_not_enough_people_to_protect_by(cast: Cast) -> None:
    place = Environment.objects.create(name="lone")
    root = cast.principal(cast.root)
    puppet = accounts.create_user(actor=root, username="puppet", password=NEW)
    choose_password(puppet)
    for user in (puppet, cast.root):
        Membership.objects.create(environment=place, user=user, role=Role.MANAGER)
    with pytest.raises(InvalidField, match="Too few different people") as refused:
        environments.update_environment(actor=cast.principal(cast.root), environment=place, protected=True)
    # A third account of that maker is no other manager who could confirm it.
    third = accounts.create_user(actor=root, username="third", password=NEW)
    choose_password(third)
    Membership.objects.create(environment=place, user=third, role=Role.MANAGER)
    assert "root could sign in as puppet." in str(refused.value)
    assert (
        "No manager of lone can confirm puppet. Run this on the host: keeper changepassword puppet."
        in str(refused.value)
    )
    client = Client()
    client.force_login(third, backend="environments_app.users.password_backend.LocalBackend")
    page = client.get("/environments/lone/access").content.decode()
    assert (
        "No manager here can confirm it. Run on the host: <code>keeper changepassword puppet</code>" in page
    )
    client.force_login(cast.root, backend="environments_app.users.password_backend.LocalBackend")
    form = {"protected": "on", "colour": "green", "position": "0"}
    page = client.post("/environments/lone/settings", form).content.decode()
    assert "root could sign in as puppet and third." in page
    assert '<a href="/environments/lone/access" data-leave>Open Access</a>' in page
    assert "`" not in page.split("Too few different people")[1].split("</")[0]
    with pytest.raises(Conflict, match="keeper changepassword puppet"):
        suspensions.confirm_account(actor=cast.principal(third), environment=place, user=puppet, since=None)
    Membership.objects.create(environment=place, user=cast.erin, role=Role.MANAGER)
    # An outsider is named as who can confirm.
    with pytest.raises(InvalidField, match="erin can confirm puppet on the page Access"):
        environments.update_environment(actor=root, environment=place, protected=True, approvals_required=2)
    environments.update_environment(actor=cast.principal(cast.root), environment=place, protected=True)


def test_an_account_of_single_sign_on_is_confirmed_by_another_person_and_not_on_the_host(cast: Cast) -> None:
    """As one that a SCIM client made: `keeper changepassword` refuses it."""
    place = Environment.objects.create(name="lone")
    puppet = accounts.create_user(actor=cast.principal(cast.root), username="puppet", password=NEW)
    User.objects.filter(pk=puppet.pk).update(
        saml_issuer="saml", saml_name_id="puppet", temporary_since=None, password="!"
    )
    User.objects.get(pk=puppet.pk).save()
    for user in (puppet, cast.root):
        Membership.objects.create(environment=place, user=user, role=Role.MANAGER)
    with pytest.raises(InvalidField) as refused:
        environments.update_environment(actor=cast.principal(cast.root), environment=place, protected=True)
    assert "Make another person manager, who could sign in as none of them" in str(refused.value)
    assert "changepassword" not in str(refused.value)
    puppet = User.objects.get(pk=puppet.pk)
    assert "ask another person" in way_apart([puppet], None)
    client = Client()
    client.force_login(cast.root, backend="environments_app.users.password_backend.LocalBackend")
    page = client.get("/environments/lone/access").content.decode()
    assert "Make another person manager" in page
    assert "changepassword" not in page
    Membership.objects.create(environment=place, user=cast.erin, role=Role.MANAGER)
    suspensions.confirm_account(
        actor=cast.principal(cast.erin), environment=place, user=puppet, since=puppet.suspended_at
    )
    environments.update_environment(actor=cast.principal(cast.root), environment=place, protected=True)


def test_an_access_that_ones_own_account_asks_for_needs_another_person(protected: Cast) -> None:
    cast, place = protected, protected.production
    Membership.objects.create(environment=place, user=cast.root, role=Role.MANAGER)
    puppet = accounts.create_user(actor=cast.principal(cast.root), username="puppet", password=NEW)
    choose_password(puppet)
    request = access_requests.submit(actor=cast.principal(puppet), environment="production", role="reader")
    approval = asked(
        cast.principal(cast.root),
        lambda: decisions.approve(actor=cast.principal(cast.root), request=request),
    )
    assert not may(cast, puppet, approval)
    assert may(cast, cast.alice, approval)
    # For a colleague, who is another person, two people have agreed.
    theirs = access_requests.submit(
        actor=cast.principal(cast.charlie), environment="production", role="reader"
    )
    decisions.approve(actor=cast.principal(cast.root), request=theirs)


def test_narrowing_a_trust_hands_out_nothing(cast: Cast) -> None:
    made = make_trust(cast, Issuer(), role="editor")
    Membership.objects.create(environment=cast.production, user=cast.erin, role=Role.MANAGER)
    erin = cast.principal(cast.erin)
    made = trusts.change(actor=erin, trust=made, role="reader")
    behind = CustodyGraph().behind(made.uuid, environment=cast.production)
    assert behind == {made.uuid, cast.alice.uuid}
    trusts.change(actor=erin, trust=made, claims={"sub": "mine"})
    assert cast.erin.uuid in CustodyGraph().behind(made.uuid, environment=cast.production)


def test_who_mapped_a_group_does_not_confirm_it(protected: Cast) -> None:
    cast, place = protected, protected.production
    place.protected = False
    place.save()
    mapping = group_mapping.map_group(
        actor=cast.principal(cast.root), group="eng", environment=place, role="reader"
    )
    Membership.objects.create(environment=place, user=cast.root, role=Role.MANAGER)
    place.protected = True
    place.save()
    mapping.refresh_from_db()
    with pytest.raises(Conflict, match="mapped this group"):
        suspensions.confirm_mapping(actor=cast.principal(cast.root), mapping=mapping)
    assert suspensions.confirm_mapping(actor=cast.principal(cast.alice), mapping=mapping).suspended_at is None


def test_no_local_password_is_set_for_an_account_of_single_sign_on(cast: Cast) -> None:
    made = User.objects.create_user("sam", saml_issuer="idp", saml_name_id="sam")
    with pytest.raises(Conflict, match="single sign-on"):
        accounts.set_password(actor=cast.principal(cast.root), user=made, password=NEW)


_OWN = "a person changes what only they have"
_ROLE = "it gives or takes a role, and no credential: its holder stays who they are"
_ENDS = "it ends a credential"
_READS = "it reads"
_VALUES = "it is about values, which are not credentials of Keeper"
_SYSTEMS = "it is about other systems and their credentials, not those of Keeper"
_HOST = "only the host or Keeper itself does it, and who has the host has the keys"
_APPROVES = "it is what custody is asked for"
# Each action that hands out no credential of Keeper, and why.
OTHERS: Final = {
    **dict.fromkeys((action for action in Action if action.endswith(".view")), _READS),
    **dict.fromkeys((action for action in Action if action.startswith("secret.")), _VALUES),
    **dict.fromkeys(
        (
            a
            for a in Action
            if a.startswith(("target.", "rotation.", "consent.", "notification.", "migration.", "sink."))
        ),
        _SYSTEMS,
    ),
    **dict.fromkeys((a for a in Action if a.startswith("approval.")), _APPROVES),
    **dict.fromkeys(
        (
            Action.ENVIRONMENT_CREATE, Action.ENVIRONMENT_UPDATE, Action.ENVIRONMENT_DELETE,
            Action.ENVIRONMENT_RESTORE, Action.ENVIRONMENT_PURGE,
            Action.MEMBER_GRANT, Action.MEMBER_CHANGE, Action.MEMBER_REVOKE, Action.MEMBER_EXPIRE,
            Action.BREAK_GLASS, Action.GROUP_CHANGE, Action.ACCESS_ASK, Action.ACCESS_DECIDE,
            Action.ACCESS_WITHDRAW, Action.ACCESS_EXPIRE, Action.ACCESS_SUSPEND,
            Action.REVIEW_START, Action.REVIEW_DECIDE, Action.REVIEW_SIGN, Action.REVIEW_CANCEL,
        ),
        _ROLE,
    ),
    Action.ACCESS_CONFIRM: "it ends custody, by another person's word",
    **dict.fromkeys((Action.TOKEN_REVOKE, Action.TRUST_DELETE, Action.TRUST_PURGE, Action.USER_OFFBOARD, Action.USER_MOVE), _ENDS),
    Action.TOKEN_CHANGE: "it narrows a token, whose text stays with who has it",
    Action.TOKEN_DECOY: "a decoy opens nothing",
    Action.TRUST_TEST: "it lets no workload in",
    Action.LEAK_SEARCH: "it tells whose a value is, to somebody who has it",
    Action.USER_PROVISION: "the provider vouches for the subject; handing over is a change of the account as well",
    Action.SCIM_CLIENT_CHANGE: "its token makes and ends accounts, and signs in as none",
    Action.SSO_PROVIDER_CHANGE: "the issuer of a provider is fixed: no account changes hands by it",
    Action.SECOND_FACTOR_CHANGE: f"{_OWN}; what an administrator removes is a change of the account as well",
    **dict.fromkeys(
        (Action.SIGN_IN, Action.SIGN_OUT, Action.SESSION_END, Action.SESSION_CONFIRM, Action.REFUSAL), _OWN
    ),
    **dict.fromkeys(
        (
            Action.SAML_METADATA_CHANGE, Action.INTEGRITY_VIOLATION, Action.INTEGRITY_SWEEP,
            Action.SYSTEM_CHECK, Action.PROCESS_RESTART, Action.SCHEDULE_RUN, Action.CONFIGURATION_CHANGE,
            Action.DEPLOYMENT_INITIALISE, Action.DEPLOYMENT_RESTORE, Action.DEPLOYMENT_ACTIVATE,
            Action.RESTORE_SUSPEND, Action.TRAIL_RESUME, Action.TRAIL_PRUNE, Action.STREAM_OPEN,
            Action.BACKUP_REQUEST, Action.BACKUP_CREATE, Action.BACKUP_FINISH, Action.BACKUP_VERIFY,
            Action.BACKUP_REMOVE,
        ),
        _HOST,
    ),
    **dict.fromkeys(
        (
            Action.DATA_KEY_CREATE, Action.DATA_KEY_ROTATE, Action.DATA_KEY_OPEN, Action.DATA_KEY_CHECK,
            Action.KEY_MIGRATION_START, Action.KEY_MIGRATION_FINALISE, Action.KEY_MIGRATION_ROLLBACK,
        ),
        "keys open values and sign nobody in",
    ),
    **dict.fromkeys(
        (
            Action.TRAIL_VERIFY, Action.TRAIL_EXPORT, Action.LIST_EXPORT, Action.REPORT_GENERATE,
            Action.REPORT_SEND,
        ),
        _READS,
    ),
    Action.BACKUP_DOWNLOAD: "the file is sealed, and holds hashes of credentials",
    Action.RESTORE_RELEASE: "what was suspended counts again, in the hands that it was in",
}  # fmt: skip


def test_each_action_is_in_the_table_of_custody_or_says_why_not() -> None:
    assert set(Action) == CUSTODY.keys() | OTHERS.keys()
    assert not CUSTODY.keys() & OTHERS.keys()
    assert all(OTHERS.values())
