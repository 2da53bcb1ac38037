"""Panels on other apps' pages."""
