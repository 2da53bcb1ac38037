"""Departures: end a person's access, and see to the values that the person knows."""
