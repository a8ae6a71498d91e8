"""Rows that are made once by the services and put into later tests as they are: a bulk insert instead of verbs."""

import copy
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Generic, TypeVar

from django.apps import apps
from django.db import models
from django.utils import timezone

Made = TypeVar("Made")


def _rows(model: type[models.Model]) -> models.QuerySet[Any]:
    """Return all rows of a table, whatever its managers hide."""
    return models.QuerySet(model)


class Mould(Generic[Made]):
    """What `make` returned, and the rows that it added to the database; those of `without` are the caller's affair.

    Ids are the same in each cast; times move along with the clock. Rows with a number for an id get another number,
    so nothing may point at them.
    """

    def __init__(self, make: Callable[[], Made], without: Iterable[type[models.Model]] = ()) -> None:
        tables = [m for m in apps.get_models(include_auto_created=True) if m._meta.managed and m not in set(without)]
        before = {model: set(_rows(model).values_list("pk", flat=True)) for model in tables}
        self._made = make()
        self._at = timezone.now()
        self._added = {model: added for model in tables if (added := self._new(model, before[model]))}

    def _new(self, model: type[models.Model], before: set[Any]) -> list[models.Model]:
        """Return the rows that were added, oldest first; where what was made is a row, that object stands for it."""
        known = {
            value.pk: value
            for value in vars(self._made).values()
            if isinstance(value, models.Model) and type(value) is model
        }
        added = [row for row in _rows(model).order_by(*_by_age(model)) if row.pk not in before]
        for number, row in enumerate(added):
            if own := known.get(row.pk):
                own.__dict__.update(
                    {field.attname: getattr(row, field.attname) for field in model._meta.concrete_fields}
                )
                added[number] = own
        return added

    def cast(self) -> Made:
        """Insert the rows, and return what `make` returned, as objects of the caller's own."""
        made, added = copy.deepcopy((self._made, self._added))
        passed = timezone.now() - self._at
        for model, rows in added.items():
            for row in rows:
                for field in model._meta.concrete_fields:
                    if isinstance(moment := getattr(row, field.attname), datetime):
                        setattr(row, field.attname, moment + passed)
                if isinstance(model._meta.pk, models.AutoField):
                    row.pk = None
            _rows(model).bulk_create(rows)
        return made


def _by_age(model: type[models.Model]) -> list[str]:
    names = {field.name for field in model._meta.concrete_fields}
    return [name for name in ("created_at", "pk") if name == "pk" or name in names]
