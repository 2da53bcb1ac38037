"""The credentials endpoint of containers: a service token in, a session's signing key out."""

import base64
from http import HTTPStatus
from typing import Any, Final

from django.http import HttpRequest, HttpResponse
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from audit_app.network.refusal_limiter import refuse
from core.http.json import MEDIA_TYPE, JsonRenderer
from core.http.problems import log_failure, problem_of
from environments_app.authentication.drf import address_of, request_id_of
from environments_app.errors import BadToken
from environments_app.tokens.sessions import TokenSession, begin_session

_BEARER: Final = "bearer "
_DENIED: Final = "The token in AWS_CONTAINER_AUTHORIZATION_TOKEN is not valid here."


def key_id_of(session: TokenSession) -> str:
    """Return the access key id of a session, of the form of temporary ones."""
    return "ASIA" + base64.b32encode(session.id.bytes[:10]).decode("ascii")


class ContainerCredentialsView(View):
    """What SDKs ask at AWS_CONTAINER_CREDENTIALS_FULL_URI."""

    http_method_names = ["get", "head", "options"]

    @method_decorator(csrf_exempt)
    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return super().dispatch(request, *args, **kwargs)  # type: ignore[return-value]  # no view here is asynchronous
        except BadToken:
            return _answer({"code": "AccessDenied", "message": _DENIED}, status=HTTPStatus.FORBIDDEN)
        except Exception as error:
            problem = problem_of(error)
            if problem is None:
                raise
            log_failure(error, problem)
            answer = _answer({"code": problem.title, "message": problem.detail}, status=problem.status)
            for name, value in problem.headers.items():
                answer[name] = value
            return answer

    def get(self, request: HttpRequest) -> HttpResponse:
        """Return the credentials of a new session of the token that comes as `Authorization`."""
        session, text = _begun(request)
        return _answer(
            {
                "AccessKeyId": key_id_of(session),
                "SecretAccessKey": session.key,
                "Token": text,
                "Expiration": f"{session.expires_at:%Y-%m-%dT%H:%M:%SZ}",
            }
        )


def _begun(request: HttpRequest) -> tuple[TokenSession, str]:
    """Return a new session and its text. Raises BadToken, which is counted, and TooManyRefusals."""
    address = address_of(request)
    given = request.headers.get("Authorization", "").strip()
    raw = given[len(_BEARER) :].strip() if given.lower().startswith(_BEARER) else given
    try:
        return begin_session(raw, address=address, request_id=request_id_of(request))
    except BadToken as error:
        refuse(kind=error.reason if raw else "no-credentials", address=address)
        raise


def _answer(body: Any, *, status: int = HTTPStatus.OK) -> HttpResponse:
    return HttpResponse(JsonRenderer().render(body), status=status, content_type=MEDIA_TYPE)
