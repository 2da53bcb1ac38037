"""The identity that every row of Keeper carries for everything cryptographic."""

import uuid

from django.db import models


class Identified(models.Model):
    """Gives a model an immutable UUID that is made by the client, besides its bigint id."""

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)

    class Meta:
        abstract = True
