"""Amounts: integers of micro-credits. One credit is one unit of the installation's currency."""

from decimal import Decimal, InvalidOperation

CREDIT = 1_000_000
CENT = CREDIT // 100
CYCLE_SECONDS = 300
CYCLES = 8_640
"""Five-minute cycles in 30 days, over which a plan's price is spread."""
PRICE_MAX = 10**14


def charge(price: int, cycle: int) -> int:
    """Return what a plan of `price` micro-credits costs in one cycle; any 8,640 cycles in a row cost the price exactly.

    What is due rises in a straight line, and each cycle pays the whole micro-credits that became due in it.
    """
    phase = cycle % CYCLES
    return (phase + 1) * price // CYCLES - phase * price // CYCLES


def text(amount: int) -> str:
    """Return an amount with two digits, or with six where two would hide something: 19.00, -0.002200."""
    value = Decimal(amount) / CREDIT
    return f"{value:.2f}" if amount % CENT == 0 else f"{value:.6f}"


def parsed(words: str) -> int:
    """Return the micro-credits of a text such as 19.90.

    Raises:
        ValueError: it is no number with at most six digits after the point.
    """
    try:
        amount = Decimal(words.strip()) * CREDIT
    except InvalidOperation as error:
        raise ValueError("Enter a number, such as 19.90.") from error
    if not amount.is_finite() or amount != amount.to_integral_value():
        raise ValueError("Enter a number with at most six digits after the point, such as 19.90.")
    return int(amount)
