"""Real training: the trainer's own environment, which must be there."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from django.conf import settings as project

from runs.tests.helpers import create_dataset
from runs.tests.training import hub_configs

PYTHON = project.BASE_DIR / ".venv-tunix" / "bin" / "python"
TRAINER = project.BASE_DIR / "runs" / "trainer"
ROWS = (project.BASE_DIR / "examples" / "arithmetic-v2.jsonl").read_bytes()
HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.tunix)


@pytest.fixture(scope="session", autouse=True)
def tunix_is_installed():
    assert PYTHON.exists(), "Tunix is not installed: make tunix"


@pytest.fixture(scope="session")
def compiled(tmp_path_factory):
    """What JAX compiled for one test, others find: also those of another worker."""
    parent = tmp_path_factory.getbasetemp()
    directory = (parent.parent if "PYTEST_XDIST_WORKER" in os.environ else parent) / "compiled"
    directory.mkdir(exist_ok=True)
    return directory


def environment(run_dir: Path, compiled: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME")}
    return kept | {
        "TUNIX_RT_RUN_DIR": str(run_dir),
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(compiled),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "HF_HUB_OFFLINE": "1",
    }


@pytest.fixture
def python(tmp_path, compiled):
    """Run a program under the trainer's interpreter, in a directory of the test's own; its output is text."""

    def run(*arguments) -> subprocess.CompletedProcess[str]:
        command = [PYTHON, *arguments]
        env = environment(tmp_path, compiled)
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=False, cwd=tmp_path)

    return run


def refusal(python, manifest: Path) -> str:
    """The last line that is printed, of what the trainer refuses."""
    done = python(TRAINER, manifest)
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


@pytest.fixture(scope="session")
def make_model(tmp_path_factory):
    """The directory of a small model as the hub has it: of a type, `stored` in a type, made once."""

    def make(kind, stored="float32", **changes) -> Path:
        directory = parent / "-".join(map(str, (kind, stored, *changes.values())))
        if not directory.exists():
            write_config(directory, hub_configs.OF_TYPE[kind] | changes)
            subprocess.run([PYTHON, HERE / "make_model.py", stored, directory], check=True, timeout=120)
        return directory

    parent = tmp_path_factory.mktemp("models")
    return make


def write_config(directory: Path, config: dict) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(config, indent=2))
    return directory


@pytest.fixture
def training(engine, settings, compiled, monkeypatch):
    """The engine with the default command, which trains with Tunix, on the example dataset `arithmetic-v2`."""
    settings.TUNIX_COMMAND, settings.TUNIX_PYTHON = "", str(PYTHON)
    for name, value in environment(Path(), compiled).items():
        if name.startswith(("JAX_", "HF_")):
            monkeypatch.setenv(name, value)  # passed on by the dispatcher
    create_dataset("arithmetic", "v2", ROWS)
    engine.dispatcher(
        TUNIX_COMMAND="", TUNIX_PYTHON=str(PYTHON), TUNIX_RT_GRACE_SECONDS="30", TUNIX_RT_HEARTBEAT_SECONDS="1"
    )
    return engine
