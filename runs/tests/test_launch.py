"""POST /api/tunix/run: what a request may say, what it gets without saying it, and what is refused."""

import json

import pytest

from runs.models import TunixRun
from runs.tests.helpers import CONFIG, LAUNCH, assert_error, launch

pytestmark = pytest.mark.django_db
RECORD = {
    "run_id", "status", "mode", "dataset_key", "model_id", "output_dir", "exit_code", "stdout", "stderr",
    "duration_seconds", "started_at", "completed_at", "message", "created_at", "config", "tags", "notes", "owner",
    "cause", "priority", "retry_of", "cancel_requested_at", "host", "files_bytes", "evidence", "notices", "waiting_for", "reproduces", "step",
    "total_steps", "provenance",
}  # fmt: skip


def refused(api, **body):
    """The errors of a request that must be refused, before anything is recorded."""
    errors = assert_error(api.post("/api/tunix/run", LAUNCH | body), 422)["errors"]
    assert not TunixRun.objects.exists()
    return errors


def test_it_works(api, dataset):
    answer = api.post("/api/tunix/run", LAUNCH)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    body = answer.json()
    assert set(body) == RECORD
    assert (body["status"], body["mode"], body["exit_code"]) == ("completed", "dry-run", 0)
    assert body["started_at"].endswith("Z") and body["completed_at"].endswith("Z")


def test_a_failed_validation_is_an_answer_too(api):
    body = launch(api, dataset_key="missing-v1")
    assert set(body) == RECORD
    assert (body["status"], body["exit_code"]) == ("failed", None)


def test_a_trailing_slash_works_without_a_redirect(api, dataset):
    assert api.post("/api/tunix/run/", LAUNCH).status_code == 200


def test_defaults(api):
    body = launch(api)
    assert body["mode"] == "dry-run"
    assert body["config"] == CONFIG
    assert body["output_dir"] == f"./output/tunix_run_{body['run_id'][:8]}"


def test_the_default_timeout_is_a_setting(api, settings):
    settings.DEFAULT_TIMEOUT_SECONDS = 77
    assert launch(api)["config"]["timeout_seconds"] == 77


@pytest.mark.parametrize("missing", ["dataset_key", "model_id"])
def test_required(api, missing):
    body = {name: value for name, value in LAUNCH.items() if name != missing}
    error = assert_error(api.post("/api/tunix/run", body), 422, f"{missing}: This field is required.")
    assert error["errors"] == {missing: ["This field is required."]}


def test_an_empty_body_names_both_required_fields(api):
    error = assert_error(api.post("/api/tunix/run", {}), 422)
    assert set(error["errors"]) == {"dataset_key", "model_id"}
    assert error["detail"] == "dataset_key: This field is required, and 1 more"


@pytest.mark.parametrize("name", ["dryrun", "dry-run", "Dry_run", "tags", "run_id", "status"])
def test_an_unknown_field_is_named(api, name):
    assert refused(api, **{name: False}) == {name: ["is not a known field"]}


def test_every_unknown_field_is_named(api):
    assert set(refused(api, dryrun=False, epochs=3)) == {"dryrun", "epochs"}


def test_a_field_given_twice_is_refused(api):
    body = b'{"dataset_key": "a-v1", "model_id": "m", "dry_run": false, "dry_run": true}'
    assert_error(api.post("/api/tunix/run", body, content_type="application/json"), 400)
    assert not TunixRun.objects.exists()


GOOD = {
    "dataset_key": ["a", "A", "0", "a" * 256, "a.b_c-d", "a-v1"],
    "model_id": ["m", "m" * 256, "google/gemma-2b-it", "tunix-rt/tiny-qwen3", "/models/gemma", "модель"],
    "output_dir": ["x", "./x", "a/b/../c", "x" * 255, "/".join(["y" * 127] * 4), "…", ".", "a/", "..x", "a..b"],
    "dry_run": [True],
    "learning_rate": [1, 1.0, 5e-324, 2e-5],
    "num_epochs": [1, 100, 3.0],
    "batch_size": [1, 512],
    "max_seq_length": [128, 32_768],
    "timeout_seconds": [1, 30 * 24 * 3600],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in GOOD.items() for value in values])
def test_accepted(api, name, value):
    body = launch(api, **{name: value})
    if name != "dry_run":
        assert (body["config"] if name in body["config"] else body)[name] == value


KEY = "must be 1–256 letters, digits, dots, underscores or hyphens, begin with a letter or digit and have no '..'"
RATE = "must be greater than 0 and at most 1"
BAD = {
    "dataset_key": {
        "../a": KEY, "a..b": KEY, "a/b": KEY, ".a": KEY, "-a": KEY, "_a": KEY, "a b": KEY, "ä-v1": KEY, "a\n": KEY,
        "a%2fb": KEY, "a\\b": KEY, "٣": KEY,
        "": "This field may not be blank.",
        "a" * 257: "Ensure this field has no more than 256 characters.",
    },
    "model_id": {
        "": "This field may not be blank.",
        "m" * 257: "Ensure this field has no more than 256 characters.",
    },
    "output_dir": {
        "": "This field may not be blank.",
        "/".join(["x"] * 257): "Ensure this field has no more than 512 characters.",
        "x" * 256: "has a part that is longer than 255 bytes",
        "é" * 128: "has a part that is longer than 255 bytes",
    },
    "learning_rate": {0: RATE, -1e-9: RATE, 1.0000001: RATE, 1e308: RATE},
    "num_epochs": {
        0: "must be between 1 and 100", 101: "must be between 1 and 100", -1: "must be between 1 and 100",
        10**30: "must be between 1 and 100", 2.5: "must be a whole number",
    },
    "batch_size": {0: "must be between 1 and 512", 513: "must be between 1 and 512", 8.5: "must be a whole number"},
    "max_seq_length": {
        127: "must be between 128 and 32,768", 32_769: "must be between 128 and 32,768",
        128.5: "must be a whole number",
    },
    "timeout_seconds": {
        0: "must be between 1 and 2,592,000", 2_592_001: "must be between 1 and 2,592,000",
        1.5: "must be a whole number",
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value", "message"), [(name, *case) for name, cases in BAD.items() for case in cases.items()]
)
def test_out_of_bounds(api, name, value, message):
    errors = refused(api, **{name: value})
    assert set(errors) == {name}
    assert message in errors[name]


@pytest.mark.parametrize("name", ["dataset_key", "model_id", "output_dir"])
@pytest.mark.parametrize("value", [5, 1.5, True, None, [], {}, ["a"]])
def test_a_text_must_be_a_text(api, name, value):
    assert set(refused(api, **{name: value})) == {name}


@pytest.mark.parametrize("name", ["learning_rate", "num_epochs", "batch_size", "max_seq_length", "timeout_seconds"])
@pytest.mark.parametrize("value", ["3", "", True, False, None, [], [3], {}])
def test_a_number_must_be_a_number(api, name, value):
    assert set(refused(api, **{name: value})) == {name}


@pytest.mark.parametrize("value", ["true", "false", "", 0, 1, None, [], {}])
def test_dry_run_must_be_true_or_false(api, value):
    assert set(refused(api, dry_run=value)) == {"dry_run"}


@pytest.mark.parametrize("name", ["dataset_key", "model_id", "output_dir"])
def test_a_nul_is_refused_anywhere(api, name):
    assert set(refused(api, **{name: "a\0b"})) == {name}


@pytest.mark.parametrize(
    "value",
    ["/etc", "/", "//etc", "..", "../x", "../../etc/passwd", "a/../../b", "./../x", "a/b/../../../c", "a/./../.."],
)
def test_an_output_dir_that_leaves_the_run_is_refused(api, value):
    assert refused(api, output_dir=value) == {"output_dir": ["must stay inside the run's own directory"]}


@pytest.mark.parametrize("body", ["[]", '"text"', "5", "null", "true", "[[]]"])
def test_the_body_must_be_an_object(api, body):
    answer = api.post("/api/tunix/run", body.encode(), content_type="application/json")
    assert set(assert_error(answer, 422)["errors"]) == {"body"}


@pytest.mark.parametrize(
    "body",
    ["{", "nonsense", '{"learning_rate": NaN}', '{"learning_rate": Infinity}', "{'a': 1}", '{"a": "\\ud800"}', " "],
)
def test_a_body_that_is_not_json_is_unreadable(api, body):
    assert_error(api.post("/api/tunix/run", body.encode(), content_type="application/json"), 400)


def test_a_number_beyond_all_numbers_is_refused(api):
    body = json.dumps(LAUNCH)[:-1].encode() + b', "learning_rate": 1e999}'
    answer = api.post("/api/tunix/run", body, content_type="application/json")
    assert answer.status_code in (400, 422)
    assert not TunixRun.objects.exists()


def test_an_unknown_query_parameter_is_refused(api):
    body = assert_error(api.post("/api/tunix/run?dry_run=false", LAUNCH), 422)
    assert body["errors"] == {"dry_run": ["is not a known query parameter"]}


def test_a_local_run_without_tunix_is_501_and_leaves_no_record(api, dataset, data_dir):
    answer = api.post("/api/tunix/run", LAUNCH | {"dry_run": False})
    detail = assert_error(answer, 501)["detail"]
    assert "`make tunix`" in detail
    assert not TunixRun.objects.exists()
    assert not (data_dir / "runs").exists()


def test_a_local_run_is_checked_before_tunix_is(api):
    assert set(refused(api, dry_run=False, num_epochs=0)) == {"num_epochs"}


def test_launching_writes_no_file(api, dataset, data_dir):
    before = sorted(data_dir.rglob("*"))
    launch(api, output_dir="a/b")
    assert sorted(data_dir.rglob("*")) == before


def test_a_model_without_a_home_is_a_failed_validation(api, dataset):
    assert launch(api, model_id="~nobody-has-this-name/model")["message"] == "Dry-run failed: implausible model id"


def test_a_model_path_that_no_file_system_takes_is_a_failed_validation(api, dataset):
    assert launch(api, model_id="/" + "é" * 255)["message"] == "Dry-run failed: implausible model id"


@pytest.mark.parametrize("wait", ["0", "60"])
def test_wait_changes_nothing_for_a_dry_run(api, dataset, wait):
    assert api.post(f"/api/tunix/run?wait={wait}", LAUNCH).json()["status"] == "completed"


@pytest.mark.parametrize("wait", ["", "-1", "61", "1.5", "abc", "9" * 30])
def test_wait_must_be_between_0_and_60(api, wait):
    assert_error(api.post(f"/api/tunix/run?wait={wait}", LAUNCH), 422, "wait must be between 0 and 60")
    assert not TunixRun.objects.exists()
