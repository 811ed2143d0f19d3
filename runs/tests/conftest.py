"""What every test has: a data directory of its own, and a client."""

import hypothesis
import pytest
from rest_framework.test import APIClient

from runs import tunix
from runs.datasets import store
from runs.tests import helpers
from runs.tests.databases import new_database
from runs.tests.execution.engine import COMMAND, Engine
from runs.tests.server import running_server

# How long an example takes says how busy the machine is, and nothing about it.
hypothesis.settings.register_profile("any-machine", deadline=None)
hypothesis.settings.load_profile("any-machine")


@pytest.fixture(autouse=True)
def data_dir(settings, tmp_path):
    """The test's own `<data dir>`, empty."""
    home = tmp_path / "home"
    settings.TUNIX_RT_HOME = home
    settings.DATASETS_DIR = home / "datasets"
    settings.RUNS_DIR = home / "runs"
    settings.UNRECORDED_DIR = home / "unrecorded"
    settings.FILE_UPLOAD_TEMP_DIR = home / "tmp"
    settings.FILE_UPLOAD_TEMP_DIR.mkdir(parents=True)
    store._read_manifest.cache_clear()
    tunix._availability.cache_clear()
    return home


@pytest.fixture
def api():
    """A client that sends JSON."""
    return APIClient()


@pytest.fixture
def dataset(data_dir):
    """The dataset `arithmetic-v1`: 100 good rows."""
    return helpers.create_dataset()


@pytest.fixture
def engine(transactional_db, dataset, settings, data_dir):
    """Real local runs. No dispatcher yet: a test starts those that it needs."""
    settings.TUNIX_COMMAND = COMMAND
    engine = Engine(data_dir)
    yield engine
    engine.stop()


@pytest.fixture
def home(tmp_path):
    """The home of a real server; what lies beside it is none of the server's business."""
    path = tmp_path / "beside" / "server"
    path.mkdir(parents=True)
    return path


@pytest.fixture
def database(home):
    """A new database for the server in `home`."""
    with new_database(home) as database:
        yield database


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory):
    """One real server for all the tests of a module, each of which leaves it usable."""
    home = tmp_path_factory.mktemp("beside") / "server"
    home.mkdir()
    with new_database(home) as database, running_server(home, database.url) as server:
        yield server
