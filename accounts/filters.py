"""Filters of audit entries, for API and page alike."""

import django_filters

from accounts.audit import Action
from lumos.filters import AddressFilter, TimeFilter


class AuditFilter(django_filters.FilterSet):
    """By action, person, client address, kind and id of the object, and time."""

    action = django_filters.ChoiceFilter(choices=[(action.value, action.value) for action in Action])
    actor = django_filters.CharFilter(field_name="actor__email", lookup_expr="iexact", label="E-mail of the person")
    address = AddressFilter()
    object_type = django_filters.CharFilter(label="Kind of object, such as domains.domain")
    object_id = django_filters.CharFilter()
    since = TimeFilter(field_name="created_at", lookup_expr="gte")
    until = TimeFilter(field_name="created_at", lookup_expr="lt")
