"""The overview: what an account sees first."""

from django.http import HttpResponse
from django.shortcuts import render

from accounts.pages import PageRequest, page
from billing.entitlements import wallet_of
from domains.models import Domain
from servers import selectors
from servers.models import Server, ServerStatus
from waf.attacks import attacks_now
from waf.models import Event


@page()
def overview(request: PageRequest) -> HttpResponse:
    """Numbers of the last 24 hours, and what to do next until the first request was protected."""
    servers = list(Server.objects.all())
    domains = Domain.objects.count()
    chart = selectors.requests_per_hour()
    steps = [
        ("Add a server", "Name your VPS and get its token.", "server-add", bool(servers)),
        ("Connect its agent", "Run the install line on the VPS.", "servers", any(s.connected_at for s in servers)),
        ("Add a domain", "Say where its clean traffic goes.", "domain-add", domains > 0),
        ("Serve the first request", "Point the domain's DNS at the shield.", "domains", chart["total"] > 0),
    ]
    context = {
        "wallet": wallet_of(request.account.pk),
        "steps": steps,
        "is_set_up": all(done for *_, done in steps),
        "servers": servers,
        "online": sum(server.status == ServerStatus.ONLINE for server in servers),
        "domains": domains,
        "chart": chart,
        "attacks": attacks_now().select_related("domain", "server"),
        "events": Event.objects.select_related("domain")[:8],
    }
    return render(request, "overview.html", context)
