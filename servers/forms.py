"""Forms of the server pages."""

from django import forms

from lumos.forms import LumosForm


class ServerForm(LumosForm):
    """Name, and what helps people to recognise a shield."""

    name = forms.CharField(max_length=100, help_text="For example the region and provider: fra1-hetzner.")
    region = forms.CharField(max_length=60, required=False)
    public_ipv4 = forms.GenericIPAddressField(protocol="IPv4", required=False, label="Public IPv4")
    public_ipv6 = forms.GenericIPAddressField(protocol="IPv6", required=False, label="Public IPv6")

    def values(self) -> dict[str, str | None]:
        """Return the cleaned values with None for an address that was left empty."""
        data = self.cleaned_data
        return {**data, "public_ipv4": data["public_ipv4"] or None, "public_ipv6": data["public_ipv6"] or None}
