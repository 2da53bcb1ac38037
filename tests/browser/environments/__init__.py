"""Pages of environments: members, approvals, trusts."""
