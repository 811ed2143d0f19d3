"""The environment of the tests, set before anything loads Django's settings.

The database is DATABASE_URL's; without one, a file of SQLite's. Nothing else of a developer's environment reaches a test.
pyproject.toml must not name DJANGO_SETTINGS_MODULE for pytest: the settings would be read before this file.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

HOME = Path(tempfile.mkdtemp(prefix="tunix-rt-tests-")).resolve()
atexit.register(shutil.rmtree, HOME, ignore_errors=True)
# A server that runs as nobody, in test_database_away.py, reads below it.
HOME.chmod(0o755)
(HOME / "static").mkdir()  # whitenoise warns of every client without it

OURS = ("DEBUG", "ALLOWED_HOSTS", "CSRF_TRUSTED_ORIGINS", "HOST", "PORT", "LOG_LEVEL", "WEB_CONCURRENCY")
for name in [name for name in os.environ if name in OURS or name.startswith("TUNIX_")]:
    del os.environ[name]
os.environ |= {
    "DJANGO_SETTINGS_MODULE": "tunix_rt.settings",
    "TUNIX_RT_SECRET_KEY": "of-the-tests",
    "TUNIX_RT_AUTH": "open",
    "TUNIX_RT_HOME": str(HOME),
    "TUNIX_PYTHON": str(HOME / "no-tunix" / "bin" / "python"),
}

import django  # noqa: E402
from django.conf import settings  # noqa: E402

if settings.TUNIX_RT_HOME != HOME:
    raise SystemExit(f"Django's settings were read before {__file__}, with {settings.TUNIX_RT_HOME} for a home.")
# In memory, SQLite would know neither threads nor WAL.
if settings.DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    settings.DATABASES["default"]["TEST"] = {"NAME": str(HOME / "test.sqlite3")}
else:
    # Which nobody is connected to: two workers make their databases at the same moment.
    settings.DATABASES["default"]["TEST"] = {"TEMPLATE": "template0"}
# The manifest's storage finds no file before collectstatic.
settings.STORAGES["staticfiles"]["BACKEND"] = "django.contrib.staticfiles.storage.StaticFilesStorage"
django.setup()
# The processes that share the tests read this file too, each for a home of its own.
del os.environ["DJANGO_SETTINGS_MODULE"]
