"""What is sent in a wrong place does not come back: it may be a value that was meant for another field."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from rest_framework import serializers

from core.http.problems import problem_of

SENT = "s3cr3t-Kx9"


class Given(serializers.Serializer[Any]):
    """Each field whose own message repeats what was sent."""

    kind = serializers.ChoiceField(choices=["json", "text"])
    kinds = serializers.MultipleChoiceField(choices=["json", "text"])
    key = serializers.PrimaryKeyRelatedField(queryset=get_user_model().objects.all())
    name = serializers.SlugRelatedField(slug_field="username", queryset=get_user_model().objects.all())


@pytest.mark.django_db
@pytest.mark.parametrize("field", [*Given().fields])
def test_what_was_sent_is_not_repeated(field: str) -> None:
    given = Given(data={field: [SENT] if field == "kinds" else SENT})
    assert not given.is_valid()
    problem = problem_of(serializers.ValidationError(given.errors))
    assert problem is not None
    (reason,) = [error["reason"] for error in problem.errors if error["field"] == field]
    assert reason
    assert SENT not in str(problem.document)


def test_the_frameworks_own_message_would_repeat_it() -> None:
    given = Given(data={"kind": SENT})
    assert not given.is_valid()
    assert SENT in str(given.errors["kind"])
