"""GET /api/datasets, /api/datasets/{key} and /api/datasets/{key}/data."""

import pytest

from runs.tests.helpers import arithmetic_rows, assert_error, create_dataset, create_dataset_by_hand


def test_it_works(api, dataset):
    manifest = api.get("/api/datasets/arithmetic-v1")
    assert manifest.status_code == 200
    assert manifest.json()["row_count"] == 100
    assert api.get("/api/datasets").json() == {"data": [manifest.json()]}
    data = api.get("/api/datasets/arithmetic-v1/data")
    assert data.status_code == 200
    assert data.headers["Content-Type"] == "application/x-ndjson"
    assert data.headers["Content-Disposition"] == 'attachment; filename="arithmetic-v1.jsonl"'
    assert data.headers["Content-Length"] == str(len(arithmetic_rows()))
    assert b"".join(data.streaming_content) == arithmetic_rows()


def test_trailing_slashes_work_without_a_redirect(api, dataset):
    for path in ("", "/arithmetic-v1", "/arithmetic-v1/data"):
        assert api.get(f"/api/datasets{path}/").status_code == 200


@pytest.mark.parametrize("accept", ["*/*", "application/x-ndjson", "application/json", "text/plain", "text/html"])
def test_the_rows_are_sent_whatever_is_accepted(api, dataset, accept):
    answer = api.get("/api/datasets/arithmetic-v1/data", headers={"accept": accept})
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/x-ndjson")
    assert_error(api.get("/api/datasets/missing-v1/data", headers={"accept": "application/x-ndjson"}), 404)


def test_no_datasets(api):
    assert api.get("/api/datasets").json() == {"data": []}


def test_the_list_goes_by_key(api):
    for name in ("b", "a", "C"):
        create_dataset(name)
    assert [each["dataset_key"] for each in api.get("/api/datasets").json()["data"]] == ["C-v1", "a-v1", "b-v1"]


def test_what_cannot_be_read_is_left_out_of_the_list_and_named_in_the_log(api, dataset, caplog):
    create_dataset_by_hand("broken-v1", manifest=b"nonsense")
    (create_dataset_by_hand("no-manifest-v1") / "manifest.json").unlink()
    (dataset.data_path.parent.parent / "a-file-v1").write_text("x")
    assert [each["dataset_key"] for each in api.get("/api/datasets").json()["data"]] == ["arithmetic-v1"]
    assert "broken-v1" in caplog.text


@pytest.mark.parametrize("path", ["", "/data"])
def test_not_found(api, path):
    assert_error(api.get(f"/api/datasets/missing-v1{path}"), 404, "Dataset not found: missing-v1")


@pytest.mark.parametrize("path", ["", "/data"])
@pytest.mark.parametrize(
    "key", ["..", "%2e%2e", "a..b", ".incoming", "%00", "a%00", "a%0a", "é", "a%5cb", "~", "a" * 257, "-a"]
)
def test_a_key_that_is_none_is_422(api, key, path):
    body = assert_error(api.get(f"/api/datasets/{key}{path}"), 422)
    assert set(body["errors"]) == {"dataset_key"}


@pytest.mark.parametrize("key", ["../secret", "%2e%2e%2fsecret", "..%2f..%2fetc%2fpasswd", "/etc/passwd", "a/../../b"])
def test_no_key_leads_out_of_the_store(api, data_dir, key):
    secret = data_dir / "secret"
    secret.mkdir()
    (secret / "manifest.json").write_text("{}")
    (secret / "data.jsonl").write_text("secret")
    for path in ("", "/data"):
        answer = api.get(f"/api/datasets/{key}{path}")
        assert answer.status_code in (404, 422)
        assert answer.headers["Content-Type"] == "application/json"


def test_a_broken_manifest_is_409(api):
    create_dataset_by_hand("broken-v1", manifest=b"{")
    for path in ("", "/data"):
        detail = assert_error(api.get(f"/api/datasets/broken-v1{path}"), 409)["detail"]
        assert detail.startswith("manifest.json of broken-v1 is not JSON")


def test_missing_rows_are_409(api):
    create_dataset_by_hand("rowless-v1", data=None)
    assert api.get("/api/datasets/rowless-v1").status_code == 200
    detail = "data.jsonl of rowless-v1 cannot be read: No such file or directory"
    assert_error(api.get("/api/datasets/rowless-v1/data"), 409, detail)


def test_a_manifest_that_is_replaced_is_read_again(api):
    """Manifests are kept in memory; one that is mended by hand must be seen."""
    directory = create_dataset_by_hand("mended-v1", manifest=b"{")
    assert api.get("/api/datasets/mended-v1").status_code == 409
    (directory / "manifest.json").unlink()
    good = create_dataset_by_hand("good-v1").joinpath("manifest.json").read_text()
    (directory / "manifest.json").write_text(good.replace("good-v1", "mended-v1"))
    assert api.get("/api/datasets/mended-v1").status_code == 200


@pytest.mark.parametrize("path", ["", "/arithmetic-v1", "/arithmetic-v1/data"])
def test_an_unknown_query_parameter_is_refused(api, dataset, path):
    assert_error(api.get(f"/api/datasets{path}?x=1"), 422, "x is not a known query parameter")
