"""Tabler's look for Django's form fields, and service errors shown at their field."""

from typing import Any

from django import forms

from lumos.errors import AppError

_CLASSES: dict[type[forms.Widget], str] = {
    forms.CheckboxInput: "form-check-input",
    forms.Select: "form-select",
}


class LumosForm(forms.Form):
    """A form whose widgets carry the UI kit's classes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, field in self.fields.items():
            css = _CLASSES.get(type(field.widget), "form-control")
            if self.is_bound and name in self.errors:
                css += " is-invalid"
            field.widget.attrs["class"] = css

    def show(self, error: AppError) -> None:
        """Attach a service's refusal to its field, or to the whole form."""
        field = error.field if error.field in self.fields else None
        self.add_error(field, error.detail)
