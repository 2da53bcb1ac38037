"""Compliance reports: sections, controls, formats, mail."""
