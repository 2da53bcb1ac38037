"""Says which accounts of an environment count as one person, and who can end that."""

from collections.abc import Iterable
from typing import Final

from audit_app.events.actions import Action
from environments_app.approvals.approvers import possible_managers
from environments_app.authorization.credential_custody import CustodyGraph
from environments_app.authorization.policy import allows
from environments_app.authorization.principals import user_principal
from environments_app.models import Environment, User

_NAMED: Final = 5


def who_could_be_whom(users: Iterable[User], environment: Environment | None) -> str:
    """Return the sentence that names who could sign in as which of these accounts, or nothing."""
    custody, accounts_of = CustodyGraph(), dict[str, list[str]]()
    for user in users:
        for other in custody.others_behind(user.uuid, environment=environment):
            accounts_of.setdefault(other, []).append(user.username)
    pairs = [f"{other} could sign in as {named(accounts)}" for other, accounts in accounts_of.items()]
    return f"Accounts that one person made or reset count as one: {'; '.join(pairs)}." if pairs else ""


def way_apart(users: Iterable[User], environment: Environment | None) -> str:
    """Return what makes these accounts count as people of their own, as sentences; nothing if they do."""
    custody, by_host = CustodyGraph(), list[str]()
    by_manager, by_nobody = list[str](), list[str]()
    for user in users:
        if not custody.others_behind(user.uuid, environment=environment):
            continue
        managers = confirmers(user, environment, custody) if environment else []
        if managers:
            by_manager.append(f"{named(managers, 'or')} can confirm {user.username} on the page Access.")
        elif user.saml_issuer is None:
            by_host.append(user.username)
        else:
            by_nobody.append(user.username)
    if by_manager:
        return " ".join(by_manager[:_NAMED])
    who = f"No manager of {environment.name} can confirm" if environment else "Nobody can confirm"
    if by_nobody and environment:
        return (
            f"{who} {named(by_nobody, 'or')}, whom single sign-on lets in. Make another person manager, who "
            "could sign in as none of them: they confirm on the page Access."
        )
    if by_nobody:
        return f"{who} {named(by_nobody, 'or')}, whom single sign-on lets in: ask another person."
    if not by_host:
        return ""
    return (
        f"{who} {named(by_host, 'or')}. Run this on the host: keeper changepassword {by_host[0]}. "
        f"Then {by_host[0]} counts as a person of their own, after signing in with the printed password and "
        "choosing a new one."
    )


def confirmers(user: User, environment: Environment, custody: CustodyGraph) -> list[str]:
    """Return the names of the managers who may say that an account is in its person's hands."""
    return [
        manager.username
        for manager in possible_managers(environment)
        if allows(user_principal(manager), Action.ACCESS_CONFIRM, environment_id=environment.pk)
        and not custody.are_one(manager.uuid, [user.uuid], environment=environment)
    ]


def named(names: list[str], word: str = "and") -> str:
    """Return names as a list in a sentence, of which the first few are written."""
    if not names:
        return ""
    left = len(names) - _NAMED
    shown = names if left <= 0 else [*names[:_NAMED], f"{left} more"]
    return f" {word} ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)
