"""Kinds of fields that the form of traffic settings has."""

from collections.abc import Callable
from typing import Any

from django import forms


class LinesField(forms.CharField):
    """One value per line; blank lines are skipped. Its value is a list of (line number, parsed line)."""

    def __init__(self, parse: Callable[[str], Any], *, rows: int = 4, **options: Any) -> None:
        widget = forms.Textarea({"rows": rows, "spellcheck": "false", "wrap": "off"})
        super().__init__(required=False, strip=False, widget=widget, **options)
        self._parse = parse

    def clean(self, value: Any) -> list[tuple[int, Any]]:
        """Parse all lines, so that all mistakes show at once."""
        text = unix_lines(super().clean(value))
        parsed, mistakes = [], []
        for number, line in enumerate(text.split("\n"), 1):
            try:
                if line.strip():
                    parsed.append((number, self._parse(line.strip())))
            except ValueError as error:
                mistakes.append(f"Line {number}: {error}")
        if mistakes:
            raise forms.ValidationError(mistakes)
        return parsed


def unix_lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def number_field(label: str, largest: int, text: str = "") -> forms.IntegerField:
    return forms.IntegerField(min_value=1, max_value=largest, required=False, label=label, help_text=text)


def limit_field(label: str) -> forms.IntegerField:
    return forms.IntegerField(min_value=0, max_value=100_000, required=False, label=label, help_text="0: no limit.")


def switch_field(label: str, text: str = "") -> forms.BooleanField:
    return forms.BooleanField(required=False, label=label, help_text=text)


def page_field(label: str) -> forms.CharField:
    return forms.CharField(
        required=False, strip=False, label=label, widget=forms.Textarea({"rows": 3, "spellcheck": "false"})
    )
