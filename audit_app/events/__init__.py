"""The vocabulary of the audit log: actions, actors and log streams."""
