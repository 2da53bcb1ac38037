"""The API of the trail."""
