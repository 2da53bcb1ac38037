"""Approval by a second person: requests, approvers, the gate, executors."""
