"""The operator's view of notifications: read-only, with a preview of every mail."""

from functools import partial

from csp.decorators import csp_replace
from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, path

from lumos.operator import ReadOnlyAdmin
from notifications.kinds import Kind
from notifications.models import Channel, Delivery, Notification
from notifications.samples import sample
from notifications.transports.email import mail_parts

# A mail brings its style inline and loads nothing.
_MAIL_ONLY = {"default-src": ["'none'"], "style-src-attr": ["'unsafe-inline'"], "frame-ancestors": ["'self'"]}


@admin.register(Notification)
class NotificationAdmin(ReadOnlyAdmin):
    """What happened, and what mails about it look like."""

    list_display = ("created_at", "account", "kind", "state", "repeats")
    list_filter = ("kind", "state")
    date_hierarchy = "created_at"
    change_list_template = "notifications/admin_list.html"

    def get_urls(self) -> list[URLPattern]:
        """Add the previews."""
        own = [
            path("mails/", self.admin_site.admin_view(self.mails), name="notifications_mails"),
            path("mails/<slug:kind>/", self.admin_site.admin_view(self.mail), name="notifications_mail"),
        ]
        return [*own, *super().get_urls()]

    def mails(self, request: HttpRequest) -> HttpResponse:
        """List the mails."""
        context = {**self.admin_site.each_context(request), "title": "Mails", "kinds": Kind.choices}
        return TemplateResponse(request, "notifications/admin_mails.html", context)

    def mail(self, request: HttpRequest, kind: str) -> HttpResponseBase:
        """Show one mail: `?as=text` its text."""
        return csp_replace(_MAIL_ONLY)(partial(_mail, kind))(request)


def _mail(kind: str, request: HttpRequest) -> HttpResponse:
    if kind not in Kind.values:
        raise Http404
    subject, text, html = mail_parts("Sample account", [sample(Kind(kind))])
    if request.GET.get("as") == "text":
        return HttpResponse(f"Subject: {subject}\n\n{text}", content_type="text/plain; charset=utf-8")
    return HttpResponse(html)


@admin.register(Channel)
class ChannelAdmin(ReadOnlyAdmin):
    """Channels and how they do."""

    list_display = ("name", "account", "kind", "enabled", "failures", "failing_since")
    list_filter = ("kind", "enabled")
    fields = ("account", "name", "kind", "enabled", "disabled_reason", "failures", "failing_since", "rests_until")


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin):
    """Deliveries, without what was sent."""

    list_display = ("created_at", "account", "channel", "state", "tries", "next_at", "reason")
    list_filter = ("state",)
    list_select_related = ("account", "channel")
    fields = ("account", "channel", "notification", "state", "tries", "next_at", "expires_at", "delivered_at", "reason")
