"""Sessions: Django's, with what their person is shown of them."""

from django.contrib.sessions.base_session import AbstractBaseSession
from django.db import models
from django.utils import timezone

from environments_app.models.user import User


class Session(AbstractBaseSession):
    """A session under an HMAC of its id; the columns beside the signed data are for lists alone."""

    # NULL for who has not signed in.
    user = models.ForeignKey(
        User, on_delete=models.CASCADE, null=True, editable=False, related_name="sessions"
    )
    signed_in_at = models.DateTimeField(default=timezone.now)
    # Written at most once a minute.
    last_seen_at = models.DateTimeField(default=timezone.now)
    address = models.CharField(max_length=45, blank=True, default="")
    agent = models.CharField(max_length=200, blank=True, default="")

    class Meta(AbstractBaseSession.Meta):
        abstract = False
