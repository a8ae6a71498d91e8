"""Project wiring: settings, routes, errors, the ASGI and Celery applications."""

from lumos.celery import app as celery_app

__all__ = ["celery_app"]
