"""How a gauge of the database's state is made."""

from datetime import datetime

from django.utils import timezone
from prometheus_client.core import GaugeMetricFamily


def gauge(name: str, help_text: str, value: float | None) -> GaugeMetricFamily:
    """Return a gauge without labels; None omits its sample."""
    return GaugeMetricFamily(name, help_text, value=value)


def age(moment: datetime | None) -> float:
    """Return how many seconds ago something was; none for what never was."""
    return max(0.0, (timezone.now() - moment).total_seconds()) if moment else 0.0
