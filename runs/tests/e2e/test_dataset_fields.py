"""A data set with other fields, from the file to the dataset, in a browser."""

import gzip
import json
import re

import pytest
from playwright.sync_api import expect

from runs import datasets

pytestmark = pytest.mark.django_db(transaction=True)

ALPACA = [
    {"instruction": "Name the capital of the country.", "input": "France", "output": "Paris"},
    {"instruction": "Say hello.", "input": "", "output": "Hello!"},
    {"instruction": "Say nothing.", "input": "", "output": ""},
]
ROWS = gzip.compress(json.dumps(ALPACA, indent=1).encode())


def choose(site, rows):
    file = {"name": "alpaca.json.gz", "mimeType": "application/gzip", "buffer": rows}
    site.get_by_label("File of rows").set_input_files(file)
    site.get_by_role("button", name="Upload").click()


def files(data_dir):
    return [path for path in (data_dir / "datasets").rglob("*") if path.is_file() and "-v1" not in str(path)]


def test_fields_are_chosen_and_rows_left_out(site, data_dir):
    site.goto(f"{site.base}/datasets/")
    site.get_by_label("Name").fill("alpaca")
    choose(site, ROWS)
    expect(site.get_by_role("heading", name="Fields of alpaca-v1")).to_be_visible()
    preview = site.get_by_role("region", name="First rows of alpaca-v1")
    expect(preview).to_contain_text(re.compile(r"Name the capital of the country\.\s+France"))
    expect(preview).to_contain_text("row 3: response is empty")
    site.get_by_label("input", exact=True).select_option("kept as it is")
    expect(preview).not_to_contain_text("France")
    site.get_by_label("output", exact=True).select_option("kept as it is")
    expect(preview).to_contain_text("row 1: response is missing")
    site.get_by_label("output", exact=True).select_option("response")
    expect(preview).to_contain_text("Paris")
    site.get_by_role("button", name="Store").click()
    expect(site.get_by_text("1 of 3 rows cannot be used. Nothing was stored.")).to_be_visible()
    site.get_by_label("Leave out rows that cannot be used").check()
    site.get_by_role("button", name="Store").click()
    expect(site.get_by_text("alpaca-v1 is stored.")).to_be_visible()
    manifest = datasets.get("alpaca-v1").manifest
    assert manifest["row_count"] == 2
    assert manifest["source"]["map"] == "instruction:prompt,output:response"
    assert files(data_dir) == []


def test_a_file_is_discarded(site, data_dir):
    site.goto(f"{site.base}/datasets/")
    site.get_by_label("Name").fill("alpaca")
    choose(site, ROWS)
    site.get_by_role("button", name="Discard the file").click()
    expect(site.get_by_role("heading", name="No datasets yet")).to_be_visible()
    assert files(data_dir) == []
    site.go_back()
    expect(site.get_by_role("heading", name="This upload is gone")).to_be_visible()


def test_from_the_launch_form(site, data_dir):
    site.goto(f"{site.base}/")
    site.get_by_text("Upload another").click()
    site.get_by_label("Name").fill("alpaca")
    choose(site, ROWS)
    site.get_by_role("link", name="Choose its fields").click()
    expect(site.get_by_role("heading", name="Fields of alpaca-v1")).to_be_visible()


def test_other_rows_are_stored_without_those_that_cannot_be_used(site, data_dir):
    rows = b'{"prompt": "a", "response": "b"}\n{"prompt": "a"}\n'
    site.goto(f"{site.base}/datasets/")
    site.get_by_label("Name").fill("pairs")
    choose(site, rows)
    site.get_by_role("link", name="Store the other 1 row").click()
    site.get_by_label("Leave out rows that cannot be used").check()
    site.get_by_role("button", name="Store").click()
    expect(site.get_by_text("pairs-v1 is stored.")).to_be_visible()
