"""POST /api/datasets: rows come in whole or not at all."""

import hashlib
import json
import os
import threading
import time

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from rest_framework.test import APIClient

from runs import datasets
from runs.limits import ROW_PARTS
from runs.tests.helpers import arithmetic_rows, assert_error

pytestmark = pytest.mark.django_db

GOOD = b'{"prompt": "1 + 1 =", "response": "2"}\n'


def upload(api, rows, name="mine", version="v1", content_type="application/x-ndjson"):
    path = f"/api/datasets?dataset_name={name}&dataset_version={version}"
    return api.post(path, rows, content_type=content_type)


def upload_form(api, rows, **fields):
    fields = {"dataset_name": "mine", "dataset_version": "v1", "file": SimpleUploadedFile("x.jsonl", rows)} | fields
    return api.post("/api/datasets", fields, format="multipart")


def stored(data_dir):
    """Every file below the data directory."""
    return sorted(str(path.relative_to(data_dir)) for path in data_dir.rglob("*") if path.is_file())


def refused(api, rows, data_dir, *problems):
    """An upload of `rows` stores nothing and says `problems`."""
    body = assert_error(upload(api, rows), 422)
    assert body["errors"] == {"file": list(problems)}
    assert stored(data_dir) == []
    return body["detail"]


def test_it_works(api, data_dir):
    rows = arithmetic_rows(3)
    answer = upload(api, rows)
    assert answer.status_code == 201
    created_at = answer.json()["created_at"]
    assert created_at.endswith("Z")
    assert answer.json() == {
        "created_at": created_at,
        "dataset_key": "mine-v1",
        "dataset_name": "mine",
        "dataset_version": "v1",
        "dataset_schema_version": "1.0",
        "format": "prompt_response",
        "row_count": 3,
        "bytes": len(rows),
        "sha256": hashlib.sha256(rows).hexdigest(),
        "stats": {
            "prompt_characters": {"min": 7, "median": 7, "mean": 7.0, "max": 7},
            "response_characters": {"min": 1, "median": 1, "mean": 1.0, "max": 1},
        },
    }
    assert stored(data_dir) == ["datasets/mine-v1/data.jsonl", "datasets/mine-v1/manifest.json"]
    assert (data_dir / "datasets/mine-v1/data.jsonl").read_bytes() == rows
    assert json.loads((data_dir / "datasets/mine-v1/manifest.json").read_bytes()) == answer.json()


def test_a_form_works(api, data_dir):
    answer = upload_form(api, GOOD)
    assert (answer.status_code, answer.json()["dataset_key"]) == (201, "mine-v1")
    assert (data_dir / "datasets/mine-v1/data.jsonl").read_bytes() == GOOD


def test_a_form_of_megabytes_works(api, data_dir, settings):
    rows = arithmetic_rows(100_000)
    assert len(rows) > settings.FILE_UPLOAD_MAX_MEMORY_SIZE
    answer = upload_form(api, rows)
    assert (answer.status_code, answer.json()["row_count"]) == (201, 100_000)
    assert stored(data_dir) == ["datasets/mine-v1/data.jsonl", "datasets/mine-v1/manifest.json"]


def test_a_trailing_slash_works_without_a_redirect(api):
    answer = api.post("/api/datasets/?dataset_name=a&dataset_version=b", GOOD, content_type="application/x-ndjson")
    assert answer.status_code == 201


def test_the_sft_form_works(api):
    row = {"id": "1", "prompts": "1 + 1 =", "final_answer": "2", "metadata": {"level": 1}}
    manifest = upload(api, json.dumps(row).encode()).json()
    assert (manifest["format"], manifest["row_count"]) == ("tunix_sft", 1)
    assert set(manifest["stats"]) == {"prompts_characters", "final_answer_characters"}


def test_the_same_content_again_is_200_and_changes_nothing(api, data_dir):
    first = upload(api, GOOD)
    before = (data_dir / "datasets/mine-v1/manifest.json").stat()
    again = upload(api, GOOD)
    assert again.status_code == 200
    assert again.json() == first.json()
    after = (data_dir / "datasets/mine-v1/manifest.json").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert len(stored(data_dir)) == 2


def test_other_content_under_a_taken_key_is_409_and_changes_nothing(api, data_dir):
    upload(api, GOOD)
    answer = upload(api, GOOD * 2)
    detail = "mine-v1 exists with other content. A dataset never changes: choose another version."
    assert_error(answer, 409, detail)
    assert (data_dir / "datasets/mine-v1/data.jsonl").read_bytes() == GOOD
    assert len(stored(data_dir)) == 2


def test_blank_lines_and_a_missing_last_line_end_are_no_rows(api):
    assert upload(api, b"\n" + GOOD + b"  \r\n" + GOOD.replace(b"\n", b"\r\n") + GOOD.rstrip()).json()["row_count"] == 3


def test_characters_are_counted_not_bytes(api):
    rows = "".join(
        json.dumps({"prompt": p, "response": "ß"}, ensure_ascii=False) + "\n" for p in ("é", "éé", "ééé", "é" * 10)
    )
    stats = upload(api, rows.encode()).json()["stats"]
    assert stats["prompt_characters"] == {"min": 1, "median": 2, "mean": 4.0, "max": 10}


PROBLEMS = {
    b"nonsense": "line 2: not JSON: invalid literal, expected 'null' at character 1",
    b'{"prompt": "a"': "line 2: not JSON: unexpected end of data at character 15",
    b'{"prompt": "\xff", "response": "b"}': "line 2: not UTF-8 at byte 13",
    b'{"prompt": "\\ud800", "response": "b"}': "line 2: not JSON: no low surrogate in string at character 13",
    b'{"prompt": NaN, "response": "b"}': "line 2: not JSON: unexpected character, expected a JSON value at character 12",
    b"[]": "line 2: not a JSON object",
    b"null": "line 2: not a JSON object",
    b'"text"': "line 2: not a JSON object",
    b"{}": "line 2: prompt is missing",
    b'{"prompt": "a"}': "line 2: response is missing",
    b'{"response": "a"}': "line 2: prompt is missing",
    b'{"prompt": 5, "response": "a"}': "line 2: prompt is not text",
    b'{"prompt": null, "response": "a"}': "line 2: prompt is not text",
    b'{"prompt": true, "response": "a"}': "line 2: prompt is not text",
    b'{"prompt": ["a"], "response": "a"}': "line 2: prompt is not text",
    b'{"prompt": "a", "response": ""}': "line 2: response is empty",
    b'{"prompt": "a", "response": " \\n"}': "line 2: response is empty",
    b'{"id": "1", "prompts": "a", "final_answer": "b"}': "line 2: prompt is missing",
    b'{"prompt": "a", "response": "b"}{"prompt": "a", "response": "b"}':
        "line 2: not JSON: unexpected content after document at character 33",
}  # fmt: skip


@pytest.mark.parametrize(("line", "problem"), PROBLEMS.items(), ids=range(len(PROBLEMS)))
def test_a_bad_row_is_refused_by_its_line(api, data_dir, line, problem):
    detail = refused(api, GOOD + line + b"\n" + GOOD, data_dir, problem)
    assert detail == "1 of 3 rows cannot be used. Nothing was stored."


SFT = {"id": "1", "prompts": "a", "final_answer": "b", "metadata": {}}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"id": None}, "line 2: id is not text"),
        ({"id": True}, "line 2: id is not text"),
        ({"prompts": ["a"]}, "line 2: prompts is not text"),
        ({"final_answer": ""}, "line 2: final_answer is empty"),
        ({"metadata": []}, "line 2: metadata is not an object"),
        ({"metadata": "x"}, "line 2: metadata is not an object"),
    ],
)
def test_a_bad_row_of_the_sft_form(api, data_dir, change, problem):
    refused(api, json.dumps(SFT).encode() + b"\n" + json.dumps(SFT | change).encode(), data_dir, problem)


@pytest.mark.parametrize("missing", ["id", "final_answer", "prompts"])
def test_the_sft_form_needs_its_fields(api, data_dir, missing):
    row = {name: value for name, value in SFT.items() if name != missing}
    refused(api, json.dumps(SFT).encode() + b"\n" + json.dumps(row).encode(), data_dir, f"line 2: {missing} is missing")


def test_line_numbers_count_blank_lines(api, data_dir):
    refused(api, b"\n\n" + GOOD + b"\n{}\n", data_dir, "line 5: prompt is missing")


def test_twenty_problems_are_told_and_the_rest_counted(api, data_dir):
    problems = [f"line {number}: prompt is missing" for number in range(1, 21)]
    detail = refused(api, b"{}\n" * 25 + GOOD, data_dir, *problems, "and 5 more")
    assert detail == "25 of 26 rows cannot be used. Nothing was stored."


@pytest.mark.parametrize("rows", [b"\n", b" \n\r\n\t\n"])
def test_a_file_without_rows_is_refused(api, data_dir, rows):
    message = "The file has no rows. Nothing was stored."
    assert refused(api, rows, data_dir, message) == message


def test_an_empty_body_and_an_empty_file_are_refused(api, data_dir):
    assert_error(upload(api, b""), 422)
    assert_error(upload_form(api, b""), 422)
    assert stored(data_dir) == []


def test_a_row_has_a_largest_size(api, data_dir):
    room = datasets.MAX_ROW_BYTES - len(b'{"prompt": "a", "response": ""}')
    largest = b'{"prompt": "a", "response": "%s"}' % (b"x" * room)
    assert upload(api, largest + b"\r\n" + largest, version="largest").status_code == 201
    over = largest.replace(b"xx", b"xxx", 1)
    for version, rows in enumerate([over, over + b"\n" + GOOD, over * 5 + b"\n" + GOOD]):
        errors = assert_error(upload(api, rows, version=version), 422)["errors"]
        assert errors == {"file": ["line 1: longer than 1,048,576 bytes"]}


def test_a_row_has_so_many_parts_at_most_and_no_matter_what_its_texts_say(api, data_dir):
    """What is empty takes sixty times the memory of its text, and a page that shows rows reads several."""
    room = b"[]," * ROW_PARTS
    good = b'{"prompt": "[%s]", "response": "1", "scores": [%s0]}' % (room, b"0.5," * (ROW_PARTS - 10))
    assert upload(api, good, version="good").status_code == 201
    for number, parts in enumerate([b"[]," * ROW_PARTS, b"0," * ROW_PARTS, b'{"":1},' * ROW_PARTS]):
        row = b'{"prompt": "1", "response": "1", "more": [%s0]}' % parts
        errors = assert_error(upload(api, row, version=f"v{number}"), 422)["errors"]
        assert errors == {"file": ["line 1: more than 20,000 commas, colons and opening brackets beside its texts"]}


def test_an_upload_has_a_largest_size(api, data_dir, settings):
    settings.MAX_UPLOAD_BYTES = 1000
    assert upload(api, GOOD.ljust(1000), version="v0").status_code == 201
    detail = "A dataset may have 1,000 bytes. Nothing was stored."
    assert_error(upload(api, GOOD.ljust(1001)), 413, detail)
    assert_error(upload_form(api, GOOD.ljust(1001)), 413, detail)
    assert_error(upload(api, GOOD.ljust(2_000_000)), 413, detail)
    assert [name for name in stored(data_dir) if "v0" not in name] == []


KEY_RULE = "must be 1–256 letters, digits, dots, underscores or hyphens, begin with a letter or digit and have no '..'"
BAD_PARTS = [
    "..",
    "../x",
    "a/b",
    "a\\b",
    ".a",
    "-a",
    "_a",
    "a b",
    "a..b",
    "é",
    "a\0",
    "a\n",
    "%2e%2e",
    "a" * 257,
    "~",
    "*",
]


@pytest.mark.parametrize("part", BAD_PARTS)
@pytest.mark.parametrize("name", ["dataset_name", "dataset_version"])
def test_a_bad_name_touches_no_file(api, data_dir, name, part):
    body = assert_error(upload_form(api, GOOD, **{name: part}), 422)
    assert set(body["errors"]) == {name}
    assert stored(data_dir) == []
    assert not (data_dir / "datasets").exists()


def test_the_rule_of_names_is_said(api):
    assert_error(upload(api, GOOD, name=".hidden"), 422, f"dataset_name {KEY_RULE}")


@pytest.mark.parametrize("part", ["a", "0", "A.b_c-D", "v1.0.0-rc1"])
def test_a_good_name(api, part):
    assert upload(api, GOOD, name=part, version=part).json()["dataset_key"] == f"{part}-{part}"


@pytest.mark.parametrize(("name", "version"), [("a" * 200, "b" * 100), ("a" * 256, "b"), ("a" * 250, "b" * 5)])
def test_a_key_that_is_too_long_in_all_is_refused(api, data_dir, name, version):
    assert_error(upload(api, GOOD, name=name, version=version), 422)
    assert stored(data_dir) == []


@pytest.mark.parametrize("missing", ["dataset_name", "dataset_version", "file"])
def test_a_form_needs_its_fields(api, data_dir, missing):
    fields = {"dataset_name": "mine", "dataset_version": "v1", "file": SimpleUploadedFile("x.jsonl", GOOD)}
    del fields[missing]
    body = assert_error(api.post("/api/datasets", fields, format="multipart"), 422, f"{missing} is required")
    assert body["errors"] == {missing: ["is required"]}
    assert stored(data_dir) == []


def test_a_form_may_have_its_names_in_the_address(api):
    file = {"file": SimpleUploadedFile("x.jsonl", GOOD)}
    path = "/api/datasets?dataset_name=mine&dataset_version=v1"
    assert api.post(path, file, format="multipart").status_code == 201


def test_a_name_in_the_address_and_in_the_form_is_refused(api, data_dir):
    fields = {"dataset_name": "other", "dataset_version": "v1", "file": SimpleUploadedFile("x.jsonl", GOOD)}
    answer = api.post("/api/datasets?dataset_name=mine", fields, format="multipart")
    assert_error(answer, 422, "dataset_name is given in the address and in the form")
    assert stored(data_dir) == []


def test_rows_need_a_name_and_a_version(api):
    answer = api.post("/api/datasets", GOOD, content_type="application/x-ndjson")
    assert set(assert_error(answer, 422)["errors"]) == {"dataset_name", "dataset_version"}


def test_a_file_that_is_a_text_is_refused(api):
    assert_error(upload_form(api, GOOD, file="text"), 422, "file is required")


def test_an_unknown_query_parameter_is_refused(api):
    assert_error(upload(api, GOOD, version="v1&name=x"), 422)


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "application/x-www-form-urlencoded", ""])
def test_another_media_type_is_415(api, data_dir, kind):
    assert_error(upload(api, GOOD, content_type=kind), 415)
    assert stored(data_dir) == []


@pytest.mark.parametrize("body", [b"", b"nonsense", b"--X\r\n", b"--X\r\n\r\n", b"--Y--\r\n"])
def test_a_broken_form_is_refused(api, data_dir, body):
    answer = api.post("/api/datasets", body, content_type="multipart/form-data; boundary=X")
    assert answer.status_code in (400, 422)
    assert stored(data_dir) == []


def test_a_form_without_a_boundary_is_refused(api):
    assert_error(api.post("/api/datasets", GOOD, content_type="multipart/form-data"), 400)


def test_the_name_of_the_file_is_of_no_matter(api, data_dir):
    answer = upload_form(api, GOOD, file=SimpleUploadedFile("../../../etc/passwd", GOOD))
    assert answer.status_code == 201
    assert stored(data_dir) == ["datasets/mine-v1/data.jsonl", "datasets/mine-v1/manifest.json"]


# --- at once, and left behind -----------------------------------------------------------------------------------------


def at_once(contents):
    """The status codes of simultaneous uploads under one key."""
    start, codes = threading.Barrier(len(contents)), []

    def send(rows):
        client = APIClient()
        start.wait()
        codes.append(upload(client, rows).status_code)

    threads = [threading.Thread(target=send, args=[rows]) for rows in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(codes)


def test_of_simultaneous_uploads_of_one_content_one_is_new(data_dir):
    assert at_once([arithmetic_rows(500)] * 8) == [200] * 7 + [201]
    assert len(stored(data_dir)) == 2


def test_of_simultaneous_uploads_of_different_contents_one_wins(data_dir):
    contents = [arithmetic_rows(500 + number) for number in range(8)]
    assert at_once(contents) == [201] + [409] * 7
    data = (data_dir / "datasets/mine-v1/data.jsonl").read_bytes()
    assert data in contents
    manifest = json.loads((data_dir / "datasets/mine-v1/manifest.json").read_bytes())
    assert manifest["sha256"] == hashlib.sha256(data).hexdigest()
    assert len(stored(data_dir)) == 2


def test_what_a_dead_upload_left_is_freed_after_a_day(data_dir):
    incoming, forms = data_dir / "datasets" / datasets.INCOMING, data_dir / "tmp"
    for directory in (incoming / "old", incoming / "young"):
        directory.mkdir(parents=True)
        (directory / "data.jsonl").write_bytes(GOOD)
    for name in ("old.upload", "young.upload"):
        (forms / name).write_bytes(GOOD)
    long_ago = time.time() - datasets.INCOMING_LIFETIME_SECONDS - 60
    for path in (incoming / "old", forms / "old.upload"):
        os.utime(path, (long_ago, long_ago))
    assert datasets.remove_stale_uploads() == 2
    assert [path.name for path in incoming.iterdir()] == ["young"]
    assert [path.name for path in forms.iterdir()] == ["young.upload"]


def test_nothing_is_freed_where_nothing_was_uploaded():
    assert datasets.remove_stale_uploads() == 0
