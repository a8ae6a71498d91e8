"""Forms of the page that exports and imports."""

from typing import Any

from django import forms

from domains import config_document
from lumos.errors import InvalidInput
from lumos.forms import LumosForm
from lumos_agent.document import DOCUMENT_BYTES_MAX, ConfigDocument
from servers.models import Server


class ImportForm(LumosForm):
    """A document as a file or as text."""

    file = forms.FileField(required=False, label="File", help_text="A file that the export has written.")
    text = forms.CharField(
        required=False, label="or paste the document", widget=forms.Textarea({"rows": 8, "spellcheck": "false"})
    )
    prune = forms.BooleanField(
        required=False,
        label="Delete what the document lacks",
        help_text="Servers and domains that its sections do not name. Only for owners and admins.",
    )

    def document(self) -> ConfigDocument:
        """Return the document.

        Raises:
            InvalidInput: `field` is the place in it.
        """
        upload = self.cleaned_data["file"]
        if upload is not None and upload.size > DOCUMENT_BYTES_MAX:
            raise InvalidInput(f"The file is larger than {DOCUMENT_BYTES_MAX} bytes; import its domains in parts.")
        data = upload.read() if upload is not None else self.cleaned_data["text"].encode()
        if not data.strip():
            raise InvalidInput("Choose a file or paste a document.")
        return config_document.parsed(data)


class BulkForm(LumosForm):
    """Lines of domains, and the servers that shall carry them."""

    lines = forms.CharField(
        label="Domains, one a line",
        widget=forms.Textarea(
            {
                "rows": 8,
                "spellcheck": "false",
                "placeholder": "www.example.com 203.0.113.7:8080\nshop.example.com, origin.example.com, https",
            }
        ),
    )
    servers = forms.ModelMultipleChoiceField(
        queryset=Server.unscoped.none(), required=False, help_text="All of them carry the domains, in order of name."
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["servers"].queryset = Server.objects.order_by("name")  # type: ignore[attr-defined]
