"""Settings of the product; everything that differs between installations comes from the environment."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dj_database_url

from lumos.logging import logging_config
from lumos.settings import env

BASE_DIR = Path(__file__).resolve().parents[2]
VAR_DIR = Path(env.text("VAR_DIR", str(BASE_DIR / "var")))

SECRET_KEY = env.text("SECRET_KEY")
SECRETS_KEYS = env.fernet_keys("SECRETS_KEYS")
# Former keys, which still open what they sealed and signed.
SECRET_KEY_FALLBACKS = env.words("SECRET_KEY_FALLBACKS")
DEBUG = env.flag("DEBUG", default=False)
PUBLIC_URL = env.text("PUBLIC_URL", "http://127.0.0.1:8000").rstrip("/")
GATEWAY_URL = env.text("GATEWAY_URL", "ws://127.0.0.1:8001/agent/v1")
# The CA that shields order certificates from (RFC 8555); “off” switches ordering off.
ACME_DIRECTORY_URL = env.text("ACME_DIRECTORY_URL", "https://acme-v02.api.letsencrypt.org/directory")
ACME_EMAIL = env.text("ACME_EMAIL", "")
ACME = None if ACME_DIRECTORY_URL == "off" else {"directory_url": ACME_DIRECTORY_URL, "email": ACME_EMAIL}
# What monitoring sends to /metrics as a bearer token; without one there are no metrics.
# The API of Cloudflare; empty: the real one.
CLOUDFLARE_API_URL = env.text("CLOUDFLARE_API_URL", "")
METRICS_TOKEN = env.text("METRICS_TOKEN", "")
# Whether shields at private addresses are probed from here, which lets whoever adds a server reach them.
PROBE_PRIVATE_ADDRESSES = env.flag("PROBE_PRIVATE_ADDRESSES", default=False)
# The resolvers that are asked about delegations; without any those of this machine.
DNS_RESOLVERS = env.addresses("DNS_RESOLVERS")
# Prepaid credits: one credit is one unit of this currency (ISO 4217). Without a Stripe key only operators give credits.
# Only currencies with a hundred cents: payments are made in whole ones.
BILLING_CURRENCY = env.choice("BILLING_CURRENCY", "eur", ("eur", "usd", "gbp", "chf", "cad", "aud", "sek", "nok"))
_STRIPE_KEY = env.text("STRIPE_SECRET_KEY", "")
STRIPE = (
    {
        "secret_key": _STRIPE_KEY,
        "webhook_secret": env.text("STRIPE_WEBHOOK_SECRET"),
        "api_url": env.text("STRIPE_API_URL", "https://api.stripe.com"),
    }
    if _STRIPE_KEY
    else None
)
# How many proxies in front of Lumos append the client's address to X-Forwarded-For.
TRUSTED_PROXIES = env.number("TRUSTED_PROXIES", 0)
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS", f"{urlsplit(PUBLIC_URL).hostname},127.0.0.1,localhost")
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL]
WHEEL_DIR = env.text("WHEEL_DIR", str(BASE_DIR / "dist"))
LUMOS_ROLE = env.choice("LUMOS_ROLE", "web", ("web", "gateway"))
_HTTPS = PUBLIC_URL.startswith("https://")

INSTALLED_APPS = [
    "daphne",
    "lumos.admin_config.OperatorAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "channels",
    "csp",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "lumos",
    "accounts",
    "servers",
    "domains",
    "waf",
    "notifications",
    "billing",
]

MIDDLEWARE = [
    "lumos.middleware.ClientAddressMiddleware",
    "lumos.middleware.UnavailableMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "allauth.usersessions.middleware.UserSessionsMiddleware",
    "accounts.middleware.TenantMiddleware",
    "billing.frozen.FrozenMiddleware",
    "accounts.limits.SignInLimits",
    "lumos.idempotency.IdempotencyMiddleware",
    "lumos.conditional.ConditionalMiddleware",
]

ROOT_URLCONF = "lumos.urls"
ASGI_APPLICATION = "lumos.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "lumos" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "accounts.context.tenant",
            ],
        },
    }
]

DATABASES: dict[str, Any] = {
    "default": dj_database_url.parse(
        env.text("DATABASE_URL", f"sqlite:///{VAR_DIR / 'lumos.sqlite3'}"), conn_max_age=60, conn_health_checks=True
    )
}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = env.text("REDIS_URL", "redis://127.0.0.1:6379/0")
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "lumos",
        "OPTIONS": {"socket_connect_timeout": 1, "socket_timeout": 2},
    }
}
LIMITS_PREFIX = "lumos:limit"
API_REQUESTS_PER_MINUTE = env.number("API_REQUESTS_PER_MINUTE", 3_000)
API_ACCOUNT_REQUESTS_PER_MINUTE = env.number("API_ACCOUNT_REQUESTS_PER_MINUTE", 12_000)
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [REDIS_URL], "prefix": "lumos"},
    }
}
CELERY_BROKER_URL = REDIS_URL
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 3600}
CELERY_TIMEZONE = "UTC"
# Receivers of notifications and origins may be slow: they have a worker of their own, with threads.
CELERY_TASK_ROUTES = {
    "domains.tasks.check_origin": {"queue": "deliveries"},
    "domains.tasks.check_signed_zone": {"queue": "deliveries"},
    "notifications.tasks.drain_channel": {"queue": "deliveries"},
    "notifications.tasks.ask_to_confirm": {"queue": "deliveries"},
}

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.BCryptSHA256PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "overview"
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*", "password2*"]
ACCOUNT_SIGNUP_FORM_CLASS = "accounts.forms.SignupDetails"
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_EMAIL_VERIFICATION = "mandatory"
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_EMAIL_NOTIFICATIONS = True
ACCOUNT_CHANGE_EMAIL = True
ACCOUNT_REAUTHENTICATION_REQUIRED = True
PASSWORD_RESET_TIMEOUT = 3600
# accounts/limits.py counts at these doors, atomically; what is left to the library is how often it sends a link.
ACCOUNT_RATE_LIMITS = dict.fromkeys(
    ("login", "login_failed", "signup", "reset_password", "reset_password_from_key", "reauthenticate",
     "change_password", "manage_email")
)  # fmt: skip
MFA_RATE_LIMITS = False
ACCOUNT_LOGOUT_ON_PASSWORD_CHANGE = False
ACCOUNT_SESSION_REMEMBER = None
USERSESSIONS_TRACK_ACTIVITY = True
# Sign-in with the operator's OpenID provider: the button is there once its issuer's URL is named.
OIDC_ISSUER = env.text("OIDC_ISSUER", "")
OIDC_NAME = env.text("OIDC_NAME", "single sign-on")
_OIDC = {
    "provider_id": "oidc",
    "name": OIDC_NAME,
    "client_id": env.text("OIDC_CLIENT_ID", None if OIDC_ISSUER else ""),
    "secret": env.text("OIDC_CLIENT_SECRET", None if OIDC_ISSUER else ""),
    "settings": {"server_url": OIDC_ISSUER, "oauth_pkce_enabled": True},
}
SOCIALACCOUNT_PROVIDERS = {"openid_connect": {"APPS": [_OIDC] if OIDC_ISSUER else []}}
# The provider vouches for addresses that it calls verified; a new person still gives a name for the account.
SOCIALACCOUNT_EMAIL_AUTHENTICATION = SOCIALACCOUNT_EMAIL_AUTHENTICATION_AUTO_CONNECT = True
SOCIALACCOUNT_AUTO_SIGNUP = False
# The policy for content allows forms to lead nowhere but here, so a link leads to the provider.
SOCIALACCOUNT_LOGIN_ON_GET = True
MFA_ADAPTER = "accounts.adapters.MfaAdapter"
MFA_TOTP_ISSUER = "Lumos"
MFA_TOTP_TOLERANCE = 1
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = not _HTTPS
EMAIL_BACKEND = env.text("EMAIL_BACKEND", "django.core.mail.backends.filebased.EmailBackend")
EMAIL_FILE_PATH = str(VAR_DIR / "mail")
EMAIL_HOST = env.text("EMAIL_HOST", "localhost")
EMAIL_PORT = env.number("EMAIL_PORT", 25)
EMAIL_HOST_USER = env.text("EMAIL_HOST_USER", "")
EMAIL_HOST_PASSWORD = env.text("EMAIL_HOST_PASSWORD", "")
EMAIL_USE_TLS = env.flag("EMAIL_USE_TLS", default=False)
EMAIL_TIMEOUT = 15
OPERATOR_EMAILS = env.words("OPERATOR_EMAILS")
DEFAULT_FROM_EMAIL = env.text("DEFAULT_FROM_EMAIL", "Lumos <lumos@localhost>")

SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _HTTPS
SESSION_COOKIE_NAME = "lumos_session"
CSRF_COOKIE_NAME = "lumos_csrf"
SESSION_COOKIE_AGE = 30 * 24 * 3600
SECURE_HSTS_SECONDS = 31_536_000 if _HTTPS else 0
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if _HTTPS else None
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "style-src-attr": ["'unsafe-inline'"],
        "img-src": ["'self'", "data:"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
}

USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
USE_I18N = False

STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = VAR_DIR / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
DATA_UPLOAD_MAX_MEMORY_SIZE = 8 * 1024 * 1024

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "accounts.authentication.ApiKeyAuthentication",
        "accounts.authentication.ActiveSessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["accounts.permissions.RolePermission", "billing.frozen.NotFrozen"],
    "DEFAULT_THROTTLE_CLASSES": ["accounts.throttles.ApiThrottle"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_PAGINATION_CLASS": "lumos.api.CursorPagination",
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_VERSIONING_CLASS": None,
    "EXCEPTION_HANDLER": "lumos.problems.problem_response",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Lumos API",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "DESCRIPTION": "Everything that the dashboard does. Authenticate with `Authorization: Bearer lmsk_…`.",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_NAME_OVERRIDES": {
        "ShieldStateEnum": "servers.models.ShieldState",
        "DnsProviderKindEnum": "domains.failover_models.ProviderKind",
        "FailoverModeEnum": "domains.failover_models.FailoverMode",
        "SnapshotStateEnum": "servers.models.SnapshotState",
        "NotificationKindEnum": "notifications.kinds.Kind",
        "RoutingStateEnum": "notifications.models.RoutingState",
        "ChannelKindEnum": "notifications.models.ChannelKind",
        "DeliveryStateEnum": "notifications.models.DeliveryState",
        "KindEnum": "waf.models.ListKind",
        "ScriptModeEnum": "waf.script_api.MODES",
        "ListKindEnum": "waf.models.ListKind",
        "TopUpStateEnum": "billing.models.TopUpState",
        "BookingKindEnum": "billing.models.BOOKINGS",
    },
    "DEFAULT_GENERATOR_CLASS": "lumos.openapi.Generator",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "lumos.openapi.add_components",
        "lumos.openapi.add_doors",
    ],
}

LOGGING = logging_config(env.text("LUMOS_LOG_LEVEL", "INFO"))
