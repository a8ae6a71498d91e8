"""Filters of lists whose bad values are a message, not a database error."""

from datetime import UTC, datetime
from typing import Any

import django_filters
from django import forms
from django_filters.fields import IsoDateTimeField


class AddressFilter(django_filters.Filter):
    """An exact IP address."""

    field_class: type[forms.Field] = forms.GenericIPAddressField


class _TimeField(IsoDateTimeField):
    def clean(self, value: Any) -> datetime | None:
        """Return the time in UTC, because PostgreSQL knows fewer offsets than ISO 8601."""
        found: datetime | None = super().clean(value)
        try:
            return found and found.astimezone(UTC)
        except OverflowError as error:
            raise forms.ValidationError(self.error_messages["invalid"], code="invalid") from error


class TimeFilter(django_filters.IsoDateTimeFilter):
    """A time in ISO 8601."""

    field_class: type[IsoDateTimeField] = _TimeField
