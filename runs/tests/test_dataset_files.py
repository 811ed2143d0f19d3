"""Files as people have them: what is accepted, what is refused by name, and how fields are renamed."""

import bz2
import gzip
import hashlib
import json
import lzma
import zlib

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from hypothesis import given
from hypothesis import strategies as st

from runs import datasets
from runs.datasets.errors import UploadRefused
from runs.datasets.files import json_lines
from runs.tests.helpers import arithmetic_rows, assert_error

pytestmark = pytest.mark.django_db

ROWS = [{"prompt": "What is 2+2?", "response": "4"}, {"prompt": "Capital of France?", "response": "Paris"}]
LINES = b"".join(json.dumps(row).encode() + b"\n" for row in ROWS)
ARRAY = json.dumps(ROWS, indent=2).encode()


def upload(api, rows, query="", version="v1", content_type="application/x-ndjson"):
    path = f"/api/datasets?dataset_name=mine&dataset_version={version}{query}"
    return api.post(path, rows, content_type=content_type)


def stored_rows(data_dir, key="mine-v1"):
    data = (data_dir / f"datasets/{key}/data.jsonl").read_bytes()
    return [json.loads(line) for line in data.splitlines()]


def files(data_dir):
    return sorted(str(path.relative_to(data_dir)) for path in data_dir.rglob("*") if path.is_file())


def refused(api, data_dir, rows, query=""):
    answer = upload(api, rows, query)
    body = assert_error(answer, 422)
    assert files(data_dir) == []
    return body["detail"]


# --- what is accepted -------------------------------------------------------------------------------------------------

ACCEPTED = {
    "byte order mark": (b"\xef\xbb\xbf" + LINES, ["byte order mark"]),
    "gzip": (gzip.compress(LINES), ["gzip"]),
    "gzip of several members": (gzip.compress(LINES[:50]) + gzip.compress(LINES[50:]), ["gzip"]),
    "gzip with padding": (gzip.compress(LINES) + bytes(512), ["gzip"]),
    "array": (ARRAY, ["array"]),
    "array on one line": (json.dumps(ROWS).encode(), ["array"]),
    "array after blanks": (b"\r\n  " + ARRAY + b"\r\n", ["array"]),
    "gzip of an array with a byte order mark": (
        gzip.compress(b"\xef\xbb\xbf" + ARRAY),
        ["gzip", "byte order mark", "array"],
    ),
}


@pytest.mark.parametrize(("rows", "forms"), ACCEPTED.values(), ids=ACCEPTED)
def test_accepted(api, data_dir, rows, forms):
    answer = upload(api, rows)
    assert answer.status_code == 201, answer.json()
    manifest = answer.json()
    assert stored_rows(data_dir) == ROWS
    data = (data_dir / "datasets/mine-v1/data.jsonl").read_bytes()
    assert (manifest["sha256"], manifest["bytes"]) == (hashlib.sha256(data).hexdigest(), len(data))
    assert manifest["source"] == {
        "bytes": len(rows),
        "sha256": hashlib.sha256(rows).hexdigest(),
        "forms": forms,
        "map": "",
        "rows_left_out": 0,
    }
    assert files(data_dir) == ["datasets/mine-v1/data.jsonl", "datasets/mine-v1/manifest.json"]


def test_the_same_rows_in_another_file_are_the_same_dataset(api):
    assert upload(api, LINES).status_code == 201
    assert upload(api, gzip.compress(LINES)).status_code == 200


def test_what_is_stored_as_it_came_has_no_source(api):
    assert "source" not in upload(api, LINES).json()


def test_gzip_has_a_media_type_of_its_own_and_comes_in_a_form(api, data_dir):
    rows = gzip.compress(LINES)
    assert upload(api, rows, content_type="application/gzip").status_code == 201
    file = SimpleUploadedFile("x.jsonl.gz", rows)
    fields = {"dataset_name": "mine", "dataset_version": "v2", "file": file}
    assert api.post("/api/datasets", fields, format="multipart").status_code == 201
    assert stored_rows(data_dir, "mine-v2") == ROWS


def test_a_row_of_an_array_is_refused_by_its_number(api, data_dir):
    body = assert_error(upload(api, b'[{"prompt": "1", "response": "2"},\n\n 5]'), 422)
    assert body["errors"] == {"file": ["row 2: not a JSON object"]}


# --- a compressed file, and what it may cost --------------------------------------------------------------------------


def test_what_is_compressed_is_bounded_by_what_it_becomes(api, data_dir, settings):
    settings.MAX_UPLOAD_BYTES = 1_000_000
    bomb = gzip.compress(b" " * 100_000_000)
    assert len(bomb) < 200_000
    assert_error(upload(api, bomb), 413, "A dataset may have 1,000,000 bytes. Nothing was stored.")
    assert files(data_dir) == []


def test_gzip_that_is_cut_or_damaged(api, data_dir):
    whole = gzip.compress(arithmetic_rows(1000))
    early = "The gzip file ends early: a part of it is missing. Nothing was stored."
    assert refused(api, data_dir, whole[: len(whole) // 2]) == early
    assert refused(api, data_dir, whole[:-4]) == early
    assert refused(api, data_dir, whole[:5]) == early
    damaged = whole[:-8] + bytes(4) + whole[-4:]
    assert refused(api, data_dir, damaged).startswith("The gzip file is damaged: CRC check failed")
    assert refused(api, data_dir, whole + b"more").startswith("The gzip file is damaged: Not a gzipped file")
    assert refused(api, data_dir, gzip.compress(whole)) == "The file is compressed twice. Nothing was stored."


# --- what is refused by name ------------------------------------------------------------------------------------------

CSV = b"prompt,response\nWhat is 2+2?,4\n"
NAMED = {
    "CSV": CSV,
    "CSV with quotes": b'"prompt","response"\n"What is 2+2?","4"\n',
    "CSV with a byte order mark": b"\xef\xbb\xbf" + CSV,
    "CSV with semicolons": CSV.replace(b",", b";"),
    "tab-separated text": CSV.replace(b",", b"\t"),
    "Parquet": b"PAR1\x15\x04\x15\x10",
    "Apache Arrow": b"ARROW1\x00\x00\xff\xff\xff\xff",
    "an Apache Arrow stream": b"\xff\xff\xff\xff\x10\x00\x00\x00",
    "UTF-16 text": LINES.decode().encode("utf-16"),
    "UTF-16 text without a byte order mark": LINES.decode().encode("utf-16-le"),
    "UTF-16 text, the other way round": LINES.decode().encode("utf-16-be"),
    "UTF-32 text": LINES.decode().encode("utf-32"),
    "a zip archive or a spreadsheet": b"PK\x03\x04\x14\x00\x06\x00",
    "compressed with zstd": b"\x28\xb5\x2f\xfd\x04\x00",
    "compressed with bzip2": bz2.compress(LINES),
    "compressed with xz": lzma.compress(LINES),
    "an SQLite database": b"SQLite format 3\x00",
    "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n",
    "HTML or XML": b"\n<!doctype html><title>Sign in</title>",
    "JSON over several lines": json.dumps(ROWS[0], indent=1).encode(),
}


@pytest.mark.parametrize(("name", "rows"), NAMED.items(), ids=NAMED)
@pytest.mark.parametrize("packed", [False, True])
def test_another_format_is_refused_by_its_name(api, data_dir, name, rows, packed):
    sentence = refused(api, data_dir, gzip.compress(rows) if packed else rows)
    assert sentence.startswith(
        f"The file is {name.split(' with a ')[0].split(' with quotes')[0].split(' without')[0].split(', the')[0]}"
    )
    assert sentence.endswith(". Nothing was stored.")


BROKEN_ARRAYS = {
    b'[{"prompt": "1", "response": "2"}': "The JSON array ends early: its closing bracket is missing. Nothing was stored.",
    b'[{"prompt": "1", "response': "The JSON array ends early: its closing bracket is missing. Nothing was stored.",
    b"[": "The JSON array ends early: its closing bracket is missing. Nothing was stored.",
    b"[]": "The file has no rows. Nothing was stored.",
    b"[{}][{}]": "There is more after the end of the JSON array. Nothing was stored.",
    b"[{}] x": "There is more after the end of the JSON array. Nothing was stored.",
    b"[{},]": "row 2: nothing between two commas of the JSON array. Nothing was stored.",
    b"[,{}]": "row 1: nothing between two commas of the JSON array. Nothing was stored.",
    b'[{"prompt": "a\nb", "response": "2"}]': "row 1: not JSON: a line break within a text. Nothing was stored.",
    b'[{"a": "%s"}]' % (b"x" * 1024 * 1024): "1 of 1 rows cannot be used. Nothing was stored.",
    b"[%s" % (b"[1]" * 1024 * 1024): "row 1: longer than 1,048,576 bytes. Nothing was stored.",
    b"[" * 100_000 + b"]" * 100_000: "1 of 1 rows cannot be used. Nothing was stored.",
}


@pytest.mark.parametrize(("rows", "sentence"), BROKEN_ARRAYS.items(), ids=range(len(BROKEN_ARRAYS)))
def test_an_array_that_is_none(api, data_dir, rows, sentence):
    assert refused(api, data_dir, rows) == sentence


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda each: st.lists(each, max_size=4) | st.dictionaries(st.text(), each, max_size=4),
    max_leaves=20,
)


@given(st.lists(JSON, min_size=1), st.sampled_from([None, 1, "\r\n"]), st.booleans(), st.integers(1, 40))
def test_an_array_in_any_pieces_is_its_elements(values, indent, ascii_only, size):
    text = json.dumps(values, indent=indent if indent != "\r\n" else 1, ensure_ascii=ascii_only)
    data = text.replace("\n", "\r\n" if indent == "\r\n" else "\n").encode("utf-8", "surrogatepass")
    found = b"".join(json_lines(data[at : at + size] for at in range(0, len(data), size)).chunks)
    assert [json.loads(line) for line in found.splitlines()] == values


@given(st.binary(max_size=300) | st.binary(max_size=300).map(lambda data: b"[" + data), st.integers(1, 40))
def test_rubbish_is_refused_or_handed_on_and_nothing_else(data, size):
    try:
        b"".join(json_lines(data[at : at + size] for at in range(0, len(data), size)).chunks)
    except UploadRefused:
        return


@given(st.binary(max_size=300))
def test_rubbish_that_is_compressed(data):
    packed = zlib.compressobj(wbits=31)
    whole = packed.compress(data) + packed.flush()
    for rows in (whole, whole[:-1], b"\x1f\x8b" + data):
        try:
            b"".join(json_lines([rows]).chunks)
        except UploadRefused:
            continue


# --- names twice ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "row",
    [
        b'{"prompt": "1", "prompt": "2", "response": "3"}',
        b'{"prompt": "1", "response": "3", "p\\u0072ompt": "2"}',
        b'{"prompt": "1", "response": "3", "more": [{"prompt": 1, "prompt": 2}]}',
    ],
)
def test_a_name_twice_in_a_row_is_refused(api, data_dir, row):
    body = assert_error(upload(api, LINES + row), 422)
    assert body["errors"] == {"file": ["line 3: has 'prompt' twice in one object"]}


def test_colons_in_texts_are_no_names(api):
    row = {"prompt": '": {"a": 1', "response": "\\\":':", "metadata": {"a": [{"b": {}}, {"b": ":"}]}}
    assert upload(api, json.dumps(row).encode()).status_code == 201


# --- fields of other names --------------------------------------------------------------------------------------------

GSM8K = {"question": "What is 2+2?", "answer": "2+2=<<2+2=4>>4\n#### 4"}
ALPACA = {"instruction": "Add.", "input": "2, 2", "output": "4"}
OTHERS = {
    "GSM8K": (GSM8K, "question:prompt,answer:response", {"prompt": GSM8K["question"], "response": GSM8K["answer"]}),
    "Alpaca": (
        ALPACA,
        "instruction:prompt,input:prompt,output:response",
        {"prompt": "Add.\n\n2, 2", "response": "4"},
    ),
    "Alpaca without an input": (
        ALPACA | {"input": ""},
        "instruction:prompt,input:prompt,output:response",
        {"prompt": "Add.", "response": "4"},
    ),
    "prompt and completion": (
        {"prompt": "2+2?", "completion": "4", "level": 1},
        "completion:response",
        {"response": "4", "prompt": "2+2?", "level": 1},
    ),
}


@pytest.mark.parametrize(("row", "mapping", "stored"), OTHERS.values(), ids=OTHERS)
def test_fields_of_other_names_are_named_and_a_mapping_is_offered(api, data_dir, row, mapping, stored):
    rows = json.dumps(row).encode() + b"\n"
    names = ", ".join(repr(name) for name in row)
    assert refused(api, data_dir, rows) == (
        f"The rows have the fields {names}; a row needs prompt and response, or id and prompts and final_answer. "
        f"Their fields are renamed with map={mapping}. Nothing was stored."
    )
    shown = api.post("/api/datasets/preview", rows * 9, content_type="application/x-ndjson")
    assert shown.status_code == 200
    assert shown.json() == {
        "forms": [],
        "fields": list(row),
        "map": mapping,
        "rows": [{"row": stored, "problem": ""}] * 5,
    }
    assert files(data_dir) == []
    answer = upload(api, rows, f"&map={mapping}")
    assert answer.status_code == 201, answer.json()
    assert stored_rows(data_dir) == [stored]
    assert answer.json()["source"]["map"] == mapping
    assert answer.json()["format"] == "prompt_response"


def test_fields_whose_names_do_not_tell(api, data_dir):
    sentence = refused(api, data_dir, b'{"messages": [], "split": "train"}\n')
    assert sentence == (
        "The rows have the fields 'messages', 'split'; a row needs prompt and response, or id and prompts and "
        "final_answer. Nothing was stored."
    )


def test_only_the_head_is_looked_at_where_nothing_can_be_used(api, data_dir, settings):
    settings.MAX_UPLOAD_ROWS = 2_000
    assert refused(api, data_dir, b'{"a": 1, "b": 2}\n' * 5_000).startswith("The rows have the fields 'a', 'b'")


BAD_MAPS = {
    "question": "map has the form field:prompt,field:response",
    ":prompt": "map has the form field:prompt,field:response",
    "question:reply": "map sends 'question' to 'reply'; known are prompt, response",
    "question:prompt,question:response": "map names 'question' twice",
    ",".join(f"f{n}:prompt" for n in range(51)): "map may name 50 fields",
}


@pytest.mark.parametrize(("mapping", "sentence"), BAD_MAPS.items(), ids=range(len(BAD_MAPS)))
def test_a_mapping_that_is_none(api, data_dir, mapping, sentence):
    for path in ("/api/datasets?dataset_name=mine&dataset_version=v1&", "/api/datasets/preview?"):
        answer = api.post(f"{path}map={mapping}", LINES, content_type="application/x-ndjson")
        assert assert_error(answer, 422, sentence)["errors"].keys() == {"map"}
    assert files(data_dir) == []


@pytest.mark.parametrize(
    ("row", "mapping", "problem"),
    [
        ({"q": "1"}, "q:prompt,a:response", "line 1: a is missing"),
        ({"q": "1", "a": ["2"]}, "q:prompt,a:response", "line 1: a is not text"),
        ({"q": "1", "a": True}, "q:prompt,a:response", "line 1: a is not text"),
        ({"q": "1", "a": ""}, "q:prompt,a:response", "line 1: response is empty"),
        (
            {"q": "1", "prompt": "2", "response": "3"},
            "q:prompt",
            "line 1: prompt is there already, beside q which is mapped to it",
        ),
    ],
)
def test_a_row_that_a_mapping_does_not_fit(api, data_dir, row, mapping, problem):
    body = assert_error(upload(api, json.dumps(row).encode(), f"&map={mapping}"), 422)
    assert body["errors"] == {"file": [problem]}
    assert files(data_dir) == []


def test_a_number_is_an_answer(api, data_dir):
    assert upload(api, b'{"q": "2 + 2", "a": 4}\n{"q": "1/2", "a": 0.5}', "&map=q:prompt,a:response").status_code == 201
    assert [row["response"] for row in stored_rows(data_dir)] == ["4", "0.5"]


# --- rows that are left out -------------------------------------------------------------------------------------------


def test_rows_that_cannot_be_used_are_left_out_where_it_is_asked(api, data_dir):
    rows = LINES + b'{"prompt": "a", "response": ""}\nnonsense\n' + LINES
    assert upload(api, rows).status_code == 422
    answer = upload(api, rows, "&skip_invalid=true")
    assert answer.status_code == 201
    assert (answer.json()["row_count"], answer.json()["source"]["rows_left_out"]) == (4, 2)
    assert stored_rows(data_dir) == ROWS * 2
    assert_error(upload(api, b"nonsense\n" * 3, "&skip_invalid=true", "v2"), 422)
    assert_error(upload(api, rows, "&skip_invalid=yes", "v3"), 422, "skip_invalid must be true or false")


# --- a preview --------------------------------------------------------------------------------------------------------


def test_a_preview_of_a_file_that_is_cut_and_of_one_with_a_bad_row(api, data_dir):
    rows = gzip.compress(ARRAY[:-1] + b", 5, 6]")
    shown = api.post("/api/datasets/preview", rows, content_type="application/gzip").json()
    assert (shown["forms"], shown["fields"], shown["map"]) == (["gzip", "array"], ["prompt", "response"], "")
    assert shown["rows"] == [
        *({"row": row, "problem": ""} for row in ROWS),
        {"row": None, "problem": "row 3: not a JSON object"},
        {"row": None, "problem": "row 4: not a JSON object"},
    ]
    assert_error(api.post("/api/datasets/preview", CSV, content_type="application/x-ndjson"), 422)


def test_the_command_renames_and_leaves_out(data_dir, tmp_path, capsys):
    from django.core.management import CommandError, call_command

    path = tmp_path / "gsm8k.jsonl"
    path.write_bytes(json.dumps(GSM8K).encode() + b"\nnonsense\n")
    given = ["--name", "mine", "--version", "v1", "--map", "question:prompt,answer:response"]
    with pytest.raises(CommandError, match="1 of 2 rows cannot be used"):
        call_command("add_dataset", path, *given)
    call_command("add_dataset", path, *given, "--skip-invalid")
    assert datasets.get("mine-v1").manifest["row_count"] == 1
