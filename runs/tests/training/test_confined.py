"""Real training under each confinement: from the first import to the last checkpoint."""

import pytest

from runs import checkpoints, metrics
from runs.tests.execution.engine import wait_for
from runs.tests.execution.test_confinement import each_confinement
from runs.tests.helpers import create_dataset
from runs.tests.strangers import STRANGER, open_directory, reaching, set_home
from runs.tests.training.conftest import PYTHON, ROWS, environment
from runs.tests.training.test_runs import LONG, launch


@pytest.fixture(autouse=True)
def data_dir(settings):
    with open_directory() as place:
        cache = place / "cache"
        cache.mkdir()
        cache.chmod(0o777)
        set_home(settings, place / "home")
        yield place / "home"


@each_confinement
def test_it_trains(engine, settings, data_dir, confined):
    settings.TUNIX_COMMAND, settings.TUNIX_PYTHON = "", str(PYTHON)
    create_dataset("arithmetic", "v2", ROWS)
    passed = environment(data_dir, data_dir.parent / "cache")
    passed = {name: value for name, value in passed.items() if name.startswith(("JAX_", "HF_"))}
    engine.dispatcher(
        before=reaching(PYTHON), TUNIX_COMMAND="", TUNIX_PYTHON=str(PYTHON), HF_HOME=str(data_dir.parent / "cache"),
        **passed, **confined,
    )  # fmt: skip
    run = wait_for(launch(num_epochs=1), seconds=LONG)
    assert run.status == "completed", run.stderr
    assert run.provenance["confinement"]["user"] == confined.get("TUNIX_RT_RUN_AS")
    assert len(metrics.read(run, ["train/loss"])["train/loss"]) == run.step == run.total_steps
    last = checkpoints.last(run)
    assert last.step == run.step
    if "TUNIX_RT_RUN_AS" in confined:
        assert (last.directory / last.path).stat().st_uid == STRANGER
