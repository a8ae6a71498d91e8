"""Form of a domain's own Lua."""

from typing import Any

from django import forms

from lumos.forms import LumosForm
from lumos_agent.schema import Script
from lumos_agent.script import SCRIPT_BYTES_MAX
from lumos_agent.waf_try import REQUEST_BYTES_MAX
from waf.models import ScriptFails


class ScriptForm(LumosForm):
    """The script, and a request to try it on."""

    mode = forms.ChoiceField(choices=(("off", "Off"), ("on", "On")), label="Script")
    fails = forms.ChoiceField(choices=ScriptFails.choices, label="When it fails")
    source = forms.CharField(
        required=False,
        strip=False,
        max_length=SCRIPT_BYTES_MAX,
        label="Lua",
        widget=forms.Textarea({"rows": 18, "spellcheck": "false", "class": "form-control font-monospace"}),
        help_text="Lua 5.3 with ngx.var, ngx.req, ngx.header, ngx.exit, ngx.shared, ngx.re and more, as in nginx.",
    )
    request = forms.CharField(
        required=False,
        strip=False,
        max_length=REQUEST_BYTES_MAX,
        label="Request to try",
        widget=forms.Textarea({"rows": 6, "spellcheck": "false", "class": "form-control font-monospace"}),
    )
    client = forms.GenericIPAddressField(required=False, label="Client address")
    country = forms.RegexField(r"\A[A-Z]{2}\Z", required=False, label="Country", max_length=2)
    scheme = forms.ChoiceField(choices=(("https", "https"), ("http", "http")), required=False)

    @classmethod
    def of(cls, part: Script, request: str) -> "ScriptForm":
        """Return the form with the present script and an example."""
        settings = {"mode": part.mode, "fails": part.fails, "source": part.source}
        return cls(initial={**settings, "request": request, "client": "192.0.2.7", "scheme": "https"})

    @property
    def script_fields(self) -> list[forms.BoundField]:
        """What is saved."""
        return [self["mode"], self["fails"]]

    @property
    def trial_fields(self) -> list[forms.BoundField]:
        """Where the request to try comes from."""
        return [self["client"], self["country"], self["scheme"]]

    @property
    def values(self) -> dict[str, Any]:
        """What the service takes."""
        return {name: self.cleaned_data[name] for name in ("mode", "fails", "source")}

    @property
    def trial(self) -> dict[str, Any]:
        """What a trial takes."""
        clean = self.cleaned_data
        return {
            "source": clean["source"],
            "request": clean["request"].encode(),
            "client": clean["client"] or "192.0.2.7",
            "country": clean["country"],
            "scheme": clean["scheme"] or "https",
        }
