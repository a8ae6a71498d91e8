"""What all API views share: pagination and answers outside DRF's reach."""

from django.http import HttpRequest, JsonResponse
from rest_framework import pagination

from lumos.problems import problem_json


class CursorPagination(pagination.CursorPagination):
    """Newest first; `page_size` 1-500, default 50. Follow `next` until it is null."""

    page_size = 50
    max_page_size = 500
    page_size_query_param = "page_size"
    ordering = ("-created_at", "-id")


def unknown_path(request: HttpRequest, path: str = "") -> JsonResponse:
    """Answer API paths that no route matches."""
    return problem_json(
        404, "not_found", "Not found", f"There is no /api/v1/{path}. The description of the API is at /api/v1/docs."
    )
