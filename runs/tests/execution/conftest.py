import pytest

from runs.tests.execution.engine import COMMAND, Engine


@pytest.fixture
def engine(transactional_db, dataset, settings, data_dir):
    """No dispatcher yet: a test starts those that it needs."""
    settings.TUNIX_COMMAND = COMMAND
    engine = Engine(data_dir)
    yield engine
    engine.stop()
