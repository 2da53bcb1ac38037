"""The identity provider as a web server: people choose who they are, and are remembered."""

import html
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.saml_idp.provider import Answer, Asked, Provider, encoded, read_logout, read_request


class WebProvider(Provider):
    """Knows people by name, with their groups, and who is signed in (in any browser: it has one)."""

    def __init__(self, directory: Path, address: str) -> None:
        super().__init__(directory, issuer=f"{address}/metadata", address=address)
        self.groups: dict[str, Sequence[str]] = {}
        self.signed_in: str | None = None
        self.logout_address = ""
        self.asked: list[Asked] = []

    def page(self, url: str) -> tuple[int, Mapping[str, str], str]:
        """Answer a request of a browser: status, headers, page."""
        parts = urlsplit(url)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path == "/favicon.ico":
            return 200, {"Content-Type": "image/svg+xml"}, ""
        if parts.path == "/slo":
            assert read_logout(url) == self.signed_in
            self.signed_in = None
            return 302, {"Location": f"{self.logout_address}?SAMLResponse=done"}, ""
        if parts.path == "/choose":
            self.signed_in = query.pop("who")
            return self._answer(read_request(query["request"]), again=True)
        return self._answer(read_request(url), again=False)

    def _answer(self, asked: Asked, *, again: bool) -> tuple[int, Mapping[str, str], str]:
        self.asked.append(asked)
        if self.signed_in is None or (asked.again and not again):
            return 200, {}, "".join(self._choice(name) for name in self.groups)
        name = self.signed_in
        answer = Answer(
            request_id=asked.id,
            acs=asked.acs,
            audience=asked.issuer,
            issuer=self.issuer,
            name_id=name,
            attributes={"groups": self.groups[name], "email": [name]},
        )
        field = f'<input type="hidden" name="SAMLResponse" value="{encoded(self.respond(answer))}">'
        return (
            200,
            {},
            f'<form method="post" action="{asked.acs}">{field}<button>Continue to Keeper</button></form>',
        )

    def _choice(self, name: str) -> str:
        return (
            '<form action="/choose"><input type="hidden" name="request">'
            f'<button name="who" value="{html.escape(name)}">I am {html.escape(name)}</button></form>'
            "<script>document.querySelectorAll('[name=request]').forEach(e => e.value = location.href)</script>"
        )


@contextmanager
def serving(directory: Path) -> Iterator[WebProvider]:
    """Serve a provider at 127.0.0.1, which to a browser is another site than localhost."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, page = provider.page(f"{provider.address}{self.path}")
            self.send_response(status)
            for name, value in {"Content-Type": "text/html", **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(f"<!doctype html><title>IdP</title>{page}".encode())

        def log_message(self, *_arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    provider = WebProvider(directory, f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
