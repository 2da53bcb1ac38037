"""CI/CD variables of GitLab as backend."""
