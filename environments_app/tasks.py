"""Scheduled work of environments_app; tasks carry no arguments and only nudge what is due."""

import logging
from typing import Final

from celery import shared_task
from django.conf import settings

from core.workers import nudge, part, slot, work_alone
from environments_app import operator_jobs
from environments_app.access_requests import decisions
from environments_app.access_requests import service as access_requests
from environments_app.approvals import applying
from environments_app.approvals import service as approvals
from environments_app.authentication import lockout
from environments_app.environments.deletion import purge_environments
from environments_app.errors import SignOnUnavailable
from environments_app.notifications.service import deliver_due
from environments_app.oidc.client_keys import renew_keys
from environments_app.oidc.providers import refresh_all
from environments_app.reviews.decisions import end_undecided
from environments_app.reviews.service import remind
from environments_app.saml.metadata import refresh_metadata
from environments_app.saml.protocol.replay_guard import purge
from environments_app.sessions.service import end_impossible_sessions
from environments_app.tokens.expiry_alerts import watch_tokens
from environments_app.trusts.upkeep import purge_ended_tokens, watch_trusts
from environments_app.users.password_mail import send_due

_REFRESH: Final = "environments_app.tasks.refresh_saml_metadata"
_RETRY_SECONDS: Final = 10.0
logger = logging.getLogger(__name__)


@shared_task(name="environments_app.tasks.deliver_notifications")
def deliver_notifications() -> None:
    """Send the notifications and links that are due; not while an earlier one still waits for a receiver."""
    with part("notifications") as is_free:
        if is_free:
            deliver_due()
            send_due()


@shared_task(name=_REFRESH)
def refresh_saml_metadata() -> None:
    """Fetch the identity provider's metadata, where it has an address."""
    if not settings.KEEPER_SAML_METADATA_URL or settings.KEEPER_SAML_METADATA_FILE:
        return
    with slot("saml") as is_free:
        if not is_free:
            nudge(_REFRESH, after=_RETRY_SECONDS)
            return
        try:
            refresh_metadata()
        except SignOnUnavailable as error:
            logger.warning("the metadata was not refreshed: %s", error)


@shared_task(name="environments_app.tasks.refresh_oidc_providers")
def refresh_oidc_providers() -> None:
    """Fetch the discovery documents of the providers of OpenID Connect, and renew Keeper's keys for them."""
    with slot("oidc") as is_free:
        if is_free:
            renew_keys()
            refresh_all()


@shared_task(name="environments_app.tasks.watch_tokens")
def tell_of_tokens() -> None:
    """Alert to tokens and trusts that expire soon or are unused."""
    watch_tokens()
    watch_trusts()


@shared_task(name="environments_app.tasks.purge_workload_tokens")
def purge_workload_tokens() -> None:
    """Remove the tokens of workloads that ended days ago."""
    purge_ended_tokens()


@shared_task(name="environments_app.tasks.purge_environments")
def purge_deleted_environments() -> None:
    """Go on with the removal of the deleted environments whose recovery window is over."""
    work_alone(slot("purge-environments"), purge_environments)


@shared_task(name="environments_app.tasks.purge_saml_assertions")
def purge_saml_assertions() -> None:
    """Forget assertions that could not be used again anyway, and tries that limit nothing any more."""
    purge()
    lockout.purge()


@shared_task(name="environments_app.tasks.expire_approvals")
def expire_approvals() -> None:
    """End requests that have waited too long, and apply what was approved and left."""
    approvals.expire_due()
    access_requests.expire_due()
    applying.apply_left()


@shared_task(name="environments_app.tasks.remind_reviewers")
def remind_reviewers() -> None:
    """Remind reviewers of what is undecided, tell administrators, and end what reviews say Keeper ends."""
    remind()
    end_undecided()


@shared_task(name="environments_app.tasks.end_expired_access")
def end_expired_access() -> None:
    """Note which access that was asked for has ended: it grants nothing already."""
    decisions.end_expired()


@shared_task(name="environments_app.tasks.end_impossible_sessions")
def end_sessions_of_other_clocks() -> None:
    """End what was begun under a clock that was ahead, before its time comes."""
    end_impossible_sessions()


@shared_task(name=operator_jobs.RUN)
def run_audit_jobs() -> None:
    """Carry out the verifications and previews of the audit log that people asked for."""
    with slot("audit-jobs") as is_free:
        if is_free:
            operator_jobs.run()
