"""moto's server, which answers one request at a time: `python moto_in_turn.py PORT`.

moto goes over dictionaries that other requests change meanwhile: where two meet, a list answers 500, and
whoever asked asks again. Tests that count requests would count that.
"""

import sys
import threading
from collections.abc import Iterable
from typing import Any

from moto import backends
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import BaseWSGIServer, make_server


class InTurn:
    """Lets one request after the other into a WSGI application."""

    def __init__(self, application: Any) -> None:
        self._application = application
        self._turn = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer a request once those before it are answered."""
        with self._turn:
            answer: Iterable[bytes] = self._application(environ, start_response)
            return answer


def moto_server(port: int) -> BaseWSGIServer:
    """Return moto on a port of the loopback address; 0 is any that is free."""
    # It lists its own directory for each request: a sixth of what a small one costs, with its client.
    modules = tuple(backends.list_of_moto_modules())
    backends.list_of_moto_modules = lambda: modules
    application = InTurn(DomainDispatcherApplication(create_backend_app))
    # Threads all the same: connections are kept open.
    return make_server("127.0.0.1", port, application, threaded=True, request_handler=MotoRequestHandler)


if __name__ == "__main__":
    moto_server(int(sys.argv[1])).serve_forever()
