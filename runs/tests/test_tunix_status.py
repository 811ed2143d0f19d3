"""GET /api/tunix/status: is Tunix there? TUNIX_PYTHON is a real program in every test."""

import sys

import pytest

from runs import tunix
from runs.tests.helpers import LAUNCH, assert_error, executable, launch


def status(api):
    answer = api.get("/api/tunix/status")
    assert answer.status_code == 200
    return answer.json()


def test_not_installed(api, settings):
    settings.TUNIX_PYTHON = "/nowhere/bin/python"
    assert status(api) == {
        "available": False,
        "version": None,
        "runtime_required": False,
        "message": "Tunix is not installed: install it with `make tunix`",
        "installing": None,
    }


def test_it_works(api, settings, tmp_path):
    settings.TUNIX_PYTHON = str(executable(tmp_path / "python", "echo 0.1.3"))
    assert status(api) == {
        "available": True,
        "version": "0.1.3",
        "runtime_required": False,
        "message": "Tunix 0.1.3 is available",
        "installing": None,
    }


def test_a_python_without_google_tunix(api, settings):
    settings.TUNIX_PYTHON = sys.executable
    body = status(api)
    assert (body["available"], body["version"]) == (False, None)
    assert body["message"] == f"{sys.executable} has no google-tunix: install it with `make tunix`"


def test_a_python_that_cannot_be_started(api, settings, tmp_path):
    broken = executable(tmp_path / "python", "")
    broken.write_bytes(b"\x7fELF nonsense")
    settings.TUNIX_PYTHON = str(broken)
    body = status(api)
    assert body["available"] is False
    assert body["message"] == f"{broken} cannot be started: Exec format error"


def test_a_python_that_is_a_directory(api, settings, tmp_path):
    settings.TUNIX_PYTHON = str(tmp_path)
    assert status(api)["message"] == f"{tmp_path} cannot be started: Permission denied"


def test_a_python_that_never_answers(api, settings, tmp_path, monkeypatch):
    monkeypatch.setattr(tunix, "ASK_SECONDS", 0.2)
    settings.TUNIX_PYTHON = str(executable(tmp_path / "python", "exec sleep 60"))
    body = status(api)
    assert body["available"] is False
    assert "did not say within" in body["message"]


@pytest.mark.parametrize("command", ["{python} train.py", f"{sys.executable} train.py {{manifest}}", "sh -c 'exit 0'"])
def test_a_command_of_ones_own_needs_no_tunix(api, settings, command):
    settings.TUNIX_COMMAND, settings.TUNIX_PYTHON = command, sys.executable
    body = status(api)
    assert (body["available"], body["version"]) == (True, None)


@pytest.mark.parametrize("command", ["no-such-program-here --x", "/nowhere/train", "''", "{python} x"])
def test_a_command_whose_program_cannot_be_found(api, settings, command):
    settings.TUNIX_COMMAND, settings.TUNIX_PYTHON = command, "/nowhere/python"
    body = status(api)
    assert body["available"] is False
    assert "cannot be found" in body["message"]


def test_a_command_that_is_no_command_line(api, settings):
    settings.TUNIX_COMMAND = "sh -c 'unfinished"
    assert status(api)["message"] == "TUNIX_COMMAND cannot be split into arguments: No closing quotation"


def test_the_machine_is_asked_once_for_many_requests(api, settings, tmp_path):
    asked = tmp_path / "asked"
    settings.TUNIX_PYTHON = str(executable(tmp_path / "python", f"echo x >> {asked}; echo 1.0"))
    for _ in range(5):
        assert status(api)["version"] == "1.0"
    assert len(asked.read_text().split()) <= 2  # 30 seconds may end in between


@pytest.mark.django_db
def test_a_dry_run_only_warns(api, settings, dataset, tmp_path):
    assert "warning Tunix is not installed" in launch(api)["stdout"]
    settings.TUNIX_PYTHON = str(executable(tmp_path / "python", "echo 0.1.3"))
    assert "ok      Tunix 0.1.3 is available" in launch(api)["stdout"]


@pytest.mark.django_db
def test_a_local_run_is_refused_with_the_command_that_installs(api, settings):
    settings.TUNIX_PYTHON = sys.executable
    assert "`make tunix`" in assert_error(api.post("/api/tunix/run", LAUNCH | {"dry_run": False}), 501)["detail"]


def test_an_unknown_query_parameter_is_refused(api):
    assert_error(api.get("/api/tunix/status?x=1"), 422)
