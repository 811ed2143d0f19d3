"""Every error of the API is JSON with one sentence, whoever answers it: a view, DRF, Django, or a page's 404."""

import pytest
from rest_framework.test import APIClient

from runs.limits import JSON_DEPTH, JSON_PARTS
from runs.tests.helpers import LAUNCH, NOBODY, assert_error

pytestmark = pytest.mark.django_db
METHODS = ["get", "head", "post", "put", "patch", "delete", "options"]
CALLS = {
    "/api/tunix/run": {"post", "options"},
    "/api/tunix/runs": {"get", "head", "options"},
    f"/api/tunix/runs/{NOBODY}": {"get", "head", "patch", "delete", "options"},
    f"/api/tunix/runs/{NOBODY}/restore": {"post", "options"},
    "/api/tunix/status": {"get", "head", "options"},
    "/api/datasets": {"get", "head", "post", "options"},
    "/api/datasets/a-v1": {"get", "head", "options"},
    "/api/datasets/a-v1/data": {"get", "head", "options"},
    "/healthz": {"get", "head", "options"},
    "/readyz": {"get", "head", "options"},
}


@pytest.mark.parametrize("path", CALLS)
def test_a_method_that_a_call_has_not_is_405(api, path):
    for method in METHODS:
        answer = getattr(api, method)(path)
        if method in CALLS[path]:
            assert answer.status_code != 405, method
        else:
            assert answer.status_code == 405, method
            assert answer.headers["Content-Type"] == "application/json"
            allowed = {name.strip().lower() for name in answer.headers["Allow"].split(",")}
            assert allowed == CALLS[path]
            if method != "head":
                assert_error(answer, 405, f'Method "{method.upper()}" not allowed.')


UNKNOWN = ["/api", "/api/", "/api/x", "/api/tunix", "/api/tunix/", "/api/tunix/run/x", f"/api/tunix/runs/{NOBODY}/x",
           "/api/datasets/a/b", "/api/datasets/a/data/x", "/api//tunix/runs", "/api/tunix//runs", "/api/../etc/passwd",
           "/api/%00", "/api/é", "/api/tunix/runs//", "/api/.git/config", "/api/admin"]  # fmt: skip


@pytest.mark.parametrize("path", UNKNOWN)
def test_an_unknown_address_is_404(api, path):
    for method in ("get", "post", "put", "patch", "delete", "options"):
        assert_error(getattr(api, method)(path), 404, "There is nothing at this address.")


def test_an_address_of_a_page_is_a_page(api):
    answer = api.get("/nothing-here/")
    assert (answer.status_code, answer.headers["Content-Type"]) == (404, "text/html; charset=utf-8")
    assert b"There is nothing at this address." in answer.content


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/xml", "application/x-www-form-urlencoded", "multipart/form-data; boundary=X", "x", ""],
)
@pytest.mark.parametrize(("method", "path"), [("post", "/api/tunix/run"), ("patch", f"/api/tunix/runs/{NOBODY}")])
def test_another_media_type_is_415_or_not_even_read(api, method, path, kind):
    answer = api.generic(method.upper(), path, b'{"a": 1}', content_type=kind)
    # The run that is to be changed is looked for first.
    assert_error(answer, 415 if method == "post" else 404)


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "APPLICATION/JSON"])
def test_json_is_json_however_it_is_called(api, kind):
    answer = api.post("/api/tunix/run", b'{"dataset_key": "a-v1", "model_id": "m"}', content_type=kind)
    assert answer.status_code == 200


def test_a_body_of_more_than_a_mebibyte_is_413(api):
    fits = b'{"dataset_key": "a-v1", "model_id": "m"' + b" " * (1024**2 - 40) + b"}"
    assert len(fits) == 1024**2
    assert api.post("/api/tunix/run", fits, content_type="application/json").status_code == 200
    answer = api.post("/api/tunix/run", fits + b" ", content_type="application/json")
    assert_error(answer, 413, "A JSON body may have 1,048,576 bytes.")


@pytest.mark.parametrize(
    "body",
    [b"{", b'{"a": "\xff"}', b"\xff\xfe", b"[" * 50_000, b"[" * 1020 + b"]" * 1020, b'{"a":' * 1020 + b"1" + b"}" * 1020,
     b'{"a": 1}x', b'{"a": 01}', b'{"a": 1,}', b"{'a': 1}", b'{"a": "\n"}', b"\xef\xbb\xbf{}", b'{"a": 1e999}', b"\0"],
)  # fmt: skip
def test_a_body_that_is_not_json_is_400(api, body):
    assert_error(api.post("/api/tunix/run", body, content_type="application/json"), 400)


@pytest.mark.parametrize("body", [b'{"a": 1, "a": 1}', b'{"b": [{"a": 1, "a": 2}]}', b'{"a": 1, "\\u0061": 2}'])
def test_a_name_twice_in_one_object_is_400(api, body):
    detail = "The body has 'a' twice in one object."
    assert_error(api.post("/api/tunix/run", body, content_type="application/json"), 400, detail)


def test_a_host_that_is_not_ours_is_400(api):
    for path in ("/api/tunix/runs", "/api/nothing"):
        assert_error(api.get(path, headers={"host": "evil.example"}), 400)


@pytest.mark.parametrize("accept", ["application/xml", "text/plain", "image/*", "nonsense"])
def test_an_answer_that_nobody_has_is_406(api, accept):
    assert_error(api.get("/api/tunix/runs", headers={"accept": accept}), 406)


@pytest.mark.parametrize(
    "accept", ["*/*", "application/json", "application/*", "application/json;q=0.1, */*;q=0.01", ""]
)
def test_json_is_what_programs_get(api, accept):
    assert api.get("/api/tunix/runs", headers={"accept": accept}).headers["Content-Type"] == "application/json"


def test_errors_are_json_for_browsers_of_unknown_addresses(api):
    assert_error(api.get("/api/nothing", headers={"accept": "text/html"}), 404)


def test_a_browser_gets_drfs_browsable_api(api):
    answer = api.get("/api/tunix/runs", headers={"accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert b"Django REST framework" in answer.content


@pytest.mark.parametrize("path", ["/api/tunix/runs", "/api/tunix/status", f"/api/tunix/runs/{NOBODY}"])
def test_a_format_that_nobody_has_is_422(api, path):
    assert_error(api.get(f"{path}?format=xml"), 422, "format must be among json, api")


def test_a_format_can_be_chosen(api):
    browser = {"accept": "text/html"}
    assert api.get("/api/tunix/runs?format=json", headers=browser).headers["Content-Type"] == "application/json"
    assert api.get("/api/tunix/runs?format=api").headers["Content-Type"] == "text/html; charset=utf-8"


def test_a_thousand_parameters_are_too_many(api):
    assert_error(api.get("/api/tunix/runs?" + "&".join(f"a{n}=1" for n in range(1001))), 400)


def test_a_defect_is_500_with_a_sentence_and_without_its_traceback(settings, data_dir):
    """A real one: where the store of datasets should be lies a file."""
    (data_dir / "datasets").write_text("not a directory")
    client = APIClient(raise_request_exception=False)
    answer = client.get("/api/datasets")
    body = assert_error(answer, 500)
    assert "Traceback" not in body["detail"] and "NotADirectory" not in answer.content.decode()


def test_the_sentence_begins_with_the_field_and_counts_the_rest(api):
    answer = api.post("/api/tunix/run", LAUNCH | {"num_epochs": 0, "batch_size": "8", "dataset_key": "../x"})
    body = assert_error(answer, 422)
    assert set(body["errors"]) == {"dataset_key", "num_epochs", "batch_size"}
    assert body["detail"].startswith("dataset_key must be 1–256 letters")
    assert body["detail"].endswith(", and 2 more")


@pytest.mark.parametrize(
    ("opening", "inmost", "closing"), [("[", "", "]"), ('{"a":', "1", "}"), ('[{"a":', "[]", "}]")]
)
def test_json_is_nested_to_a_known_depth(api, opening, inmost, closing):
    """The limit is counted, and no matter of how deep Python's stack happens to be."""
    step = opening.count("[") + opening.count("{")
    for levels, refused in ((JSON_DEPTH, False), (JSON_DEPTH + 2, True), (900, True)):
        count = (levels - (inmost == "[]")) // step
        body = opening * count + inmost + closing * count
        answer = api.post("/api/tunix/run", body, content_type="application/json")
        deep = answer.json()["detail"] == f"The body is nested deeper than {JSON_DEPTH} levels."
        assert (answer.status_code == 400, deep) == (refused, refused), (levels, answer.content)


@pytest.mark.parametrize("part", ["[],", "{},", '{"":1},', "1,"])
def test_json_of_many_small_parts_is_refused_before_it_is_read(api, part):
    """A MiB of them is forty in memory, and every sender has a thread."""
    body = "[" + part * (1024 * 1024 // len(part) - 2) + "1]"
    answer = api.post("/api/tunix/run", body, content_type="application/json")
    assert_error(answer, 413, f"A JSON body may have {JSON_PARTS:,} commas, colons and opening brackets.")


def test_of_many_unknown_fields_some_are_named(api):
    answer = api.post("/api/tunix/run", {f"field{number}": 1 for number in range(1_000)})
    assert answer.status_code == 422
    assert len(answer.json()["errors"]) == 20 and answer.json()["detail"] == "field0 is not a known field, and 19 more"
    answer = api.post("/api/tunix/run", {f"field{number}": 1 for number in range(10_001)})
    assert_error(answer, 413, "An object may have 10,000 names.")
