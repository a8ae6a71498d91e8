# ruff: noqa: S608 - the names in the statement are those of models
"""Columns of many rows at once."""

from collections.abc import Collection, Sequence
from typing import Any

from django.db import connection
from django.db.models import Model


def write(rows: Collection[Model], names: Sequence[str]) -> None:
    """Write these fields of rows of one model, which the caller has locked, in one statement.

    As `bulk_update` does, which takes much longer to make its statement than the database to run it.
    """
    if not rows:
        return
    meta: Any = next(iter(rows))._meta
    quoted = connection.ops.quote_name
    fields = [meta.pk, *map(meta.get_field, names)]
    # SQLite has no types to be told, and its casts change values.
    casts = [f"::{field.cast_db_type(connection)}" if connection.vendor == "postgresql" else "" for field in fields]
    place = f"({', '.join(f'%s{cast}' for cast in casts)})"
    columns = ", ".join(f"{quoted(field.column)} = made.column{n}" for n, field in enumerate(fields[1:], start=2))
    made = f"(VALUES {', '.join([place] * len(rows))}) AS made"
    table, pk = quoted(meta.db_table), quoted(meta.pk.column)
    values = [field.get_db_prep_save(getattr(row, field.attname), connection) for row in rows for field in fields]
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {table} SET {columns} FROM {made} WHERE {table}.{pk} = made.column1", values)
