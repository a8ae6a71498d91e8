"""The networks of CDNs for the operator."""

from django.contrib import admin

from domains.cdn_models import CdnList
from domains.cdn_networks import known
from lumos.operator import ReadOnlyAdmin


@admin.register(CdnList)
class CdnListAdmin(ReadOnlyAdmin):
    """When the publishers were asked, what they said, and what holds."""

    list_display = ("name", "holds", "as_of", "fetched_at", "tried_at", "error", "is_pushed")

    @admin.display(description="in force")
    def holds(self, row: CdnList) -> str:
        """Return how many networks hold, since when."""
        found = {str(name): one for name, one in known().items()}.get(row.name)
        return f"{len(found.networks)} networks as of {found.as_of}" if found else "no longer used"
