"""A run's log on its pages: lines, what has come since, a search, colours, and whatever a trainer may write."""

import re
import time
from urllib.parse import urlencode

import pytest

from runs import loglines, logs, logsearch, terminal
from runs.logscan import MOST_HITS
from runs.models import TunixRun
from runs.tests.helpers import create_run

pytestmark = pytest.mark.django_db


@pytest.fixture
def run():
    return create_run(mode="local", status="running")


def write(run, data: bytes, stream="stdout"):
    path = logs.path(run, stream)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(data)


def numbered(count, start=1):
    return b"".join(b"line %d\n" % number for number in range(start, start + count))


def texts(page):
    return [(line.number, line.text) for line in page.lines]


def found(run, text, stream="stdout"):
    return [(hit.number, hit.before + hit.found + hit.after) for hit in logsearch.search(run, stream, text).hits]


# --- lines ------------------------------------------------------------------------------------------------------------


def test_the_tail_has_whole_lines_with_their_numbers(run):
    write(run, numbered(20_000))
    page = loglines.tail(run, "stdout")
    assert texts(page)[-1] == (20_000, "line 20000") and page.start > 0
    assert all(text == f"line {number}" for number, text in texts(page))
    assert page.at_end and not page.ended


def test_a_large_log_has_the_same_numbers_in_any_order_and_as_it_grows(run):
    """What was counted once is not counted again: neither may a place be forgotten, nor a line that came since."""
    write(run, numbered(600_000))
    size = logs.size(run, "stdout")
    assert size > 6 * loglines.COUNTED_BYTES
    for offset in (size - 20, 3_000_000, 5_999_999, 1_048_576, 1_048_575, 10, 4_194_304):
        page = loglines.at(run, "stdout", offset)
        assert page.lines and all(text == f"line {number}" for number, text in texts(page))
    write(run, numbered(600_000, start=600_001))
    assert texts(loglines.tail(run, "stdout"))[-1] == (1_200_000, "line 1200000")


def test_every_place_gives_the_same_numbers(run):
    data = numbered(5_000)
    write(run, data)
    for offset in (0, 1, 6, 7, 8, 1000, 30_000, len(data) - 1, len(data), len(data) + 5):
        page = loglines.at(run, "stdout", offset)
        assert all(text == f"line {number}" for number, text in texts(page)), offset
        assert all(data[line.offset :].startswith(line.text.encode() + b"\n") for line in page.lines)


def test_what_has_come_since_goes_on_where_it_ended(run):
    write(run, numbered(3) + b"half a li")
    page = loglines.tail(run, "stdout")
    assert texts(page) == [(1, "line 1"), (2, "line 2"), (3, "line 3")] and page.partial.text == "half a li"
    write(run, b"ne\nline 5\n")
    page = loglines.after(run, "stdout", page.next_offset, page.next_number)
    assert texts(page) == [(4, "half a line"), (5, "line 5")] and page.partial is None
    assert texts(loglines.after(run, "stdout", page.next_offset, page.next_number)) == []


def test_a_reader_that_was_away_gets_the_newest(run):
    write(run, numbered(100_000))
    page = loglines.after(run, "stdout", 0, 1)
    assert texts(page)[-1] == (100_000, "line 100000") and len(page.lines) < 10_000


def test_the_last_line_of_one_that_has_ended_needs_no_line_feed(run):
    write(run, b"one\ntwo")
    run.status = "completed"
    page = loglines.tail(run, "stdout")
    assert texts(page) == [(1, "one"), (2, "two")] and page.ended and page.partial is None


def test_nothing_and_no_file(run):
    assert texts(loglines.tail(run, "stdout")) == [] and found(run, "x") == []
    write(run, b"")
    assert texts(loglines.tail(run, "stdout")) == [] and found(run, "x") == []


def test_a_dry_run_has_its_record(run):
    dry = create_run(stdout="a\nb\n")
    assert texts(loglines.tail(dry, "stdout")) == [(1, "a"), (2, "b")]
    assert found(dry, "B") == [(2, "b")]


def test_search_finds_whatever_the_case_with_numbers(run):
    write(run, numbered(1_000) + b"Loss NaN here\n" + numbered(1_000))
    (hit,) = logsearch.search(run, "stdout", "loss nan").hits
    assert (hit.number, hit.before, hit.found, hit.after) == (1_001, "", "Loss NaN", " here")
    assert len(found(run, "line")) == MOST_HITS
    assert found(run, ".*") == [], "it is a text, not a pattern"
    assert loglines.at(run, "stdout", hit.offset).lines[0].text == "Loss NaN here"


def test_a_line_of_megabytes_is_one_hit_and_short(run):
    write(run, b"x" * 3_000_000 + b"needle" + b"y" * 3_000_000 + b"\nafter\n")
    ((number, text),) = found(run, "NEEDLE")
    assert number == 1 and "needle" in text and len(text) < 1_000
    assert loglines.tail(run, "stdout").lines[-1].text == "after"


@pytest.mark.alone
def test_two_hundred_megabytes_are_no_trouble(run):
    """Against the reading of the file itself, which is what a machine can do."""
    write(run, (b"a line as trainers write them, with a number of characters that is usual\n" * 14_000) * 200)
    write(run, b"the needle\n")
    began = time.monotonic()
    whole = logs.path(run, "stdout").read_bytes()
    reading = time.monotonic() - began
    assert len(whole) > 200e6
    del whole
    for what in (lambda: loglines.tail(run, "stdout"), lambda: found(run, "needle")):
        began = time.monotonic()
        assert what()
        assert time.monotonic() - began < 30 * reading + 0.5
    began = time.monotonic()
    loglines.tail(run, "stdout")
    assert time.monotonic() - began < reading / 2 + 0.05, "its lines were counted before"
    ((number, _),) = found(run, "needle")
    assert number == 14_000 * 200 + 1


# --- a terminal's way with them ---------------------------------------------------------------------------------------


def drawn(text):
    return [(span.css, span.text) for span in terminal.spans(text)]


def test_plain_lines_stay_as_they_are():
    assert drawn("") == [] and drawn("a\tb <b>") == [("", "a\tb <b>")]


def test_colours_and_bold():
    assert drawn("\x1b[31mred\x1b[0m plain \x1b[1;33mwarn\x1b[0m") == [
        ("ansi-red", "red"),
        ("", " plain "),
        ("ansi-yellow ansi-bold", "warn"),
    ]
    assert drawn("\x1b[92mbright\x1b[0m") == [("ansi-green", "bright")]


def test_a_progress_bar_is_at_its_last_state():
    assert drawn("10%|#    |\r50%|###  |\r100%|#####|") == [("", "100%|#####|")]
    assert drawn("abc\rX") == [("", "Xbc")]
    assert drawn("".join(f"\rstep {n}" for n in range(10_000))) == [("", "step 9999")]


@pytest.mark.parametrize(
    "rubbish",
    [
        "\x1b", "\x1b[", "\x1b[999999999C", "\x1b[?31m", "\x1b]0;title\x07text", "\x1b[2J\x1b[H", "\x00\x01\x02",
        "\x1b[38;5;196mx", "\x1b[38;2;1;2;3mx", "a\x08\x08\x08b", "\x1bc", "\x1b[1000000000;1H", "\x9b31m", "é\u0301\r",
        "\x1b[5000@", "\x1b#8", "\x0e\x0f", "\x1b[4h" + "x" * 9_000,
    ],
)  # fmt: skip
def test_whatever_is_written_becomes_text(rubbish):
    began = time.monotonic()
    found = terminal.spans(rubbish)
    assert time.monotonic() - began < 2
    assert all("\x1b" not in span.text for span in found) and sum(len(span.text) for span in found) < 10_000


# --- pages ------------------------------------------------------------------------------------------------------------

RED = b"\x1b[31m<b>bad</b>\x1b[0m\n"


def log_end(page):
    """What an open page says of the log that it has, as htmx sends it."""
    (end,) = re.findall('<li class="log-next".*?</li>', page, re.DOTALL)
    return urlencode(re.findall(r'<input type="hidden" name="(\w+)" value="(\w+)">', end))


def test_the_runs_page_shows_the_end_and_follows(client, run):
    write(run, numbered(3) + RED + b"part")
    page = client.get(f"/runs/{run.run_id}/").content.decode()
    assert '<span class="ansi-red">&lt;b&gt;bad&lt;/b&gt;</span>' in page and "data-follow" in page
    news = f"/runs/{run.run_id}/news/?seen=running&{log_end(page)}"
    assert 'hx-include=".log-next input"' in page
    assert "L4" not in client.get(news).content.decode(), "nothing was written"
    write(run, b"ial\n")
    lines = client.get(news).content.decode()
    assert 'id="L5"' in lines and "partial" in lines and "<html" not in lines
    assert lines.count(f"#log-next-stdout-{len(numbered(3)) + len(RED)}") == 2, (
        "where the page's end is, and nowhere else"
    )
    assert 'id="L' not in client.get(f"/runs/{run.run_id}/news/?seen=running&{log_end(lines)}").content.decode()


def test_the_page_of_a_log_follows_it_until_the_run_ends(client, run):
    write(run, numbered(3))
    page = client.get(f"/runs/{run.run_id}/log/").content.decode()
    news = f"/runs/{run.run_id}/log/news/?"
    assert news.rstrip("?") in page and "every 3s" in page
    assert client.get(news + log_end(page)).status_code == 204
    write(run, b"line 4\nand the la")
    lines = client.get(news + log_end(page)).content.decode()
    assert 'id="L4"' in lines and "and the la" in lines
    write(run, b"st")
    TunixRun.objects.filter(pk=run.pk).update(status="completed", completed_at=run.started_at)
    last = client.get(news + log_end(lines))
    assert last.status_code == 286 and "and the last" in last.content.decode()
    assert "log-next" not in last.content.decode().replace("#log-next", "")
    assert client.get(news).status_code == 286 and client.get(news).content.strip() == b""
    assert "every 3s" not in client.get(f"/runs/{run.run_id}/log/").content.decode()


def test_a_log_that_cannot_be_read_any_more_says_so_where_it_was_followed(client, run):
    write(run, numbered(3))
    end = log_end(client.get(f"/runs/{run.run_id}/").content.decode())
    logs.path(run, "stdout").unlink()
    logs.path(run, "stdout").mkdir()
    for news in (f"/runs/{run.run_id}/news/?{end}", f"/runs/{run.run_id}/log/news/?{end}"):
        answer = client.get(news)
        assert (
            answer.status_code == 200
            and "stdout.log cannot be read: It is a directory, not a file." in answer.content.decode()
        )


@pytest.mark.parametrize("query", ["", "after=0", "stream=stdout", "stream=stdin&after=0", "stream=stdout&after=-1"])
def test_news_for_a_page_that_does_not_say_what_it_has_are_none(client, run, query):
    write(run, b"a line\n")
    assert client.get(f"/runs/{run.run_id}/log/news/?{query}").status_code == 204
    assert "a line" not in client.get(f"/runs/{run.run_id}/news/?{query}").content.decode()


def test_a_page_of_its_own_at_any_place(client, run):
    write(run, numbered(20_000))
    page = client.get(f"/runs/{run.run_id}/log/?stream=stdout&offset=0").content.decode()
    assert "<html" in page and 'id="L1"' in page and "Later lines" in page and "data-follow" not in page
    page = client.get(f"/runs/{run.run_id}/log/").content.decode()
    assert 'id="L20000"' in page and "Earlier lines" in page
    found = client.get(f"/runs/{run.run_id}/log/?find=LINE 777").content.decode()
    assert "<mark>line 777</mark>0" in found and "11 lines" in found
    assert "is not in stdout" in client.get(f"/runs/{run.run_id}/log/?find=nothing-of-it").content.decode()


@pytest.mark.parametrize(
    "query", ["offset=-1", "offset=x", "offset=99999999999999999999", "stream=stdin", "find=%00", "after=1"]
)
def test_rubbish_in_the_address_shows_the_log(client, run, query):
    write(run, b"one\n")
    assert client.get(f"/runs/{run.run_id}/log/?{query}").status_code == 200


def test_the_stream_that_was_written_to_is_shown(client, run):
    write(run, b"only here\n", "stderr")
    assert "only here" in client.get(f"/runs/{run.run_id}/").content.decode()


def test_a_line_longer_than_a_page_is_walked_through(run):
    write(run, b"before\n" + b"x" * 200_000 + b"\nafter\n")
    offset, seen = 0, []
    for _ in range(10):
        page = loglines.at(run, "stdout", offset)
        seen += [line.text[:6] for line in page.lines]
        if page.at_end:
            break
        assert page.next_offset > offset, "each page goes on"
        offset = page.next_offset
    assert seen[0] == "before" and seen[-1] == "after"
