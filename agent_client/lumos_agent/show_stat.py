"""`show stat` of HAProxy (management guide, 9.1), read as fast as ten thousand domains need it."""

import csv
from collections.abc import Iterator, Sequence
from operator import itemgetter

# The first column that may hold a comma, in quotes.
_FIRST_TEXT = "last_chk"


def stat_rows(text: str, columns: Sequence[str]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield some columns of every row, and the row; nothing if there is no header.

    All of them must stand before the first column that may hold a comma.
    """
    header, *lines = text.removeprefix("# ").split("\n")
    names = header.split(",")
    if _FIRST_TEXT not in names:
        return
    places = [names.index(column) for column in columns]
    assert max(places) < names.index(_FIRST_TEXT)  # noqa: S101 - a row could not be split there
    pick, splits = itemgetter(*places), max(places) + 1
    for line in lines:
        if len(fields := line.split(",", splits)) > splits:
            yield pick(fields), line


def texts_of(text: str, line: str, columns: Sequence[str]) -> list[str]:
    """Return columns of one row of `text` that may hold commas and quotes."""
    header = text.removeprefix("# ").partition("\n")[0].split(",")
    row = next(csv.reader([line]))
    return [row[header.index(column)] for column in columns]
