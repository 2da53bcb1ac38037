"""Pages of the project: dashboard, reports, health, backups, inbox."""
