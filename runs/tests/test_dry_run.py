"""The dry run: every outcome of the contract's table, word for word, and how much of the data is read."""

import json
import os
import time

import pytest

from runs import dry_run
from runs.limits import TRAINING
from runs.manifest import TRAINING_FIELDS
from runs.models import TunixRun
from runs.tests.helpers import arithmetic_rows, create_dataset, create_dataset_by_hand, launch

pytestmark = pytest.mark.django_db
GOOD = b'{"prompt": "1 + 1 =", "response": "2"}\n'
EXPORT = ("Dataset export validation failed: ", "Dry-run failed: export validation error")
MANIFEST = ("Manifest generation failed: ", "Dry-run failed: manifest generation error")


def failed(api, outcome, reason, key="by-hand-v1", **body):
    """A dry run over `key` fails with `outcome` and `reason`; answer and record say the same."""
    record = launch(api, dataset_key=key, **body)
    prefix, message = outcome
    assert (record["status"], record["exit_code"]) == ("failed", None)
    assert (record["stderr"], record["message"]) == (prefix + reason, message)
    assert record["completed_at"] and record["duration_seconds"] >= 0
    stored = TunixRun.objects.get(pk=record["run_id"])
    assert (stored.stdout, stored.stderr, stored.message) == (record["stdout"], record["stderr"], record["message"])
    return record


def test_it_works(api, dataset):
    record = launch(api, learning_rate=1e-4, output_dir="out")
    assert (record["status"], record["exit_code"], record["stderr"]) == ("completed", 0, "")
    assert record["message"] == "Dry-run validation successful"
    assert record["stdout"].splitlines() == [
        "Dry-run validation completed successfully.",
        "dataset    ok      arithmetic-v1, schema 1.0, prompt_response",
        "manifest   ok      sft, google/gemma-2b-it to out",
        f"data       ok      100 rows, {len(arithmetic_rows()):,} bytes; all 100 checked",
        "model      ok      google/gemma-2b-it",
        "tunix      warning Tunix is not installed: install it with `make tunix`",
        "config             learning_rate = 0.0001",
        "config             num_epochs = 3",
        "config             batch_size = 8",
        "config             max_seq_length = 2048",
        "config             timeout_seconds = 86400",
        "config             seed = 0",
        "config             lora_rank = 0",
    ]


def test_a_dataset_of_the_sft_form(api):
    row = {"id": "1", "prompts": "1 + 1 =", "final_answer": "2", "metadata": {}}
    create_dataset("sft", rows=json.dumps(row).encode())
    assert "schema 1.0, tunix_sft" in launch(api, dataset_key="sft-v1")["stdout"]


# --- no dataset, no manifest ------------------------------------------------------------------------------------------

NOT_FOUND = ("Dataset not found: ", "Dry-run failed: dataset not found")


def test_no_dataset(api):
    assert failed(api, NOT_FOUND, "missing-v1", key="missing-v1")["stdout"] == ""


def test_a_directory_without_a_manifest_is_no_dataset(api):
    (create_dataset_by_hand() / "manifest.json").unlink()
    failed(api, NOT_FOUND, "by-hand-v1")


def test_a_file_where_the_dataset_should_be_is_no_dataset(api, data_dir):
    (data_dir / "datasets").mkdir()
    (data_dir / "datasets" / "by-hand-v1").write_text("x")
    failed(api, NOT_FOUND, "by-hand-v1")


def test_a_key_that_no_file_system_takes_is_no_dataset(api):
    create_dataset()  # so that the store is there, and is asked
    failed(api, NOT_FOUND, "k" * 256, key="k" * 256)


@pytest.mark.parametrize(
    ("manifest", "reason"),
    [
        (b"", "is not JSON: Input is a zero-length, empty document: line 1 column 1 (char 0)"),
        (b"{", "is not JSON: unexpected end of data: line 1 column 2 (char 1)"),
        (b"\xff", "is not JSON: "),
        (b"[]", "is not an object"),
        (b"null", "is not an object"),
        (b"{}", "has no dataset_key"),
        (b'{"dataset_key": [[[]]]}', "has a dataset_key of the wrong type"),
    ],
)
def test_a_manifest_that_cannot_be_read(api, manifest, reason):
    create_dataset_by_hand(data=GOOD, manifest=manifest)
    record = launch(api, dataset_key="by-hand-v1")
    assert record["stderr"].startswith(f"Manifest generation failed: manifest.json of by-hand-v1 {reason}")
    assert record["message"] == "Dry-run failed: manifest generation error"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"row_count": None}, "has no row_count"),
        ({"row_count": "1"}, "has a row_count of the wrong type"),
        ({"row_count": True}, "has a row_count of the wrong type"),
        ({"bytes": 1.5}, "has a bytes of the wrong type"),
        ({"sha256": None}, "has no sha256"),
        ({"format": None}, "has no format"),
        ({"dataset_schema_version": None}, "has no dataset_schema_version"),
        ({"dataset_schema_version": "2.0"}, "has schema 2.0; 1.0 is known here"),
        ({"format": "parquet"}, "has format 'parquet'; known are prompt_response, tunix_sft"),
        ({"dataset_key": "other-v1"}, "is that of 'other-v1'"),
        ({"dataset_key": None}, "has no dataset_key"),
    ],
)
def test_a_manifest_that_is_not_valid(api, fields, reason):
    create_dataset_by_hand(data=GOOD, **fields)
    failed(api, MANIFEST, f"manifest.json of by-hand-v1 {reason}")


def test_a_manifest_that_is_a_directory(api):
    directory = create_dataset_by_hand(data=GOOD)
    (directory / "manifest.json").unlink()
    (directory / "manifest.json").mkdir()
    failed(api, MANIFEST, "manifest.json of by-hand-v1 cannot be read: It is a directory, not a file")


@pytest.mark.parametrize("missing", TRAINING_FIELDS)
def test_a_training_manifest_that_cannot_be_built(dataset, missing):
    """The API fills every field in; a run from elsewhere may lack one."""
    config = {name: limit.default for name, limit in TRAINING.items() if name != missing}
    run = TunixRun(dataset_key="arithmetic-v1", model_id="m", mode="dry-run", status="running", config=config)
    dry_run.execute(run)
    assert run.stderr == f"Manifest generation failed: the configuration lacks '{missing}'"
    assert (run.status, run.message) == ("failed", "Dry-run failed: manifest generation error")


# --- the data ---------------------------------------------------------------------------------------------------------

EMPTY = ("Dataset is empty (no traces found)", "Dry-run failed: empty dataset")


@pytest.mark.parametrize("data", [b"", b"\n", b" \n\r\n\t\n" * 100])
def test_an_empty_dataset(api, data):
    create_dataset_by_hand(data=data, row_count=0)
    failed(api, EMPTY, "")


def test_a_missing_data_file(api):
    create_dataset_by_hand(data=None)
    failed(api, EXPORT, "data.jsonl cannot be read: No such file or directory")


def test_a_data_file_that_is_a_directory(api):
    directory = create_dataset_by_hand(data=None)
    (directory / "data.jsonl").mkdir()
    failed(api, EXPORT, "data.jsonl cannot be read: It is a directory, not a file")


@pytest.mark.parametrize("size", [0, len(GOOD) - 1, len(GOOD) + 1])
def test_a_size_that_is_not_the_manifests(api, size):
    create_dataset_by_hand(data=GOOD, bytes=size)
    failed(api, EXPORT, f"data.jsonl has {len(GOOD)} bytes, its manifest says {size}")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"nonsense", "line 3: not JSON: invalid literal, expected 'null' at character 1"),
        (b'{"prompt": "\xff", "response": "b"}', "line 3: not UTF-8 at byte 13"),
        (b"[]", "line 3: not a JSON object"),
        (b'{"prompt": "a"}', "line 3: response is missing"),
        (b'{"prompt": 5, "response": "b"}', "line 3: prompt is not text"),
        (b'{"prompt": "a", "response": " "}', "line 3: response is empty"),
        (
            b'{"prompt": "\0", "response": "b"}',
            "line 3: not JSON: unexpected control character in string at character 13",
        ),
        (b'{"prompt": "' + b"x" * 2**20 + b'"}', "line 3: longer than 1,048,576 bytes"),
    ],
)
def test_a_bad_row_is_named_by_its_line(api, line, problem):
    create_dataset_by_hand(data=GOOD + b"\n" + line + b"\n" + GOOD)
    record = launch(api, dataset_key="by-hand-v1")
    assert record["stderr"].startswith(f"Dataset export validation failed: {problem}")
    assert "\n" not in record["stderr"]
    assert record["message"] == "Dry-run failed: export validation error"


def test_every_bad_row_is_named_up_to_twenty(api):
    create_dataset_by_hand(data=GOOD + b"{}\n" * 30)
    lines = "\n".join(f"line {number}: prompt is missing" for number in range(2, 22))
    failed(api, EXPORT, f"{lines}\nand 10 more")


def test_a_bad_row_1000_is_seen_and_a_bad_row_1001_is_not(api):
    create_dataset_by_hand("seen-v1", GOOD * 999 + b"nonsense\n" + GOOD)
    create_dataset_by_hand("unseen-v1", GOOD * 1000 + b"nonsense\n" * 5)
    assert launch(api, dataset_key="seen-v1")["stderr"].startswith("Dataset export validation failed: line 1000: ")
    record = launch(api, dataset_key="unseen-v1")
    assert record["status"] == "completed"
    assert "1,005 rows, 39,045 bytes; the first 1,000 of 1,005 checked" in record["stdout"]


def test_the_first_thousand_are_rows_not_lines(api):
    create_dataset_by_hand(data=(b"\n" + GOOD) * 999 + b"\n\nnonsense\n")
    assert "line 2001: not JSON" in launch(api, dataset_key="by-hand-v1")["stderr"]


def test_ten_gigabytes_take_less_than_a_second(api):
    """A sparse file: its size is real to whoever asks, and reading it through would take 10 GB of reading."""
    data = arithmetic_rows(1000)
    size = 10 * 1024**3
    path = create_dataset_by_hand(data=data, bytes=size, row_count=270_000_000) / "data.jsonl"
    os.truncate(path, size)
    started = time.monotonic()
    record = launch(api, dataset_key="by-hand-v1")
    assert time.monotonic() - started < 1
    assert record["status"] == "completed"
    assert "the first 1,000 of 270,000,000 checked" in record["stdout"]


def test_ten_gigabytes_without_a_line_end_take_less_than_a_second(api):
    size = 10 * 1024**3
    path = create_dataset_by_hand(data=b"", bytes=size, row_count=1) / "data.jsonl"
    os.truncate(path, size)
    started = time.monotonic()
    failed(api, EXPORT, "line 1: longer than 1,048,576 bytes")
    assert time.monotonic() - started < 1


# --- model, tunix, order ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model_id",
    [
        "m",
        "gpt2",
        "google/gemma-2b-it",
        "Qwen/Qwen3-0.6B",
        "tunix-rt/tiny-qwen3",
        "a_b/c.d-e",
        "0/1",
        "a" * 128 + "/" + "b" * 127,
    ],
)
def test_a_plausible_model(api, dataset, model_id):
    assert launch(api, model_id=model_id)["status"] == "completed"


@pytest.mark.parametrize(
    ("model_id", "problem"),
    [
        ("a/b/c", "a/b/c is neither a directory nor of the form owner/name"),
        ("a b", "a b is neither a directory nor of the form owner/name"),
        (" ", "  is neither a directory nor of the form owner/name"),
        ("a/", "a/ is neither a directory nor of the form owner/name"),
        ("a..b/c", "a..b/c is neither a directory nor of the form owner/name"),
        ("модель", "модель is neither a directory nor of the form owner/name"),
        ("tunix-rt/other", "tunix-rt/other is not among tunix-rt/tiny-qwen3"),
        ("/nowhere/at/all", "there is no directory /nowhere/at/all"),
        ("/etc/passwd", "there is no directory /etc/passwd"),
        ("./nowhere", "there is no directory ./nowhere"),
        ("~nobody-has-this-name/m", "there is no directory ~nobody-has-this-name/m"),
        ("/" + "é" * 255, "there is no directory /" + "é" * 255),
    ],
)
def test_an_implausible_model(api, dataset, model_id, problem):
    outcome = ("Model id is not plausible: ", "Dry-run failed: implausible model id")
    failed(api, outcome, problem, key="arithmetic-v1", model_id=model_id)


def test_a_model_in_a_directory(api, dataset, tmp_path):
    assert launch(api, model_id=str(tmp_path))["status"] == "completed"


def test_the_first_check_that_fails_ends_it(api):
    """Everything is wrong here: dataset, rows and model. The dataset is said, and nothing else."""
    record = launch(api, dataset_key="missing-v1", model_id="a b")
    assert (record["stderr"], record["stdout"]) == ("Dataset not found: missing-v1", "")
    create_dataset_by_hand(data=b"nonsense\n")
    record = launch(api, dataset_key="by-hand-v1", model_id="a b")
    assert record["stderr"].startswith("Dataset export validation failed: line 1")
    assert record["stdout"].splitlines() == [
        "dataset    ok      by-hand-v1, schema 1.0, prompt_response",
        f"manifest   ok      sft, a b to {record['output_dir']}",
    ]


def test_what_is_kept_of_the_output_is_clipped(api):
    """Twenty problems with a model of 256 characters each would not fit; the record takes 10,240 bytes."""
    key = "k" * 200
    create_dataset_by_hand(key, data=b"{}\n" * 1000)
    record = launch(api, dataset_key=key, model_id="m" * 256, output_dir="/".join(["é" * 127] * 4))
    assert len(record["stdout"].encode()) <= 10_240
    assert len(record["stderr"].encode()) <= 10_240


def test_the_same_dry_run_twice_is_two_runs(api, dataset):
    assert launch(api)["run_id"] != launch(api)["run_id"]
    assert TunixRun.objects.count() == 2


def test_started_before_it_ended(api, dataset):
    record = launch(api)
    assert record["created_at"] <= record["completed_at"]
    assert record["started_at"] <= record["completed_at"]
    assert 0 < record["duration_seconds"] < 60
