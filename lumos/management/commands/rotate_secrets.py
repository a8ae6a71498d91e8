"""`manage.py rotate_secrets`: after a new key was put first in SECRETS_KEYS; the older ones may go afterwards."""

from typing import Any

from allauth.mfa.models import Authenticator
from django.apps import apps
from django.core.management.base import BaseCommand
from django.db import models

from lumos.secrets import Secret, SecretField

# Authenticator apps and recovery codes (allauth.mfa).
_SECOND_FACTORS = ("secret", "seed")


def _rotate(model: type[models.Model], name: str) -> int:
    """Encrypt a column anew; a row that is changed meanwhile has the newest key already."""
    rows = model._base_manager.exclude(**{f"{name}__isnull": True})
    for pk, secret in rows.values_list("pk", name).iterator(chunk_size=500):
        model._base_manager.filter(pk=pk, **{name: secret}).update(**{name: secret.rotated()})
    return int(rows.count())


def _rotate_second_factors() -> int:
    """Encrypt the secrets anew that the sign-in library keeps inside a column."""
    count = 0
    for pk, data in Authenticator.objects.values_list("pk", "data").iterator(chunk_size=500):
        fresh = {name: Secret(data[name]).rotated().token for name in _SECOND_FACTORS if name in data}
        if fresh:
            Authenticator.objects.filter(pk=pk, data=data).update(data=data | fresh)
            count += 1
    return count


class Command(BaseCommand):
    """Encrypts every stored secret with the newest key. It may run beside the product, and more than once."""

    help = __doc__

    def handle(self, *args: Any, **options: Any) -> None:
        """Rotate all columns and say how many secrets there are."""
        count = _rotate_second_factors()
        for model in apps.get_models():
            for field in model._meta.concrete_fields:
                if isinstance(field, SecretField):
                    count += _rotate(model, field.attname)
        self.stdout.write(f"{count} secrets are encrypted with the newest key.")
