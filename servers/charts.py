"""Series as the charts of pages want them: {kind, step, unit, labels, series: [{label, color, values}]}."""

from collections.abc import Iterable
from typing import Any

from servers.analytics import Series
from servers.latency import Latency

_STATUSES = (("1xx", "azure"), ("2xx", "green"), ("3xx", "blue"), ("4xx", "yellow"), ("5xx", "red"))


def requests(found: Series) -> dict[str, Any]:
    """Return passed and blocked requests."""
    counts = found.counts
    passed = _without(counts["requests"], counts["blocked"])
    return _chart(found, [("Passed", "primary", passed), ("Blocked", "danger", counts["blocked"])])


def bandwidth(found: Series) -> dict[str, Any]:
    """Return bytes to and from visitors."""
    counts = found.counts
    rows = [("To visitors", "primary", counts["bytes_out"]), ("From visitors", "teal", counts["bytes_in"])]
    return _chart(found, rows, unit="byte")


def statuses(found: Series) -> dict[str, Any]:
    """Return answers by the class of their status."""
    return _chart(found, [(name, color, found.counts[f"status_{name}"]) for name, color in _STATUSES])


def blocked(found: Series) -> dict[str, Any]:
    """Return why requests were blocked: sent to the bot check, over a rate, by rules and lists."""
    challenged, limited = found.counts["challenged"], found.counts["limited"]
    others = _without(_without(found.counts["blocked"], challenged), limited)
    rows = [
        ("Rules and lists", "danger", others),
        ("Bot check", "orange", challenged),
        ("Over a rate", "purple", limited),
    ]
    return _chart(found, rows)


def latency(found: Series, waited: Latency) -> dict[str, Any]:
    """Return percentiles of the wait for origins, as lines with gaps."""
    colors = {"p50": "teal", "p95": "primary", "p99": "orange"}
    rows = [
        {"label": name, "color": color, "values": [point[name] for point in waited.points]}
        for name, color in colors.items()
    ]
    labels = [point.isoformat() for point in found.points]
    return {"kind": "line", "step": found.span.step, "unit": "millisecond", "labels": labels, "series": rows}


def _without(numbers: list[int], less: list[int]) -> list[int]:
    # What is logged and what is counted come from two places, and a batch may end between them.
    return [max(number - taken, 0) for number, taken in zip(numbers, less, strict=True)]


def _chart(found: Series, rows: Iterable[tuple[str, str, list[int]]], unit: str = "") -> dict[str, Any]:
    return {
        "kind": "bar",
        "step": found.span.step,
        "unit": unit,
        "labels": [point.isoformat() for point in found.points],
        "series": [{"label": label, "color": color, "values": values} for label, color, values in rows],
    }
