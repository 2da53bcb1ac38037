"""The read engine in the thread of a test."""

from gateway_app.engine.client import ReadEngine
from gateway_app.engine.messages import answer_of, answer_text, request_of, request_text
from gateway_app.engine.reads import Request, Served, serve


class Inline(ReadEngine):
    """Serves in the thread that asks, whose transaction is the test's, with the messages of two processes."""

    def __init__(self) -> None:
        super().__init__(None)

    def read(self, request: Request) -> Served:
        asked = request_of(request_text(request))
        assert asked == request
        return answer_of(answer_text(serve([asked])[0]), request)
