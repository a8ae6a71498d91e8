"""Tabler's look for Django's form fields, and service errors shown at their field."""

from typing import Any

from django import forms

from lumos.errors import AppError

_CLASSES: dict[type[forms.Widget], str] = {
    forms.CheckboxInput: "form-check-input",
    forms.CheckboxSelectMultiple: "form-check-input",
    forms.Select: "form-select",
    forms.SelectMultiple: "form-select",
}


class LumosForm(forms.Form):
    """A form whose widgets carry the UI kit's classes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            field.widget.attrs["class"] = _CLASSES.get(type(field.widget), "form-control")

    def add_error(self, field: str | None, error: Any) -> None:
        """Mark the field as well. Errors are not asked for earlier: a subclass may still set up its fields."""
        super().add_error(field, error)
        if field is not None and "is-invalid" not in self.fields[field].widget.attrs["class"]:
            self.fields[field].widget.attrs["class"] += " is-invalid"

    def show(self, error: AppError) -> None:
        """Attach a service's refusal to its field, or to the whole form."""
        field = error.field if error.field in self.fields else None
        self.add_error(field, error.detail)
