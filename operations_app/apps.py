"""Registers operations_app with Django: its commands, its admin and its tasks."""

from django.apps import AppConfig


class OperationsConfig(AppConfig):
    """Configuration of what operators look at. Its tables keep the label that they were made under."""

    name = "operations_app"
    verbose_name = "Operations"
