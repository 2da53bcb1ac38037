"""Management commands of audit_app."""
