"""schemathesis plays the whole OpenAPI document against the application: what it says is what happens, and no 5xx."""

import pytest
import schemathesis
from django.core.exceptions import ValidationError
from hypothesis import HealthCheck, settings
from schemathesis.transport.serialization import Binary

from runs import validation
from runs.tests.helpers import arithmetic_rows, create_dataset, create_run
from tunix_rt.wsgi import application

pytestmark = pytest.mark.django_db(transaction=True)
schema = schemathesis.openapi.from_wsgi("/api/schema", application)
# 501 is what a launch answers where Tunix is not installed; it is documented.
schema.config.checks.not_a_server_error.expected_statuses += ["501"]


@schema.hook
def filter_case(context, case):
    """Leaves out what breaks a rule that OpenAPI has no words for. Each has its tests elsewhere."""
    query = case.query if isinstance(case.query, dict) else {}
    if query.get("cursor") or ("cursor" in query and "offset" in query):
        return False  # a cursor is one that the API gave, and is not combined with an offset: test_list_by_cursor.py
    if any(value is None or isinstance(value, bool) for value in query.values()):
        return False  # in an address nothing else than the texts "" and "true", which may be good ones
    body = case.body if isinstance(case.body, dict) else {}
    names = {**query, **body}
    key = f"{names.get('dataset_name') or ''}-{names.get('dataset_version') or ''}"
    if case.path == "/api/datasets" and case.method == "POST" and (key.strip("-") != key or len(key) > 255):
        return False  # both are required, here or there, and name a directory together: test_upload_dataset.py
    try:
        validation.output_dir(body.get("output_dir", "."))
    except ValidationError:
        return False  # a path stays inside the run's own directory: test_launch.py
    except (AttributeError, TypeError):
        pass
    return True


@pytest.fixture(autouse=True)
def something_there(transactional_db, data_dir):
    create_dataset()
    create_run(tags=("a",))


@schema.parametrize()
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_document_holds(case):
    if isinstance(case.body, dict) and isinstance(case.body.get("file"), Binary):
        case.body["file"] = arithmetic_rows(3)  # OpenAPI has no words for what is in a file
    elif case.media_type == "application/x-ndjson":
        case.body = arithmetic_rows(3)
    case.call_and_validate()
