"""Writes scripts: pieces with their lines in, text out."""

OPERANDS_MAX = 50
METER, JOIN = "__t", "__c"
_HEAD = f"local {METER},{JOIN}=... return function(_ENV,...)"

# (line, text) of what is written; line 0 is "where the writer is".
Piece = tuple[int, str]
Pieces = list[Piece]


def meter(words: int) -> Pieces:
    """Return the reading of the meter before so many words."""
    return [(0, METER), (0, "("), (0, str(max(words, 1))), (0, ")"), (0, ";")]


def joined(operands: list[Pieces]) -> Pieces:
    """Return a call that joins operands; many are joined in groups from the right, as the language does."""
    if len(operands) == 1:
        return operands[0]
    if len(operands) > OPERANDS_MAX:
        operands = [*operands[: OPERANDS_MAX - 1], joined(operands[OPERANDS_MAX - 1 :])]
    pieces: Pieces = [(0, JOIN), (0, "(")]
    for index, operand in enumerate(operands):
        pieces += [(0, ",")] * bool(index) + [(0, "("), *operand, (0, ")")]
    return [*pieces, (0, ")")]


def _is_word(char: str) -> bool:
    return char.isalnum() or char == "_"


def written(pieces: Pieces) -> str:
    """Return text in which every piece stands in its line."""
    parts, line, last = [_HEAD, " "], 1, " "
    for at, text in pieces:
        if at > line:
            parts.append("\n" * (at - line))
            line, last = at, "\n"
        elif (_is_word(last) and _is_word(text[0])) or last == text[0]:
            parts.append(" ")
        parts.append(text)
        last = text[-1]
    return "".join([*parts, "\nend"])
