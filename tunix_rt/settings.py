"""All settings, all from the environment. A setting that is missing or wrong stops the start with a sentence.

The table of variables is in docs/operations.md.
"""

import os
from datetime import timedelta
from pathlib import Path

import environ
from csp.constants import NONE, SELF, UNSAFE_INLINE
from django.core.exceptions import ImproperlyConfigured

from tunix_rt import prefix, private

env = environ.Env()
BASE_DIR = Path(__file__).resolve().parent.parent


def one_of(name: str, allowed: tuple[str, ...], default: str) -> str:
    value = env.str(name, default)
    if value not in allowed:
        raise ImproperlyConfigured(f"{name} must be one of {', '.join(allowed)}, not {value!r}.")
    return value


def whole(name: str, default: int, *, minimum: int = 1) -> int:
    try:
        value = env.int(name, default)
    except ValueError:
        value = minimum - 1
    if value < minimum:
        raise ImproperlyConfigured(f"{name} must be a whole number of {minimum} or more, not {env.str(name)!r}.")
    return value


def paths(name: str) -> list[str]:
    found = [path for path in env.str(name, "").split(os.pathsep) if path]
    if wrong := [path for path in found if not path.startswith("/")]:
        raise ImproperlyConfigured(f"{name} must be absolute paths with colons between them, not {wrong[0]!r}.")
    return found


# --- where things are -------------------------------------------------------------------------------------------------

TUNIX_RT_HOME = Path(env.str("TUNIX_RT_HOME", str(BASE_DIR / "var"))).resolve()
DATASETS_DIR = TUNIX_RT_HOME / "datasets"
RUNS_DIR = TUNIX_RT_HOME / "runs"
UNRECORDED_DIR = TUNIX_RT_HOME / "unrecorded"
# An upload's temporary file lies on the disk that it will stay on, not in a small /tmp.
FILE_UPLOAD_TEMP_DIR = TUNIX_RT_HOME / "tmp"
# Every process of ours reads this file, whatever started it. A trainer is no process of ours: it gets back the umask
# that the first of us was started with, as what it writes elsewhere, a cache that is shared, is its user's business.
os.environ.setdefault("TUNIX_RT_TRAINER_UMASK", f"{private.set_umask(TUNIX_RT_HOME):04o}")
try:
    TRAINER_UMASK = int(env.str("TUNIX_RT_TRAINER_UMASK"), 8)
except ValueError:
    TRAINER_UMASK = -1
if not 0 <= TRAINER_UMASK <= 0o777:
    raise ImproperlyConfigured("TUNIX_RT_TRAINER_UMASK must be an octal number such as 022.")
try:
    FILE_UPLOAD_TEMP_DIR.mkdir(parents=True, exist_ok=True)
except OSError as error:
    raise ImproperlyConfigured(f"TUNIX_RT_HOME={TUNIX_RT_HOME} cannot be written to: {error.strerror}.") from error
private.close_home(TUNIX_RT_HOME)

# --- who may come in --------------------------------------------------------------------------------------------------

LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]", "::1")
TUNIX_RT_AUTH = one_of("TUNIX_RT_AUTH", ("required", "open"), "required")
DEBUG = env.bool("DEBUG", False)
SECRET_KEY = env.str("TUNIX_RT_SECRET_KEY", "")
if not SECRET_KEY:
    raise ImproperlyConfigured("TUNIX_RT_SECRET_KEY is not set. `make run` makes one; see docs/operations.md.")
# Whether operators change their own runs only. Everybody sees every run all the same.
OWN_RUNS_ONLY = env.bool("TUNIX_RT_OWN_RUNS_ONLY", False)
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
if TUNIX_RT_AUTH == "open" and (other := [host for host in ALLOWED_HOSTS if host not in LOOPBACK_HOSTS]):
    raise ImproperlyConfigured(f"TUNIX_RT_AUTH=open answers loopback names only, not ALLOWED_HOSTS={','.join(other)}.")
# How many reverse proxies of our own stand before this server. What they say of the client is believed; without any,
# everybody could say it.
PROXIES = whole("TUNIX_RT_PROXIES", 0, minimum=0)
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
# Every address that is given out begins with it, whatever a client says of SCRIPT_NAME.
PREFIX = prefix.checked(env.str("TUNIX_RT_PREFIX", ""))
FORCE_SCRIPT_NAME = PREFIX or None

# --- what runs may do -------------------------------------------------------------------------------------------------

# Where scripts/install_tunix.py installs, and whose Python trains unless another one is named.
TUNIX_VENV = BASE_DIR / ".venv-tunix"
TUNIX_PYTHON = env.str("TUNIX_PYTHON", "") or str(TUNIX_VENV / "bin" / "python")
TUNIX_COMMAND = env.str("TUNIX_COMMAND", "")
# What of the machine a trainer is left, and as which Unix user it runs.
CONFINE = one_of("TUNIX_RT_CONFINE", ("auto", "landlock", "off"), "auto")
RUN_AS = env.str("TUNIX_RT_RUN_AS", "")
TRAINER_READS = paths("TUNIX_RT_TRAINER_READS")
TRAINER_WRITES = paths("TUNIX_RT_TRAINER_WRITES")
DEFAULT_TIMEOUT_SECONDS = whole("TUNIX_RT_DEFAULT_TIMEOUT_SECONDS", 24 * 3600)
SLOTS = whole("TUNIX_RT_SLOTS", 1)
# A supervisor says every few seconds that it lives; silent for a lease, its run is lost. At least six heartbeats long.
HEARTBEAT_SECONDS = whole("TUNIX_RT_HEARTBEAT_SECONDS", 5)
LEASE_SECONDS = whole("TUNIX_RT_LEASE_SECONDS", 60)
if LEASE_SECONDS < 6 * HEARTBEAT_SECONDS:
    raise ImproperlyConfigured("TUNIX_RT_LEASE_SECONDS must be at least 6 times TUNIX_RT_HEARTBEAT_SECONDS.")
# Between the polite signal and the last one: a trainer saves its checkpoint, and XLA delays Python's handlers.
GRACE_SECONDS = whole("TUNIX_RT_GRACE_SECONDS", 30)
MAX_UPLOAD_BYTES = whole("TUNIX_RT_MAX_UPLOAD_BYTES", 20 * 1024**3)
MAX_UPLOAD_ROWS = whole("TUNIX_RT_MAX_UPLOAD_ROWS", 100_000_000)
# So much stays free on the disk for logs, checkpoints and the database of what runs already.
MIN_FREE_BYTES = whole("TUNIX_RT_MIN_FREE_BYTES", 256 * 1024**2, minimum=0)
# Of one user; 0 is without a limit. Whoever works alone on his own machine limits himself.
LAUNCHES_PER_MINUTE = whole("TUNIX_RT_LAUNCHES_PER_MINUTE", 0 if TUNIX_RT_AUTH == "open" else 120, minimum=0)

# --- database ---------------------------------------------------------------------------------------------------------

DATABASE_URL = env.str("DATABASE_URL", "") or f"sqlite:///{TUNIX_RT_HOME / 'tunix-rt.sqlite3'}"
# One connection a thread, kept: a fresh one costs 10 ms on PostgreSQL, and on SQLite half as much as what is asked. It
# fails at once when the server refuses, where a pool waits for its time-out first (docs/adr/0003).
DATABASES = {"default": env.db_url_config(DATABASE_URL) | {"CONN_MAX_AGE": 600, "CONN_HEALTH_CHECKS": True}}
if DATABASES["default"].get("ENGINE") == "django.db.backends.sqlite3":
    # WAL lets readers and one writer work at once; IMMEDIATE makes writers queue instead of failing half-way.
    private.close_database(Path(DATABASES["default"]["NAME"]), TUNIX_RT_HOME)
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 5,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
elif DATABASES["default"].get("ENGINE") == "django.db.backends.postgresql":
    # A process that stands still in a transaction, as a supervisor that is stopped may, would hold the row of its run,
    # and with it the dispatcher, which is to find that its lease has run out.
    standing_still = f"-c idle_in_transaction_session_timeout={LEASE_SECONDS * 500}"
    DATABASES["default"]["OPTIONS"] = {"connect_timeout": 3, "options": standing_still} | DATABASES["default"].get(
        "OPTIONS", {}
    )
else:
    raise ImproperlyConfigured("DATABASE_URL must begin with sqlite: or postgres:.")
# Migrations that are taken back drop what older tables have no place for: not without being told.
ALLOW_DATA_LOSS = env.bool("TUNIX_RT_ALLOW_DATA_LOSS", False)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Django -----------------------------------------------------------------------------------------------------------

ROOT_URLCONF = "tunix_rt.urls"
WSGI_APPLICATION = "tunix_rt.wsgi.application"
INSTALLED_APPS = [
    "django.contrib.admin.apps.SimpleAdminConfig",
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
    "knox",
    "axes",
    "runs",
]
MIDDLEWARE = [
    "tunix_rt.middleware.request_seconds",
    "tunix_rt.middleware.loopback_cookies",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "tunix_rt.middleware.api_without_trailing_slash",
    "tunix_rt.middleware.same_origin_writes",
    "tunix_rt.middleware.bounded_body",
    "tunix_rt.middleware.database_away",
    "tunix_rt.middleware.refusals",
    "tunix_rt.middleware.database_file_replaced",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "tunix_rt.middleware.who_acts",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]
MIDDLEWARE += (
    [
        "tunix_rt.middleware.LoginRequired",
        "tunix_rt.middleware.pages_by_role",
    ]
    if TUNIX_RT_AUTH == "required"
    else ["tunix_rt.middleware.open_mode_user"]
)
MIDDLEWARE.append("axes.middleware.AxesMiddleware")
# Failed logins are counted in the database, for all workers: by account and by address, each for itself.
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AXES_LOCKOUT_PARAMETERS = ["username", "ip_address"]
AXES_FAILURE_LIMIT = 10
AXES_COOLOFF_TIME = timedelta(minutes=10)
AXES_RESET_ON_SUCCESS = True
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_CLIENT_IP_CALLABLE = "runs.access.address_of"
AXES_LOCKOUT_CALLABLE = "tunix_rt.errors.too_many_logins"
AXES_DISABLE_ACCESS_LOG = True
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False
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

STATIC_URL = f"{PREFIX}/static/"
STATIC_ROOT = TUNIX_RT_HOME / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {"staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"}}

X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
# Cookies go over HTTPS only, except to this very machine: see tunix_rt.middleware.loopback_cookies.
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
SESSION_COOKIE_PATH = CSRF_COOKIE_PATH = PREFIX or "/"
# Browsers are told to come by HTTPS from now on; Django says it over HTTPS only. What sends plain HTTP there is the
# proxy that ends TLS, so that we need not redirect (W008).
SECURE_HSTS_SECONDS = 365 * 24 * 3600
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = True
SILENCED_SYSTEM_CHECKS = ["security.W008"]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if PROXIES else None
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
PERMISSIONS = ["runs.api.permissions.ByRole" if LOGIN else "rest_framework.permissions.AllowAny"]
AUTHENTICATION = [
    "runs.api.authentication.TokenAuthentication",
    "rest_framework.authentication.SessionAuthentication",
]
KNOX_TOKEN_MODEL = "runs.ApiToken"
# The library's migrations make the table of its own model, which nothing uses and a flush of the database would miss.
MIGRATION_MODULES = {"knox": None}
# The prefix is for those who look for secrets in what was committed by mistake.
REST_KNOX = {"AUTH_HEADER_PREFIX": "Bearer", "TOKEN_PREFIX": "trt_"}
REST_FRAMEWORK = {
    "DEFAULT_RENDERER_CLASSES": ["runs.api.renderers.JSONRenderer", "runs.api.renderers.BrowsableAPIRenderer"],
    "DEFAULT_PARSER_CLASSES": ["runs.api.parsers.JSONParser"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "runs.api.renderers.Negotiation",
    "DEFAULT_AUTHENTICATION_CLASSES": AUTHENTICATION if LOGIN else [],
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
    "SERVERS": [{"url": PREFIX}] if PREFIX else [],
    "SERVE_PERMISSIONS": PERMISSIONS,
    "SERVE_AUTHENTICATION": AUTHENTICATION if LOGIN else [],
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
    "filters": {"run_id": {"()": "runs.process_log.RunId"}, "refusals": {"()": "runs.process_log.Refusals"}},
    "formatters": {
        "line": {"format": "{asctime} {levelname} {name} {message}", "style": "{"},
        "json": {
            "()": "pythonjsonlogger.json.JsonFormatter",
            "format": "{asctime} {levelname} {name} {message} {run_id}",
            "style": "{",
            "rename_fields": {"asctime": "time", "levelname": "level", "name": "logger"},
        },
    },
    "handlers": {
        "stderr": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT, "filters": ["run_id", "refusals"]}
    },
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {"runs": {"level": env.str("LOG_LEVEL", "INFO")}},
}
