"""Every error of Keeper's is answered as a table states: what the caller gets, and what is logged."""

import importlib
import inspect
import logging
import pkgutil
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import pytest

from audit_app.errors import TooManyRefusals
from core.errors import BadQuery, KeeperError
from core.http.problems import log_failure, problem_of
from environments_app.errors import InvalidField
from secrets_app.errors import InvalidInput, KeyUnavailable
from secrets_app.services.bulk_create import InvalidItems, ItemFault
from sync_app.errors import BadDestination

_ROOTS: Final = (
    "core",
    "audit_app",
    "environments_app",
    "secrets_app",
    "sync_app",
    "gateway_app",
    "operations_app",
    "keeper_project",
)
# Modules that do something when they are loaded, and those that no process loads.
_LEFT_OUT: Final = {"tests", "migrations", "settings", "wsgi", "cli"}
_NOT_SIGNED_IN: Final = {"WWW-Authenticate": 'Bearer realm="keeper"'}
# What an error is made with here, by the name of the argument.
_GIVEN: Final[dict[str, Any]] = {
    "message": "x", "reason": "x", "sentence": "x", "detail": "x", "field": "f", "parameter": "p",
    "environment": "e", "membership": 1, "approval": 1, "retry_after": 7, "permanent": False,
    "faults": [], "plan": None, "promotion": None, "due": None,
}  # fmt: skip


class Row(NamedTuple):
    """How a request is answered; a `sentence` of None is the error's own text."""

    status: int
    title: str
    sentence: str | None
    headers: dict[str, str]
    is_logged: bool


# Two classes may have one name. An error of no row is answered as a fault.
TABLE: Final[list[tuple[str, Row]]] = [
    ("BadQuery", Row(400, "Invalid query", None, {}, False)),
    (
        (
            "BadDestination BadName CountAsOne InvalidField InvalidInput InvalidName InvalidOption InvalidTag "
            "InvalidValue"
        ),
        Row(400, "Invalid request", None, {}, False),
    ),
    ("InvalidItems", Row(400, "Some items are not valid", None, {}, False)),
    ("BadToken", Row(401, "Not signed in", "The token is invalid.", _NOT_SIGNED_IN, False)),
    ("SessionEnded", Row(401, "Not signed in", None, _NOT_SIGNED_IN, False)),
    ("JwtRefused", Row(401, "Not signed in", None, _NOT_SIGNED_IN, False)),
    ("GuardedValue", Row(403, "A second person is needed", None, {}, False)),
    ("Suspended", Row(403, "Access is suspended", None, {}, False)),
    ("AdministratorsOnly", Row(403, "Administrators only", None, {}, False)),
    ("ManagersOnly", Row(403, "Forbidden", None, {}, False)),
    ("NotThisApprover", Row(403, "Forbidden", None, {}, False)),
    ("ConfirmationNeeded", Row(403, "Confirm your password", None, {}, False)),
    ("Forbidden", Row(403, "Forbidden", "You don't have permission to do this.", {}, False)),
    ("Invisible", Row(404, "Not found", "It may have been deleted, or you don't have access.", {}, False)),
    ("NoSuchVersion", Row(404, "Not found", None, {}, False)),
    ("VersionGone", Row(404, "The version is deleted", None, {}, False)),
    (
        ("EnvelopeError Malformed MissingVersion NotInventoried UnknownDataKey UnknownFormat WrongContext"),
        Row(
            409,
            "The stored value can't be decrypted",
            "The stored value was modified outside Keeper. This was logged. Ask an administrator to run keeper verify-audit.",
            {},
            True,
        ),
    ),
    (
        (
            "AlreadyGranted ApprovalVoid Conflict DestinationTaken DifferentSystem LastAdministrator LastManager "
            "LinkEnded MembersUnknown MigrationNotReady NameInUse NotResolvable NotTheActiveInstallation PlanNotReady "
            "RotationConflict RotationInProgress RunInProgress SyncPaused Tampered TargetConflict "
            "TargetInUse"
        ),
        Row(409, "Conflict", None, {}, False),
    ),
    ("NameTaken", Row(409, "Name already in use", None, {}, False)),
    ("PlanChanged PromotionChanged", Row(409, "The plan has changed", None, {}, False)),
    ("NotDeleted", Row(409, "The secret is not deleted", None, {}, False)),
    ("TamperedSecret", Row(409, "The stored secret was changed outside Keeper", None, {}, True)),
    ("ManagedValue", Row(409, "The value is managed", None, {}, False)),
    ("WrappingEnded", Row(400, "The wrapping token does not count", None, {}, False)),
    ("ShareEnded", Row(410, "This link has expired", None, {}, False)),
    ("StaleVersion", Row(412, "The secret has changed", None, {}, False)),
    ("TooManyItems", Row(413, "Too many items", None, {}, False)),
    (
        "TooManyRefusals",
        Row(429, "Too many refused requests", "Wait before you try again.", {"Retry-After": "7"}, False),
    ),
    ("TooManyRequests", Row(429, "Too many requests", None, {"Retry-After": "7"}, False)),
    ("TooManyTests", Row(429, "Too many tests at once", None, {"Retry-After": "5"}, False)),
    ("TooManyTokens", Row(429, "Too many tokens", None, {"Retry-After": "7"}, False)),
    (
        (
            "AnswerUnexpected BackendError ChangedSinceRead ClientMissing CreateConflict "
            "CredentialInUse CredentialsRejected CurrentVersionChanged KeyUnusable "
            "ListExpired LoginMissing LoginRefused LoginsDiffer MountMissing NameReserved NameUnusable NotFound NotFound "
            "NotFound NotYetAccepted OutcomeAmbiguous OutcomeUnknown Overwritten PageTooLarge "
            "PermissionMissing QuotaExceeded RequestRefused ServerUntrusted StillAccepted "
            "SystemMismatch TargetBusy TargetSealed TargetStandby TargetUnreachable TransientError "
            "UnsupportedAuthPlugin UpdateConflict ValueUnusable"
        ),
        Row(502, "The other system reported an error", None, {}, True),
    ),
    (
        "KeyRefused",
        Row(
            503,
            "The key is not allowed",
            "This key isn't allowed on this installation. Ask an administrator.",
            {"Retry-After": "5"},
            True,
        ),
    ),
    (
        "KeyUnavailable NoAnswer",
        Row(
            503,
            "The key is not available",
            "Keeper can't use the environment's encryption key right now. Nothing was lost. An administrator can find the reason in the log.",
            {"Retry-After": "5"},
            True,
        ),
    ),
    (
        "KeysUnavailable",
        Row(503, "The keys of the issuer are not available", None, {"Retry-After": "7"}, True),
    ),
    (
        "KeyringUnavailable",
        Row(
            503,
            "The system keys are not available",
            "Keeper can't write to the audit log, so it isn't accepting requests. Try again later.",
            {"Retry-After": "5"},
            True,
        ),
    ),
]


def errors() -> list[type[KeeperError]]:
    """Return the class of every error, with those that modules keep for themselves."""
    for root in map(importlib.import_module, _ROOTS):
        for module in pkgutil.walk_packages(root.__path__, f"{root.__name__}."):
            if not _LEFT_OUT & set(module.name.split(".")):
                importlib.import_module(module.name)
    return [KeeperError, *dict.fromkeys(_below(KeeperError))]


def _below(base: type[KeeperError]) -> Iterator[type[KeeperError]]:
    for each in base.__subclasses__():
        if "tests" not in each.__module__.split("."):
            yield each
            yield from _below(each)


def made(kind: type[KeeperError]) -> KeeperError:
    """Return an error of a class."""
    if not inspect.isfunction(kind.__init__):
        return kind("x")
    asked = list(inspect.signature(kind.__init__).parameters.values())[1:]
    return kind(**{each.name: _GIVEN[each.name] for each in asked if each.default is each.empty})


def answered(error: KeeperError, caplog: pytest.LogCaptureFixture) -> Row | None:
    problem = problem_of(error)
    if problem is None:
        return None
    caplog.clear()
    with caplog.at_level(logging.ERROR):
        log_failure(error, problem)
    sentence = None if problem.detail == str(error) else problem.detail
    return Row(problem.status, problem.title, sentence, dict(problem.headers), bool(caplog.records))


def test_every_error_is_answered_as_the_table_says(caplog: pytest.LogCaptureFixture) -> None:
    found = [(kind.__name__, row) for kind in errors() if (row := answered(made(kind), caplog))]
    expected = [(name, row) for names, row in TABLE for name in names.split()]
    assert sorted(found, key=repr) == sorted(expected, key=repr)


def test_what_only_administrators_may_do_is_one_kind() -> None:
    found = {kind.__name__ for kind in errors() if kind.problem and kind.problem.for_administrators}
    assert found == {"AdministratorsOnly"}


def test_a_key_that_stays_away_is_not_worth_another_try() -> None:
    problem = problem_of(KeyUnavailable("x", permanent=True))
    assert problem is not None
    assert problem.headers == {}


def test_the_wait_is_that_of_the_error() -> None:
    problem = problem_of(TooManyRefusals(retry_after=41))
    assert problem is not None
    assert problem.headers == {"Retry-After": "41"}


@pytest.mark.parametrize(
    ("error", "named"),
    [
        (BadQuery("limit", "x"), {"field": "limit", "reason": "x"}),
        (InvalidField("name", "x"), {"field": "name", "reason": "x"}),
        (InvalidInput("value", "x"), {"field": "value", "reason": "x"}),
        (BadDestination("x", field="url"), {"field": "url", "reason": "x"}),
        (
            InvalidItems([ItemFault(index=3, field="tags", reason="x")]),
            {"item": 3, "field": "tags", "reason": "x"},
        ),
    ],
)
def test_an_error_of_input_names_the_field(error: KeeperError, named: dict[str, Any]) -> None:
    problem = problem_of(error)
    assert problem is not None
    assert problem.document["errors"] == [named]
