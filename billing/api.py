"""API views of billing."""

from typing import Any

import django_filters
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, status, viewsets
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import actor
from accounts.permissions import ADMIN
from billing import plans, selectors, top_ups
from billing.models import BOOKINGS, LedgerEntry, Plan, TopUp
from billing.serializers import (
    BillingPlanSerializer,
    ChargeSerializer,
    LedgerEntrySerializer,
    PlanChoiceSerializer,
    StandingSerializer,
    StartedTopUpSerializer,
    TopUpSerializer,
)
from lumos.api import CursorPagination
from lumos.filters import TimeFilter


class BillingView(APIView):
    """Where the account stands."""

    @extend_schema(responses=StandingSerializer)
    def get(self, request: Request) -> Response:
        """Return plan, balance, run-out date and forecast."""
        return Response(StandingSerializer(selectors.standing()).data)


class PlanViewSet(viewsets.ViewSet):
    """The account's plan. Only owners and admins choose it."""

    scopes = {"update": ADMIN}

    @extend_schema(request=PlanChoiceSerializer, responses=StandingSerializer)
    def update(self, request: Request) -> Response:
        """Choose a plan; it begins with the next cycle, and limits of a smaller one hold at once."""
        form = PlanChoiceSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        plans.choose_plan(plan=form.validated_data["plan"], actor=actor(request))
        return Response(StandingSerializer(selectors.standing()).data)


class PlanListView(APIView):
    """Plans that may be chosen."""

    @extend_schema(responses=BillingPlanSerializer(many=True))
    def get(self, request: Request) -> Response:
        """Return them, the cheapest first."""
        return Response(BillingPlanSerializer(Plan.objects.filter(is_offered=True), many=True).data)


class LedgerFilter(django_filters.FilterSet):
    """`since` and `until` compare with the time of the booking."""

    kind = django_filters.ChoiceFilter(choices=BOOKINGS)
    since = TimeFilter(field_name="created_at", lookup_expr="gte")
    until = TimeFilter(field_name="created_at", lookup_expr="lt")


class LedgerViewSet(mixins.ListModelMixin, viewsets.GenericViewSet[LedgerEntry]):
    """The ledger without its charges: top-ups, refunds, credits from the operator."""

    serializer_class = LedgerEntrySerializer
    filterset_class = LedgerFilter

    def get_queryset(self) -> QuerySet[LedgerEntry]:
        """Return the bookings of the account."""
        return LedgerEntry.objects.filter(cycle=None)


class ChargeFilter(django_filters.FilterSet):
    """`since` and `until` are numbers of cycles: Unix time divided by 300."""

    since = django_filters.NumberFilter(field_name="cycle", lookup_expr="gte")
    until = django_filters.NumberFilter(field_name="cycle", lookup_expr="lt")


class ChargePagination(CursorPagination):
    """Newest first."""

    ordering = ("-cycle", "-id")


class ChargeViewSet(mixins.ListModelMixin, viewsets.GenericViewSet[LedgerEntry]):
    """The charges of the ledger, one for each cycle of five minutes; old ones by day."""

    serializer_class = ChargeSerializer
    filterset_class = ChargeFilter
    pagination_class = ChargePagination

    def get_queryset(self) -> QuerySet[LedgerEntry]:
        """Return the charges of the account."""
        return LedgerEntry.objects.filter(cycle__isnull=False)


class TopUpViewSet(
    mixins.ListModelMixin, mixins.RetrieveModelMixin, mixins.CreateModelMixin, viewsets.GenericViewSet[TopUp]
):
    """Buying credits. Only owners and admins do."""

    serializer_class = TopUpSerializer
    scopes = {"create": ADMIN}

    def get_queryset(self) -> QuerySet[TopUp]:
        """Return the account's."""
        return TopUp.objects.all()

    @extend_schema(responses={201: StartedTopUpSerializer})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Begin to buy credits; pay at `url`. The state becomes paid when the provider says so."""
        form = self.get_serializer(data=request.data)
        form.is_valid(raise_exception=True)
        amount = form.validated_data["amount_microcredits"]
        row, checkout = top_ups.start_top_up(amount=amount, actor=actor(request))
        shown = StartedTopUpSerializer(row, context={"url": checkout.url})
        return Response(shown.data, status=status.HTTP_201_CREATED)
