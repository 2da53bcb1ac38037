"""Environments, their memberships and groups; report sections."""
