"""Which transport the broker's connections use, by the scheme of the broker's address."""

import pytest
from kombu import Connection

from keeper_project.celery import app
from keeper_project.runtime.worker.redis_transport import Transport


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
def test_each_scheme_of_redis_has_the_transport_whose_channels_report_a_lost_connection(scheme: str) -> None:
    assert app.main
    assert Connection(f"{scheme}://127.0.0.1:1/0").get_transport_cls() is Transport
