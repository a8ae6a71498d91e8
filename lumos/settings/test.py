"""Settings of the test suite; DATABASE_URL and REDIS_URL come from tests/services.py."""

import os

os.environ.setdefault("SECRET_KEY", "test-only")

from lumos.settings.base import *  # noqa: F403

ALLOWED_HOSTS = ["testserver", "127.0.0.1", "localhost"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
CELERY_TASK_ALWAYS_EAGER = True
CELERY_TASK_EAGER_PROPAGATES = True
WHITENOISE_USE_FINDERS = WHITENOISE_AUTOREFRESH = True

CLOUDFLARE_API_URL = "http://127.0.0.1:1"  # tests serve an imitation
