"""Forms of the zone pages."""

from typing import Any

from django import forms

from domains.zone_file import TEXT_MAX, ImportMode
from domains.zone_models import TTL_MAX, TTL_MIN, WEIGHT_MAX, Answer, RecordType, Zone, ZoneRecord
from domains.zone_rules import RecordData
from lumos.forms import LumosForm
from servers.models import Server

RECORD_TYPES = [(RecordType.PROXIED.value, RecordType.PROXIED.label)]
RECORD_TYPES += [(kind.value, kind.label) for kind in RecordType if kind != RecordType.PROXIED]


class ServersForm(LumosForm):
    """The servers of a zone."""

    servers = forms.ModelMultipleChoiceField(
        queryset=Server.unscoped.none(),
        widget=forms.CheckboxSelectMultiple,
        label="Served by",
        help_text="Two or more, so that the zone is answered when one is away. Each needs a public address.",
    )

    def __init__(self, data: Any = None, zone: Zone | None = None) -> None:
        chosen = list(zone.nameservers.values_list("server_id", flat=True)) if zone else []
        super().__init__(data, initial={"servers": chosen})
        self.fields["servers"].queryset = Server.objects.order_by("name")  # type: ignore[attr-defined]


class ZoneForm(ServersForm):
    """A new zone."""

    name = forms.CharField(
        max_length=300,
        label="Zone",
        widget=forms.TextInput({"placeholder": "example.com"}),
        help_text="The domain as you registered it.",
    )
    field_order = ("name", "servers")


class RecordForm(LumosForm):
    """A record. What a proxied name answers is chosen and not written."""

    name = forms.CharField(max_length=300, widget=forms.TextInput({"placeholder": "www"}), help_text="@ is the zone.")
    type = forms.ChoiceField(choices=RECORD_TYPES)
    data = forms.CharField(  # type: ignore[assignment]
        max_length=20_000,
        required=False,
        widget=forms.TextInput({"placeholder": "192.0.2.1", "spellcheck": "false"}),
        help_text="A text may be of any length. Nothing for proxied names.",
    )
    ttl = forms.IntegerField(min_value=TTL_MIN, max_value=TTL_MAX, initial=300, label="TTL (s)")
    place = forms.CharField(
        max_length=40,
        required=False,
        widget=forms.TextInput({"placeholder": "country:DE"}),
        help_text="Only for clients in a country, or continent:EU. Empty: for everybody else.",
    )
    weight = forms.IntegerField(
        min_value=0, max_value=WEIGHT_MAX, initial=0, required=False, help_text="Share of the answers; 0: all together."
    )
    answer = forms.ChoiceField(choices=Answer.choices, initial=Answer.ALL, required=False, label="Proxied: answer with")
    server = forms.ModelChoiceField(
        queryset=Server.unscoped.none(), required=False, empty_label="all of the domain", label="Proxied: shields"
    )

    def __init__(self, data: Any = None, record: ZoneRecord | None = None) -> None:
        super().__init__(data, initial=_initial(record))
        self.fields["server"].queryset = Server.objects.order_by("name")  # type: ignore[attr-defined]

    def record(self) -> RecordData:
        """Return what the services take."""
        values = self.cleaned_data
        is_proxied = values["type"] == RecordType.PROXIED
        server = values["server"] if is_proxied else None
        return RecordData(
            name=values["name"],
            type=values["type"],
            data=(values["answer"] or Answer.ALL) if is_proxied else values["data"],
            ttl=values["ttl"],
            place=values["place"],
            weight=values["weight"] or 0,
            server=None if server is None else server.pk,
        )


def _initial(record: ZoneRecord | None) -> dict[str, Any] | None:
    if record is None:
        return None
    names = ("name", "type", "ttl", "place", "weight", "server")
    what = "answer" if record.type == RecordType.PROXIED else "data"
    return {name: getattr(record, name) for name in names} | {what: record.data}


class ZoneImportForm(LumosForm):
    """A zone file as text."""

    text = forms.CharField(
        max_length=TEXT_MAX,
        label="Zone file",
        strip=False,
        widget=forms.Textarea({"rows": 8, "spellcheck": "false", "placeholder": "www 300 IN A 192.0.2.1"}),
        help_text="SOA and the name servers of the zone itself are left out. Proxied names and places stay.",
    )
    mode = forms.ChoiceField(choices=ImportMode.choices, initial=ImportMode.ADD)
    dry_run = forms.BooleanField(required=False, initial=True, label="Only say what would be done")
