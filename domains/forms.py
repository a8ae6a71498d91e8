"""Forms of the domain pages: the hostname, rows of origins, rows of servers."""

import re
from typing import Any

from django import forms

from domains.clone import Part
from domains.models import CertificateSource, Domain, RolloutMode, Tls
from domains.services import OriginData
from lumos.errors import AppError
from lumos.forms import LumosForm
from servers.models import Server

_ORIGIN_FIELD = re.compile(r"\Aorigins\[(\d+)\]\.(\w+)\Z")


class DomainForm(LumosForm):
    """The hostname and its certificate."""

    hostname = forms.CharField(
        max_length=300,
        widget=forms.TextInput({"placeholder": "www.example.com"}),
        help_text="*.example.com stands for every name directly below example.com, * for every name that no other "
        "domain of the server has.",
    )
    certificate = forms.ChoiceField(
        choices=CertificateSource.choices,
        initial=CertificateSource.ACME,
        help_text="Automatic: ordered and renewed by your shields themselves once DNS points at one of them. Uploaded: "
        "give it on the domain's page afterwards.",
    )
    rollout = forms.ChoiceField(
        choices=RolloutMode.choices,
        initial=RolloutMode.ALL,
        required=False,
        label="Changes reach",
        help_text="Staged: the others follow half a minute later, unless the first fails or errors rise.",
    )

    def clean_rollout(self) -> str:
        """Return the choice; a form without it keeps the default."""
        return self.cleaned_data["rollout"] or RolloutMode.ALL


class UploadForm(LumosForm):
    """A chain, and what the browser sealed: {server id: sealed key} as JSON."""

    chain = forms.CharField(
        label="Certificates (PEM)",
        max_length=65_536,
        widget=forms.Textarea({"rows": 8, "placeholder": "-----BEGIN CERTIFICATE-----", "spellcheck": "false"}),
        help_text="The site's own first, then the intermediate ones of the CA.",
    )
    keys = forms.JSONField(widget=forms.HiddenInput)

    def clean_keys(self) -> dict[str, str]:
        """Return {server id: sealed key}."""
        keys = self.cleaned_data["keys"]
        if not isinstance(keys, dict) or not all(isinstance(value, str) for value in keys.values()):
            raise forms.ValidationError("The browser sent no sealed keys; load this page again.")
        return keys


class OriginForm(LumosForm):
    """One origin; an empty address means no origin."""

    address = forms.CharField(
        max_length=300, required=False, widget=forms.TextInput({"placeholder": "IP address or hostname"})
    )
    port = forms.IntegerField(min_value=1, max_value=65535, initial=80)
    weight = forms.IntegerField(min_value=0, max_value=256, initial=100)
    tls = forms.ChoiceField(choices=Tls.choices, required=False, label="Protocol")
    backup = forms.BooleanField(required=False)
    enabled = forms.BooleanField(required=False, initial=True)

    def data_class(self) -> OriginData:
        """Return what the service takes."""
        return OriginData(**{**self.cleaned_data, "tls": self.cleaned_data["tls"] or Tls.OFF})


class ServerRowForm(LumosForm):
    """One server of the domain; the order of the rows is the order of the servers."""

    server = forms.ModelChoiceField(queryset=Server.unscoped.none(), required=False, empty_label="—")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["server"].queryset = Server.objects.order_by("name")  # type: ignore[attr-defined]


OriginRows: Any = forms.formset_factory(OriginForm, extra=1, max_num=64, absolute_max=64)
ServerRows: Any = forms.formset_factory(ServerRowForm, extra=1, max_num=100, absolute_max=100)


class CloneForm(LumosForm):
    """Another domain of the account, and what to take over from it."""

    source = forms.ModelChoiceField(queryset=Domain.unscoped.none(), label="From", empty_label="—")
    parts = forms.MultipleChoiceField(choices=Part.choices, widget=forms.CheckboxSelectMultiple, label="Take over")

    def __init__(self, data: Any = None, *, domain: Domain) -> None:
        super().__init__(data)
        others = Domain.objects.exclude(pk=domain.pk).order_by("hostname")
        self.fields["source"].queryset = others  # type: ignore[attr-defined]


class DomainEditor:
    """The three forms of one page as one."""

    def __init__(self, data: Any = None, domain: Domain | None = None) -> None:
        origins = list(domain.origins.values("address", "port", "weight", "tls", "backup", "enabled")) if domain else []
        servers = [{"server": a.server_id} for a in domain.assignments.all()] if domain else _only_server()
        self.form = DomainForm(data, initial=_initial(domain))
        self.origins = OriginRows(data, initial=origins, prefix="origins")
        self.servers = ServerRows(data, initial=servers, prefix="servers")

    def is_valid(self) -> bool:
        """Whether all three are; evaluates each, so that all messages show at once."""
        return all([self.form.is_valid(), self.origins.is_valid(), self.servers.is_valid()])

    def values(self) -> dict[str, Any]:
        """Return the arguments of `add_domain` and `change_domain`."""
        return {
            **self.form.cleaned_data,
            "origins": [form.data_class() for form in self._filled_origins()],
            "servers": [s for form in self.servers if (s := form.cleaned_data.get("server"))],
        }

    def _filled_origins(self) -> list[OriginForm]:
        return [form for form in self.origins if form.cleaned_data.get("address")]

    def show(self, error: AppError) -> None:
        """Attach a service's refusal to the field that it is about."""
        if match := _ORIGIN_FIELD.match(error.field or ""):
            form = self._filled_origins()[int(match[1])]
            form.add_error(match[2], error.detail)
        else:
            self.form.show(error)


def _initial(domain: Domain | None) -> dict[str, str]:
    return {"hostname": domain.hostname, "certificate": domain.certificate, "rollout": domain.rollout} if domain else {}


def _only_server() -> list[dict[str, Any]]:
    """Preselect the server of an account that has one."""
    ids = list(Server.objects.values_list("pk", flat=True)[:2])
    return [{"server": ids[0]}] if len(ids) == 1 else []
