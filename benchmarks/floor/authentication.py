"""The floor's authentication; DRF loads it before any view."""

import hashlib

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from benchmarks.floor.models import Token


class TokenAuthentication(BaseAuthentication):
    """Looks the token up by its SHA-256."""

    def authenticate(self, request: Request) -> tuple[Token, Token]:
        """Return the token. Raises AuthenticationFailed."""
        raw = request.META.get("HTTP_AUTHORIZATION", "").removeprefix("Bearer ")
        token = Token.objects.filter(digest=hashlib.sha256(raw.encode()).hexdigest()).first()
        if token is None:
            raise AuthenticationFailed
        return token, token
