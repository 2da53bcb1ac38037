"""Keeper, put together: settings, URLs, Celery, dashboard, health and commands."""

from keeper_project.celery import app as celery_app

__all__ = ["celery_app"]
