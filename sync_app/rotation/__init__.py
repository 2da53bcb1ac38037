"""Rotation: policies, and the machine that carries a rotation from an intent to a retired login."""
