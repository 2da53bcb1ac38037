"""Celery's processes: worker and beat, the transport between them, and whether they live."""
