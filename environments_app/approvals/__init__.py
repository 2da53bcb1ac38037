"""Approvals of two people: requests, approvers, the gate, executors."""
