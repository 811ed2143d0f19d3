"""schemathesis plays the whole OpenAPI document against the application: what it says is what happens, and no 5xx."""

import os

import pytest
import schemathesis
from django.core.wsgi import get_wsgi_application
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance
from schemathesis.transport.serialization import Binary

from runs import search
from runs.execution import wake
from runs.tests.helpers import arithmetic_rows, create_dataset, create_run

pytestmark = pytest.mark.django_db(transaction=True)
# Not tunix_rt.wsgi, which asks the database at its import.
schema = schemathesis.openapi.from_wsgi("/api/schema", get_wsgi_application())
# 501 is what a launch answers where Tunix is not installed; it is documented.
schema.config.checks.not_a_server_error.expected_statuses += ["501"]
OF_THE_DATA = [negative_data_rejection, positive_data_acceptance]


@schemathesis.serializer("application/x-ndjson")
def ndjson(context, value):
    """OpenAPI has no words for what is in a file: every one has good rows."""
    return arithmetic_rows(3)


@pytest.fixture(autouse=True)
def something_there(transactional_db, data_dir):
    create_dataset()
    create_run(tags=("a",))
    pipe = wake.listen()  # as a dispatcher does, so that the server is ready
    yield
    os.close(pipe)


@schema.parametrize()
@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_the_document_holds(case):
    """All checks, save that a rule which OpenAPI has no words for may refuse what the document allows."""
    if isinstance(case.body, dict) and isinstance(case.body.get("file"), Binary):
        case.body["file"] = arithmetic_rows(3)
    case.call_and_validate(excluded_checks=OF_THE_DATA if beyond_words(case) else [])


def _unreadable(text):
    """A search is a language of its own."""
    try:
        search.parse(str(text))
    except search.SearchError:
        return True
    return False


def beyond_words(case):
    """Each of these rules has its tests by hand."""
    query = case.query if isinstance(case.query, dict) else {}
    body = case.body if isinstance(case.body, dict) else {}
    if case.operation.label in ("POST /api/datasets", "POST /api/datasets/preview"):
        # A name is given once, in the address or in the form, and a form's values are all texts; what is in a file.
        return True
    if any(value is None or isinstance(value, bool) for value in query.values()):
        return True  # in an address these are the texts "" and "true", and may be good ones
    if "q" in query and _unreadable(query["q"]):
        return True
    if "cursor" in query:
        return True  # one that the API gave, and not with an offset
    # The first stays inside the run's own directory, in parts of 255 bytes; the second is a run that is there.
    return "output_dir" in body or "reproduces" in body
