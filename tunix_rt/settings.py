"""All settings, all from the environment. A setting that is missing or wrong stops the start with a sentence.

The table of variables is in docs/operations.md.
"""

from pathlib import Path

import environ
from csp.constants import NONE, SELF, UNSAFE_INLINE
from django.core.exceptions import ImproperlyConfigured

env = environ.Env()
BASE_DIR = Path(__file__).resolve().parent.parent


def one_of(name: str, allowed: tuple[str, ...], default: str) -> str:
    value = env.str(name, default)
    if value not in allowed:
        raise ImproperlyConfigured(f"{name} must be one of {', '.join(allowed)}, not {value!r}.")
    return value


def positive(name: str, default: int) -> int:
    try:
        value = env.int(name, default)
    except ValueError:
        value = 0
    if value < 1:
        raise ImproperlyConfigured(f"{name} must be a whole number of 1 or more, not {env.str(name)!r}.")
    return value


# --- where things are -------------------------------------------------------------------------------------------------

TUNIX_RT_HOME = Path(env.str("TUNIX_RT_HOME", str(BASE_DIR / "var"))).resolve()
DATASETS_DIR = TUNIX_RT_HOME / "datasets"
RUNS_DIR = TUNIX_RT_HOME / "runs"
UNRECORDED_DIR = TUNIX_RT_HOME / "unrecorded"
# An upload's temporary file lies on the disk that it will stay on, not in a small /tmp.
FILE_UPLOAD_TEMP_DIR = TUNIX_RT_HOME / "tmp"
try:
    FILE_UPLOAD_TEMP_DIR.mkdir(parents=True, exist_ok=True)
except OSError as error:
    raise ImproperlyConfigured(f"TUNIX_RT_HOME={TUNIX_RT_HOME} cannot be written to: {error.strerror}.") from error

# --- who may come in --------------------------------------------------------------------------------------------------

LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]", "::1")
TUNIX_RT_AUTH = one_of("TUNIX_RT_AUTH", ("required", "open"), "required")
DEBUG = env.bool("DEBUG", False)
SECRET_KEY = env.str("TUNIX_RT_SECRET_KEY", "")
if not SECRET_KEY:
    raise ImproperlyConfigured("TUNIX_RT_SECRET_KEY is not set. `make run` makes one; see docs/operations.md.")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])

# --- what runs may do -------------------------------------------------------------------------------------------------

TUNIX_PYTHON = env.str("TUNIX_PYTHON", str(BASE_DIR / ".venv-tunix" / "bin" / "python"))
TUNIX_COMMAND = env.str("TUNIX_COMMAND", "")
DEFAULT_TIMEOUT_SECONDS = positive("TUNIX_RT_DEFAULT_TIMEOUT_SECONDS", 24 * 3600)
SLOTS = positive("TUNIX_RT_SLOTS", 1)
# A supervisor says every few seconds that it lives; silent for a lease, its run is lost. At least six heartbeats long.
HEARTBEAT_SECONDS = positive("TUNIX_RT_HEARTBEAT_SECONDS", 5)
LEASE_SECONDS = positive("TUNIX_RT_LEASE_SECONDS", 60)
if LEASE_SECONDS < 6 * HEARTBEAT_SECONDS:
    raise ImproperlyConfigured("TUNIX_RT_LEASE_SECONDS must be at least 6 times TUNIX_RT_HEARTBEAT_SECONDS.")
# Between the polite signal and the last one: a trainer saves its checkpoint, and XLA delays Python's handlers.
GRACE_SECONDS = positive("TUNIX_RT_GRACE_SECONDS", 30)
MAX_UPLOAD_BYTES = positive("TUNIX_RT_MAX_UPLOAD_BYTES", 20 * 1024**3)

# --- database ---------------------------------------------------------------------------------------------------------

DATABASE_URL = env.str("DATABASE_URL", "") or f"sqlite:///{TUNIX_RT_HOME / 'tunix-rt.sqlite3'}"
DATABASES = {"default": env.db_url_config(DATABASE_URL)}
if DATABASES["default"].get("ENGINE") == "django.db.backends.sqlite3":
    # WAL lets readers and one writer work at once; IMMEDIATE makes writers queue instead of failing half-way.
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 5,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
elif DATABASES["default"].get("ENGINE") == "django.db.backends.postgresql":
    # One connection a thread, kept: a fresh one costs 10 ms. It fails at once when the server refuses, where a pool
    # waits for its time-out first (docs/adr/0003).
    DATABASES["default"] |= {"CONN_MAX_AGE": 600, "CONN_HEALTH_CHECKS": True}
    DATABASES["default"].setdefault("OPTIONS", {}).setdefault("connect_timeout", 3)
else:
    raise ImproperlyConfigured("DATABASE_URL must begin with sqlite: or postgres:.")
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Django -----------------------------------------------------------------------------------------------------------

ROOT_URLCONF = "tunix_rt.urls"
WSGI_APPLICATION = "tunix_rt.wsgi.application"
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "csp",
    "django_filters",
    "django_htmx",
    "template_partials",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "runs",
]
MIDDLEWARE = [
    "tunix_rt.middleware.request_seconds",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "tunix_rt.middleware.api_without_trailing_slash",
    "tunix_rt.middleware.same_origin_writes",
    "tunix_rt.middleware.database_away",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]
MIDDLEWARE.append(
    "django.contrib.auth.middleware.LoginRequiredMiddleware"
    if TUNIX_RT_AUTH == "required"
    else "tunix_rt.middleware.open_mode_user"
)
CSRF_FAILURE_VIEW = "tunix_rt.errors.csrf_failure"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "overview"
LOGOUT_REDIRECT_URL = "login"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "runs.context_processors.shell",
            ],
        },
    }
]
# Messages live in a cookie: saying "deleted" must not cost a session row.
MESSAGE_STORAGE = "django.contrib.messages.storage.cookie.CookieStorage"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-gb"
USE_I18N = False

STATIC_URL = "/static/"
STATIC_ROOT = TUNIX_RT_HOME / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {"staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"}}

X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "img-src": [SELF, "data:"],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "object-src": [NONE],
    }
}
# Swagger UI and DRF's browsable API make styles in their scripts; those scripts are files, as ours are.
CSP_WITH_INLINE_STYLES = {"style-src": [SELF, UNSAFE_INLINE]}

LOGIN = TUNIX_RT_AUTH == "required"
PERMISSIONS = ["rest_framework.permissions.IsAuthenticated" if LOGIN else "rest_framework.permissions.AllowAny"]
REST_FRAMEWORK = {
    "DEFAULT_RENDERER_CLASSES": ["runs.api.renderers.JSONRenderer", "runs.api.renderers.BrowsableAPIRenderer"],
    "DEFAULT_PARSER_CLASSES": ["runs.api.parsers.JSONParser"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "runs.api.renderers.Negotiation",
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.SessionAuthentication"] if LOGIN else [],
    "DEFAULT_PERMISSION_CLASSES": PERMISSIONS,
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser" if LOGIN else None,
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "runs.api.exceptions.handler",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "tunix-rt",
    "DESCRIPTION": "A registry and launcher for training runs of Google's Tunix.",
    "VERSION": "0.1.0",
    "SCHEMA_PATH_PREFIX": "/api",
    "SERVE_PERMISSIONS": PERMISSIONS,
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_NAME_OVERRIDES": {"RunStatus": "runs.models.TunixRun.Status", "RunMode": "runs.models.TunixRun.Mode"},
}

# A line is for people, JSON for what collects logs; either way `run_id` says which run it is about.
LOG_FORMAT = one_of("LOG_FORMAT", ("line", "json"), "line")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"run_id": {"()": "runs.process_log.RunId"}},
    "formatters": {
        "line": {"format": "{asctime} {levelname} {name} {message}", "style": "{"},
        "json": {
            "()": "pythonjsonlogger.json.JsonFormatter",
            "format": "{asctime} {levelname} {name} {message} {run_id}",
            "style": "{",
            "rename_fields": {"asctime": "time", "levelname": "level", "name": "logger"},
        },
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT, "filters": ["run_id"]}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {"runs": {"level": env.str("LOG_LEVEL", "INFO")}},
}
