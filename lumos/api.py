"""What all API views share: pagination and answers outside DRF's reach."""

from django.http import HttpRequest, HttpResponse, HttpResponsePermanentRedirect
from django.views.decorators.csrf import csrf_exempt
from django.views.defaults import server_error
from rest_framework import pagination

from lumos.problems import problem_json


class CursorPagination(pagination.CursorPagination):
    """Newest first; `page_size` 1-500, default 50. Follow `next` until it is null."""

    page_size = 50
    max_page_size = 500
    page_size_query_param = "page_size"
    ordering = ("-created_at", "-id")


class SlashRedirect(HttpResponsePermanentRedirect):
    """308 keeps method and body (RFC 9110, section 15.4.9)."""

    status_code = 308


@csrf_exempt
def unknown_path(request: HttpRequest, path: str = "") -> HttpResponse:
    """Answer API paths that no route matches; a final slash too many is redirected."""
    if path.endswith("/"):
        return SlashRedirect(request.get_full_path().replace("/?", "?").rstrip("/"))
    return problem_json(
        404, "not_found", "Not found", f"There is no /api/v1/{path}. The description of the API is at /api/v1/docs."
    )


def broken(request: HttpRequest) -> HttpResponse:
    """Answer 500 in the words of the door that was used."""
    if not request.path.startswith("/api/"):
        return server_error(request)
    return problem_json(
        500, "internal", "Something broke", "This is our mistake. It has been logged; please try again."
    )
