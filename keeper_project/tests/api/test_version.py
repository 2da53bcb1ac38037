"""GET /api/version: what it names, and that it needs no sign-in."""

import pytest
from django.test import Client

from keeper_project.api import API_LEVEL, FEATURES


@pytest.mark.parametrize("header", [{}, {"authorization": "Bearer kpr_ended"}])
def test_it_names_level_and_features_to_anyone(db: None, header: dict[str, str]) -> None:
    response = Client(headers=header).get("/api/version")
    assert response.status_code == 200
    assert response.json()["api_level"] == API_LEVEL
    assert response.json()["features"] == list(FEATURES)
    assert response.json().keys() == {"version", "api_level", "features"}
