"""The API of access reviews: start, decide, sign off."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from audit_app.events.actions import Action
from core.canonical_json import Json
from environments_app import acts
from environments_app.api.base import AccessView, act_view
from environments_app.api.fields import StrictSerializer, Text, WholeNumber
from environments_app.authorization.policy import require
from environments_app.environments.service import find_environment
from environments_app.models import AccessKind, Review, ReviewItem, ReviewState, Role, UserRole
from environments_app.names import MAX_PREFIX
from environments_app.reviews import service as reviews
from environments_app.reviews.coverage import GAP_DAYS, MAX_GAP_DAYS, visible_gaps
from environments_app.reviews.decisions import Less, decide
from environments_app.reviews.population import digest_of_given, key_of, lines_for


class ReviewDocument(serializers.ModelSerializer[Review]):
    items = serializers.IntegerField(source="items_count")
    opened_by = serializers.CharField(source="opened_by_name")
    closed_by = serializers.CharField(source="closed_by_name")
    state = serializers.ChoiceField(choices=ReviewState.choices)
    kinds = serializers.SerializerMethodField()
    ends_undecided = serializers.SerializerMethodField()

    class Meta:
        model = Review
        fields = [
            "id", "uuid", "name", "scope", "population_at", "items", "population", "opened_by", "due_at",
            "state", "closed_by", "closed_at", "comment", "prefix", "kinds", "ends_undecided",
        ]  # fmt: skip
        read_only_fields = fields

    @extend_schema_field(serializers.ListField(child=serializers.ChoiceField(choices=AccessKind.choices)))
    def get_kinds(self, review: Review) -> list[str]:
        return review.kinds or []

    def get_ends_undecided(self, review: Review) -> bool:
        return bool(review.ends_undecided)


class RightDocument(serializers.Serializer[Any]):
    role = serializers.CharField()
    prefix = serializers.CharField()
    expires_at = serializers.DateTimeField(allow_null=True)


class GivenDocument(RightDocument):
    environment = serializers.CharField(help_text="Empty: the installation.")
    holder = serializers.CharField()
    kind = serializers.ChoiceField(choices=AccessKind.choices)
    via = serializers.CharField()
    granted_by = serializers.CharField()
    since = serializers.DateTimeField(allow_null=True)
    row = serializers.UUIDField()


class OneReviewDocument(ReviewDocument):
    """A review, with the access that was given after its list was made.

    That is listed for operators once all is decided, and stays as it was signed off. To sign off takes
    `given_digest`.
    """

    given = serializers.SerializerMethodField()
    given_digest = serializers.SerializerMethodField()

    class Meta(ReviewDocument.Meta):
        fields = [*ReviewDocument.Meta.fields, "given", "given_digest"]
        read_only_fields = fields

    @extend_schema_field(GivenDocument(many=True))
    def get_given(self, review: Review) -> list[dict[str, Json]]:
        return [*self.context["given"]]

    def get_given_digest(self, review: Review) -> str:
        return digest_of_given(self.context["given"])


class KeptDocument(RightDocument):
    as_listed = serializers.BooleanField(help_text="Whether it is the right that was listed.")


class ReviewItemDocument(serializers.ModelSerializer[ReviewItem]):
    """One entry: what was frozen, and the decision.

    `now` is the right as it is now, null if it has ended; `state` stands for it.
    `kept` is the right that was kept.
    """

    environment = serializers.CharField(source="environment_name")
    kind = serializers.ChoiceField(choices=AccessKind.choices)
    holder = serializers.CharField(source="subject_name")
    granted_by = serializers.CharField(source="granted_by_name")
    reviewer = serializers.CharField(source="reviewer_name")
    decision = serializers.SerializerMethodField()
    decided_by = serializers.CharField(source="decided_by_name")
    now = serializers.SerializerMethodField()
    kept = serializers.SerializerMethodField()
    state = serializers.SerializerMethodField()
    verified = serializers.BooleanField(
        source="is_authentic", read_only=True, help_text="False: modified outside Keeper."
    )

    class Meta:
        model = ReviewItem
        fields = [
            "id", "uuid", "kind", "environment", "holder", "role", "prefix", "via", "granted_by", "since",
            "expires_at", "hindrances", "last_used_at", "unused", "reviewer", "decision", "reason",
            "decided_by", "decided_at", "kept", "now", "state", "verified",
        ]  # fmt: skip
        read_only_fields = fields

    def get_decision(self, item: ReviewItem) -> str:
        return str(item.decision) or "undecided"

    @extend_schema_field(RightDocument(allow_null=True))
    def get_now(self, item: ReviewItem) -> dict[str, Json] | None:
        line = self.context["lines"].get(key_of(item))
        return line.right if line else None

    @extend_schema_field(KeptDocument(allow_null=True))
    def get_kept(self, item: ReviewItem) -> dict[str, Json] | None:
        return item.kept

    def get_state(self, item: ReviewItem) -> str:
        line = self.context["lines"].get(key_of(item))
        return line.state if line else ""


class NewReview(StrictSerializer):
    """Which environments, by name; `installation` adds its administrators, auditors and tokens.

    `prefix` and `kinds` leave out access that reaches nothing under a path, and access of other kinds.
    With `ends_undecided`, Keeper ends what is undecided a week after the review was due.
    """

    name = Text(max_length=100)
    environments = serializers.ListField(child=Text(max_length=63), allow_empty=True, max_length=500)
    installation = serializers.BooleanField(required=False)
    days = WholeNumber(required=False, min_value=1, max_value=reviews.MAX_DUE_DAYS)
    prefix = Text(required=False, max_length=MAX_PREFIX, allow_blank=True)
    kinds = serializers.ListField(
        child=serializers.ChoiceField(choices=AccessKind.choices), required=False, max_length=10
    )
    ends_undecided = serializers.BooleanField(required=False)


class ItemDecision(StrictSerializer):
    """Keep, change or end, and the `state` in which the access was seen: it is refused if that has changed.

    A change takes a lower role, a path under the present one, or an earlier end.
    """

    decision = serializers.ChoiceField(choices=["keep", "change", "end"])
    state = Text(max_length=32, allow_blank=True)
    reason = Text(required=False, max_length=reviews.MAX_TEXT, allow_blank=True)
    role = serializers.ChoiceField(
        choices=[*Role.choices, (UserRole.AUDITOR.value, "Auditor")], required=False
    )
    prefix = Text(required=False, max_length=MAX_PREFIX)
    expires_at = serializers.DateTimeField(required=False)


class ReviewComment(StrictSerializer):
    comment = Text(required=False, max_length=reviews.MAX_TEXT, allow_blank=True)
    given = Text(required=False, max_length=64, allow_blank=True, help_text="`given_digest` as it was seen.")


class ReviewReason(StrictSerializer):
    comment = Text(max_length=reviews.MAX_TEXT)


class GapQuery(serializers.Serializer[Any]):
    days = serializers.IntegerField(required=False, min_value=1, max_value=MAX_GAP_DAYS, default=GAP_DAYS)


class GapDocument(serializers.Serializer[Any]):
    """An environment without a recent review of all its access, with the last one that was signed off."""

    environment = serializers.CharField(
        source="environment.name", default="", read_only=True, help_text="Empty: the installation."
    )
    last_review = serializers.IntegerField(source="last.pk", default=None, allow_null=True, read_only=True)
    signed_at = serializers.DateTimeField(
        source="last.closed_at", default=None, allow_null=True, read_only=True
    )
    signed_by = serializers.CharField(source="last.closed_by_name", default="", read_only=True)
    open_review = serializers.IntegerField(source="running.pk", default=None, allow_null=True, read_only=True)


class ReviewListView(AccessView):
    queryset = Review.objects.none()
    serializer_class = ReviewDocument
    ordering_fields: ClassVar[Mapping[str, str]] = {"id": "id"}
    default_ordering = "-id"

    @extend_schema(summary="List reviews of access", responses=ReviewDocument(many=True))
    def get(self, request: Request) -> Response:
        """List the reviews of environments that you manage, the newest first; operators see all."""
        rows = reviews.visible_reviews(self.actor)
        return self.get_paginated_response(ReviewDocument(self.page(rows), many=True).data)

    @extend_schema(summary="Start a review of access", request=NewReview, responses={201: ReviewDocument})
    def post(self, request: Request) -> Response:
        """Freeze who has which access, and ask its reviewers. Only administrators may."""
        require(actor=self.actor, action=Action.REVIEW_START, environment=None)
        given = self.given(NewReview)
        names = dict.fromkeys(given.pop("environments"))
        environments = [find_environment(actor=self.actor, name=name) for name in names]
        review = reviews.start(actor=self.actor, environments=environments, **given)
        return Response(ReviewDocument(review).data, status=status.HTTP_201_CREATED)


class UnreviewedView(AccessView):
    queryset = Review.objects.none()
    serializer_class = GapDocument
    pagination_class = None
    filter_names: ClassVar[tuple[str, ...]] = tuple(GapQuery().fields)

    @extend_schema(
        summary="List what was not reviewed", parameters=[GapQuery], responses=GapDocument(many=True)
    )
    def get(self, request: Request) -> Response:
        """List environments with access of which no review of all was signed off in the last days."""
        query = GapQuery(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        found = visible_gaps(actor=self.actor, **query.validated_data)
        return Response(GapDocument(found, many=True).data)


class ReviewActs(AccessView):
    queryset = Review.objects.none()
    serializer_class: type[serializers.Serializer[Any]] = ReviewDocument

    def find_review(self, id: int) -> Review:
        """Return the review that the address names. Raises Invisible."""
        return reviews.find_review(actor=self.actor, id=id)


class ReviewView(ReviewActs):
    serializer_class = OneReviewDocument

    @extend_schema(summary="Read a review of access", responses=OneReviewDocument)
    def get(self, request: Request, id: int) -> Response:
        review = self.find_review(id)
        context = {"given": reviews.visible_given(self.actor, review)}
        return Response(OneReviewDocument(review, context=context).data)


class ReviewItemListView(ReviewActs):
    serializer_class = ReviewItemDocument
    filter_names: ClassVar[tuple[str, ...]] = ("mine", "decision")
    ordering_fields: ClassVar[Mapping[str, str]] = {"id": "id"}
    default_ordering = "id"

    @extend_schema(
        summary="List the entries of a review",
        responses=ReviewItemDocument(many=True),
        parameters=[
            OpenApiParameter("mine", str, description="Only what you are asked about.", enum=["true"]),
            OpenApiParameter(
                "decision", str, description="Only those decided so.", enum=list(reviews.DECISIONS)
            ),
        ],
    )
    def get(self, request: Request, id: int) -> Response:
        """List the entries that you may see: of environments that you manage; operators see all."""
        rows = reviews.visible_items(self.actor, self.find_review(id))
        rows = reviews.filtered(
            rows,
            self.actor,
            mine=request.query_params.get("mine"),
            decision=request.query_params.get("decision"),
        )
        items = self.page(rows)
        context = {"lines": lines_for(items)}
        return self.get_paginated_response(ReviewItemDocument(items, many=True, context=context).data)


class ReviewItemView(ReviewActs):
    serializer_class = ReviewItemDocument
    pagination_class = None

    @extend_schema(
        summary="Decide about an entry of a review", request=ItemDecision, responses=ReviewItemDocument
    )
    def post(self, request: Request, id: int, item: int) -> Response:
        """Keep the access, make it less, or end it, at once. Nobody decides about their own."""
        found = reviews.find_item(actor=self.actor, id=id, item=item)
        given = self.given(ItemDecision)
        less = Less(*(given.pop(name, None) for name in Less._fields))
        decided = decide(actor=self.actor, item=found, less=less, **given)
        context = {"lines": lines_for([decided])}
        return Response(ReviewItemDocument(decided, context=context).data)


_BODIES: Final = {"sign": ReviewComment, "cancel": ReviewReason}
ACT_VIEWS: Final = {
    act.slug: act_view(ReviewActs, act, answer=ReviewDocument, body=_BODIES[act.name]) for act in acts.REVIEWS
}
