"""Asks each system whether it does what Keeper needs of it: no value is read, nothing is changed.

What a system answers is never repeated, since it may quote an address or a password.
"""

import smtplib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Final

from django.conf import settings
from django.core.mail import get_connection
from django.db import connection
from django.utils import timezone

from audit_app.network.outbound_mail import EmailBackend
from environments_app.errors import SamlUnavailable
from environments_app.saml.metadata import metadata_ends
from keeper_project.health import service as health
from keeper_project.health.service import HealthFailure
from keeper_project.models import System, SystemState

# No step of asking waits longer; a few of them make up one question.
_STEP_SECONDS: Final = 5
# A certificate is replaced by two people of two departments.
_EXPIRY_NOTICE: Final = timedelta(days=30)
_OFF: Final = "not configured"


@dataclass(frozen=True, kw_only=True)
class ProbeResult:
    """How a system was found; `detail` is for operators and holds words of Keeper's own."""

    state: SystemState
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Question:
    """How a system is asked, how often, and whether that needs this thread's connection."""

    ask: Callable[[], ProbeResult]
    every: timedelta
    here: bool = False


def database() -> ProbeResult:
    """Ask the database. An error goes through: where it does not answer, nothing can be kept of it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        cursor.fetchone()
    return ProbeResult(state=SystemState.OK, detail=connection.display_name)


def broker() -> ProbeResult:
    """Ask the broker whether it takes messages."""
    if settings.KEEPER_EMBEDDED_WORKER:
        return ProbeResult(state=SystemState.OFF, detail="the worker polls the database")
    try:
        health.broker()
    except HealthFailure as failure:
        return ProbeResult(state=SystemState.UNHEALTHY, detail=failure.detail)
    return ProbeResult(state=SystemState.OK)


def redis() -> ProbeResult:
    """Ask the Redis of the cache for a sign of life."""
    if not settings.REDIS_URL:
        return ProbeResult(state=SystemState.OFF, detail=_OFF)
    # Not where there is none: web processes load this module along with the tasks.
    from redis import Redis  # noqa: PLC0415
    from redis.exceptions import AuthenticationError, RedisError  # noqa: PLC0415

    client = Redis.from_url(
        settings.REDIS_URL, socket_connect_timeout=_STEP_SECONDS, socket_timeout=_STEP_SECONDS
    )
    try:
        client.ping()
    except AuthenticationError:
        return ProbeResult(state=SystemState.UNHEALTHY, detail="username or password rejected")
    except (RedisError, OSError) as error:
        return ProbeResult(state=SystemState.UNHEALTHY, detail=f"no answer ({type(error).__name__})")
    finally:
        client.close()
    return ProbeResult(state=SystemState.OK)


def mail() -> ProbeResult:
    """Sign in at the mail server and leave again, without a message."""
    if not settings.EMAIL_HOST:
        return ProbeResult(state=SystemState.OFF, detail=_OFF)
    server = get_connection(timeout=_STEP_SECONDS)
    if not isinstance(server, EmailBackend):
        return ProbeResult(state=SystemState.OFF, detail="no mail server")
    try:
        server.open()
        code = server.alive()
    except smtplib.SMTPAuthenticationError:
        return ProbeResult(state=SystemState.UNHEALTHY, detail="username or password rejected")
    except (smtplib.SMTPException, OSError) as error:
        return ProbeResult(state=SystemState.UNHEALTHY, detail=f"no answer ({type(error).__name__})")
    finally:
        server.close()
    if code != _SMTP_OK:
        return ProbeResult(state=SystemState.UNHEALTHY, detail=f"answered {code} instead of 250")
    return ProbeResult(state=SystemState.OK)


def identity_provider() -> ProbeResult:
    """Fetch the identity provider's metadata and look how long its certificates are good for."""
    if not settings.KEEPER_SAML:
        return ProbeResult(state=SystemState.OFF, detail=_OFF)
    try:
        ends = metadata_ends()
    except SamlUnavailable as error:
        return ProbeResult(state=SystemState.UNHEALTHY, detail=str(error))
    if ends < timezone.now() + _EXPIRY_NOTICE:
        return ProbeResult(
            state=SystemState.DEGRADED, detail=f"metadata and certificate valid until {ends:%Y-%m-%d}"
        )
    return ProbeResult(state=SystemState.OK, detail=f"metadata and certificate valid until {ends:%Y-%m-%d}")


_SMTP_OK: Final = 250
_OFTEN: Final = timedelta(seconds=45)
# Where each question is a sign-in or a download elsewhere.
_SELDOM: Final = timedelta(minutes=5)
QUESTIONS: Final[Mapping[System, Question]] = MappingProxyType(
    {
        System.DATABASE: Question(ask=database, every=_OFTEN, here=True),
        System.BROKER: Question(ask=broker, every=_OFTEN),
        System.REDIS: Question(ask=redis, every=_OFTEN),
        System.MAIL: Question(ask=mail, every=_SELDOM),
        System.IDENTITY_PROVIDER: Question(ask=identity_provider, every=_SELDOM),
    }
)
