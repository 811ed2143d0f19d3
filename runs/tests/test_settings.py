"""Settings come from the environment. One that is missing or wrong stops the start with a sentence that names it."""

import os
import subprocess
import sys

import pytest
from django.conf import settings
from django.contrib import admin
from django.core import checks

from runs.models import TunixRun
from runs.tests.server import environment_of, unprivileged


def start(home, *, before=(), **environment):
    """`manage.py check` in its own process, with these changes of the environment; None takes one away."""
    values = {name: value for name, value in (environment_of(home) | environment).items() if value is not None}
    command = [*before, sys.executable, "manage.py", "check"]
    return subprocess.run(command, cwd=settings.BASE_DIR, env=values, capture_output=True, text=True, check=False)


def test_it_works(tmp_path):
    done = start(tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "System check identified no issues (0 silenced).\n"


WRONG = [
    ({"ALLOWED_HOSTS": "*"}, "TUNIX_RT_AUTH=open answers loopback names only, not ALLOWED_HOSTS=*."),
    ({"ALLOWED_HOSTS": "localhost,forge.example"}, "loopback names only, not ALLOWED_HOSTS=forge.example."),
    ({"TUNIX_RT_PROXIES": "-1"}, "TUNIX_RT_PROXIES must be a whole number of 0 or more, not '-1'."),
    ({"TUNIX_RT_SECRET_KEY": None}, "TUNIX_RT_SECRET_KEY is not set."),
    ({"TUNIX_RT_SECRET_KEY": ""}, "TUNIX_RT_SECRET_KEY is not set."),
    ({"TUNIX_RT_AUTH": "none"}, "TUNIX_RT_AUTH must be one of required, open, not 'none'."),
    ({"TUNIX_RT_AUTH": ""}, "TUNIX_RT_AUTH must be one of required, open, not ''."),
    ({"DATABASE_URL": "mysql://localhost/x"}, "DATABASE_URL must begin with sqlite: or postgres:."),
    ({"DATABASE_URL": "nonsense"}, "DATABASE_URL must begin with sqlite: or postgres:."),
    ({"TUNIX_RT_DEFAULT_TIMEOUT_SECONDS": "0"}, "TUNIX_RT_DEFAULT_TIMEOUT_SECONDS must be a whole number of 1 or more"),
    (
        {"TUNIX_RT_MAX_UPLOAD_BYTES": "20 GB"},
        "TUNIX_RT_MAX_UPLOAD_BYTES must be a whole number of 1 or more, not '20 GB'.",
    ),
]


@pytest.mark.parametrize(("change", "sentence"), WRONG)
def test_what_is_wrong_is_named(tmp_path, change, sentence):
    done = start(tmp_path, **change)
    assert done.returncode != 0
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_a_home_that_cannot_be_written_to_is_named(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    done = start(tmp_path, before=unprivileged(), TUNIX_RT_HOME=str(closed / "home"))
    assert done.returncode != 0
    assert f"TUNIX_RT_HOME={closed / 'home'} cannot be written to: Permission denied." in done.stderr


@pytest.mark.parametrize("given", [None, ""])
def test_without_a_database_url_it_is_a_file_in_the_home(tmp_path, given):
    done = start(tmp_path, DATABASE_URL=given)
    assert done.returncode == 0, done.stderr
    ask = [sys.executable, "-c", "from tunix_rt import settings as s; print(s.DATABASES['default']['NAME'])"]
    environment = {name: value for name, value in environment_of(tmp_path).items() if name != "DATABASE_URL"}
    answer = subprocess.run(ask, cwd=settings.BASE_DIR, env=environment, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == str(tmp_path.resolve() / "tunix-rt.sqlite3")


def test_login_is_required_unless_told_otherwise(tmp_path):
    ask = [sys.executable, "-c", "from tunix_rt import settings as s; print(s.TUNIX_RT_AUTH)"]
    environment = {name: value for name, value in environment_of(tmp_path).items() if name != "TUNIX_RT_AUTH"}
    answer = subprocess.run(ask, cwd=settings.BASE_DIR, env=environment, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "required"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.1", ""])
def test_open_mode_serves_loopback_only(tmp_path, host):
    command = [sys.executable, "-m", "gunicorn", "-c", "tunix_rt/gunicorn.conf.py", "--check-config"]
    environment = environment_of(tmp_path, HOST=host)
    done = subprocess.run(command, cwd=settings.BASE_DIR, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert f"TUNIX_RT_AUTH=open serves loopback only, not HOST={host}." in done.stderr


def test_a_deployment_check_says_nothing(tmp_path):
    environment = environment_of(tmp_path, TUNIX_RT_AUTH="required", TUNIX_RT_SECRET_KEY=os.urandom(50).hex())
    command = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"]
    done = subprocess.run(command, cwd=settings.BASE_DIR, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # The redirect to HTTPS is the proxy's.
    assert done.stdout == "System check identified no issues (1 silenced).\n" and done.stderr == ""


def test_the_admins_pages_pass_its_checks_though_they_are_found_late():
    """`manage.py check` may ask before the addresses are there, and would then have nothing to check."""
    admin.autodiscover()
    assert admin.site.is_registered(TunixRun)
    assert checks.run_checks(tags=[checks.Tags.admin]) == []


def test_a_process_without_pages_does_not_load_them(tmp_path):
    """They are a fifth of what it takes to start a command."""
    code = "import sys, django; django.setup(); print([each for each in sys.modules if each == 'runs.admin'])"
    environment = environment_of(tmp_path) | {"DJANGO_SETTINGS_MODULE": "tunix_rt.settings"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=settings.BASE_DIR, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
