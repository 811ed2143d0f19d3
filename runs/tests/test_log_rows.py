"""What a log's rows show: what was written less the control sequences, and what was drawn over at its last state."""

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.progress import Progress

from runs import loglines, logs, terminal
from runs.logrows import State
from runs.tests.helpers import create_run


def shown(line):
    return "".join(span.text for span in terminal.spans(line))


def screen(text, **options):
    """The rows of a whole output, as text."""
    drawing = terminal.Screen(**options)
    for place, line in enumerate(text.split("\n")):
        if place:
            drawing.line_feed(place)
        drawing.feed(line, place)
    return ["".join(span.text for span in row.spans()) for row in drawing.rows]


# --- nothing is lost --------------------------------------------------------------------------------------------------

ZERO_WIDTH = "\ufe0f\u200d\u200c\u200b\ufeff\u2028\u0301\u20e3\u202e\u00ad"
SEQUENCES = ["\x1b[31m", "\x1b[0m", "\x1b[1;38;5;196m", "\x1b[38;2;1;2;3m", "\x1b]8;;https://a.b\x1b\\", "\x1b]0;title\x07", "\x1b[?25l", "\x1bM", "\x1b(B", "\x07"]  # fmt: skip
PRINTABLE = st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])
TEXT = st.text(st.one_of(PRINTABLE, st.sampled_from(ZERO_WIDTH + "\t中👩█")), max_size=60)


@given(st.lists(st.one_of(TEXT, st.sampled_from(SEQUENCES)), max_size=12))
def test_what_is_shown_is_what_was_written_less_the_sequences(parts):
    written = "".join(part for part in parts if part not in SEQUENCES)
    assert shown("".join(parts)) == written
    assert shown("".join(parts) + "\r") == written, "a line that ends as on Windows"


@given(TEXT, st.lists(st.one_of(TEXT, st.sampled_from(SEQUENCES)), max_size=12))
def test_what_follows_a_carriage_return_is_shown_whole(before, parts):
    """The same, where cells were made because something was drawn over."""
    written = "".join(part for part in parts if part not in SEQUENCES).replace("\t", " ")
    line = before + "\r\x1b[K" + "".join(parts).replace("\t", " ")
    assert shown(line) == written.rstrip(" ")


@given(st.lists(st.one_of(TEXT, st.sampled_from([*SEQUENCES, "\r", "\b", "\n", "\x1b[A", "\x1b[2A", "\x1b[B", "\x1b[K", "\x1b[2K", "\x1b[J", "\x1b[5C", "\x1b[9D", "\x1b[3G", "\x1b[E", "\x1b[F", "\x1b[H", "\x1b["])), max_size=40))  # fmt: skip
def test_whatever_moves_it_is_text_without_controls(parts):
    for open_above in (False, True):
        for row in screen("".join(parts), open_above=open_above):
            assert not terminal.CONTROL.search(row)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "\x1b[33m\u26a0\ufe0f  Warning: loss is NaN at step 40\x1b[0m",
            "\u26a0\ufe0f  Warning: loss is NaN at step 40",
        ),
        ("\r\u2699\ufe0f step 5/10 loss=0.5", "\u2699\ufe0f step 5/10 loss=0.5"),
        ("\x1b[32mINFO\x1b[0m by \U0001f469\u200d\U0001f4bb, saved", "INFO by \U0001f469\u200d\U0001f4bb, saved"),
        (
            "\x1b[32mINFO\x1b[0m \u0646\u0645\u06cc\u200c\u062e\u0648 end",
            "INFO \u0646\u0645\u06cc\u200c\u062e\u0648 end",
        ),
        ("\x1b[32mINFO\x1b[0m a\u2028b\u200bc\ufeffd end", "INFO a\u2028b\u200bc\ufeffd end"),
        ("\x1b[36mINFO\x1b[0m " + "x" * 4041 + " END", "INFO " + "x" * 4041 + " END"),
        ("\ufeff\rstep 1\r\ufeffstep 2", "\ufeffstep 2"),
        ("损失 0.5\r损失 0.25", "损失 0.25"),
        ("损失\ra", "a 失"),
        ("loss 0.5\r损", "损ss 0.5"),
        ("abc\b\bX", "aXc"),
        ("aaaa\tb\rcc\td", "ccaa    d"),
        ("50%|█████     |\r100%|██████████|", "100%|██████████|"),
        ("see \x1b]8;;https://wandb.ai/x\x1b\\this run\x1b]8;;\x1b\\!", "see this run!"),
        ("\x1b]0;no end", "0;no end"),
        ("שלום\rשל", "שלום"),
    ],
)
def test_lines(line, expected):
    assert shown(line) == expected


def test_a_line_of_a_hundred_thousand_is_cut_and_says_so():
    text = shown("\x1b[36mINFO\x1b[0m " + "x" * 100_000)
    assert text.startswith("INFO xxx") and text.endswith("… 50,005 more characters")


@pytest.mark.parametrize(
    ("sequence", "css"),
    [
        ("31", "ansi-red"), ("92", "ansi-green"), ("90", "ansi-grey"), ("38;5;196", "ansi-red"), ("38;5;10", "ansi-green"),
        ("38;5;39", "ansi-cyan"), ("38;2;255;200;0", "ansi-yellow"), ("38:2::20:20:250", "ansi-blue"), ("38;5;240", "ansi-grey"),
        ("38;5;255", ""), ("48;5;196", ""), ("1;2;3;4;35", "ansi-magenta ansi-bold ansi-dim ansi-italic ansi-underline"),
        ("38", ""), ("38;5", ""), ("38;2;1", ""), ("999999", ""), ("", ""), (";;;", ""), ("38;5;99999", ""),
    ],
)  # fmt: skip
def test_colours(sequence, css):
    assert [(span.css, span.text) for span in terminal.spans(f"\x1b[{sequence}mx\x1b[0m")] == [(css, "x")]


# --- what is drawn over -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "rows"),
    [
        ("a\nb\n\x1b[2Ac\n\nd", ["c", "b", "d"]),
        ("a\nb\x1b[A\x1b[2K\rc", ["c", "b"]),
        ("one\ntwo\nthree\x1b[2F\x1b[Jnew", ["new", "", ""]),
        ("a\x1b[9Ab", ["ab"]),
        ("a\x1b[Bb", ["a", " b"]),
    ],
)
def test_moves_up_and_down(written, rows):
    assert screen(written) == rows


def test_a_move_above_what_is_known_loses_nothing():
    assert screen("batch 1\x1b[A\repoch 1\n\rbatch 2\x1b[A\n\rbatch 3", open_above=True) == ["epoch 1", "batch 3"]


def of_rich(lines):
    """rich's own progress, on what it takes for a terminal."""
    file = io.StringIO()
    with Progress(console=Console(file=file, force_terminal=True, width=80), auto_refresh=False) as progress:
        epochs, batches = progress.add_task("epochs", total=3), progress.add_task("batches", total=30)
        for step in range(30):
            progress.update(batches, completed=step + 1)
            progress.update(epochs, completed=(step + 1) // 10)
            if step in lines:
                progress.console.print(f"step {step} loss 0.5")
            progress.refresh()
    return file.getvalue()


def test_richs_progress_is_its_last_state_with_what_was_printed_above():
    rows = [row for row in screen(of_rich({5, 20})) if row.strip()]
    assert [row.split()[0] for row in rows] == ["step", "step", "epochs", "batches"]
    assert all("100%" in row for row in rows[2:])


def nested_bars():
    """What a real tqdm wrote, which is in the trainer's environment only: epochs at position 0, and at position 1 the
    batches of each, with leave=False and a tqdm.write in the middle; at the end "done"."""
    return (Path(__file__).parent / "logs" / "tqdm-nested.txt").read_bytes().decode()


def test_nested_bars_are_one_row_each():
    written = nested_bars()
    assert written.count("\n") > 100
    rows = [row for row in screen(written) if row.strip()]
    assert [row.split()[0] for row in rows] == ["epoch", "epoch", "epoch", "epochs:", "done"]
    assert "100%" in rows[3] and "3/3" in rows[3]


# --- on a page --------------------------------------------------------------------------------------------------------


@pytest.fixture
def run(db):
    return create_run(mode="local", status="running")


def write(run, data):
    path = logs.path(run, "stdout")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(data)


def texts(rows):
    return [(row.number, "".join(span.text for span in row.spans)) for row in rows]


def bar(number, text="batch"):
    return f"\n\r{text} {number}\x1b[A".encode()


def test_rows_have_the_number_of_the_line_that_wrote_them_last(run):
    write(run, b"begin\n\repoch 0" + b"".join(bar(n) for n in range(50)) + b"\repoch 1")
    page = loglines.tail(run, "stdout")
    assert texts(page.rows.settled) == [(1, "begin")]
    assert texts(page.rows.live) == [(52, "epoch 1"), (52, "batch 49")]
    write(run, b"\n\nend\n")
    page = loglines.tail(run, "stdout")
    assert texts(page.rows.settled + page.rows.live)[-1] == (54, "end")


def test_what_is_followed_is_what_a_page_shows_that_is_loaded_anew(run):
    """Whenever it was asked, in the middle of a line as well: with the rows that were drawn long before."""
    written = nested_bars().encode()
    seen, state, offset, number, at = [], None, 0, 1, 0
    for step in (1, 7, 100, 333, 1000, 4_000, 9_000, 20_000, 100_000):
        write(run, written[at : at + step])
        at = min(len(written), at + step)
        page = loglines.after(run, "stdout", offset, number, state)
        seen += texts(page.rows.settled)
        offset, number = page.next_offset, page.next_number
        state = State.parse(str(page.rows.state)) if page.rows.state else None
        whole = loglines.at(run, "stdout", 0, bytes_of=10**6)
        assert [text for _, text in seen + texts(page.rows.live)] == [
            text for _, text in texts(whole.rows.settled + whole.rows.live)
        ]


def test_a_bar_that_changes_rarely_is_at_the_end_of_a_large_log(run):
    write(run, b"\repoch 7" + b"".join(bar(n, "a batch of the training " * 3) for n in range(9_000)))
    assert logs.size(run, "stdout") > 10 * loglines.PAGE_BYTES
    page = loglines.tail(run, "stdout")
    assert [text.split()[0] for _, text in texts(page.rows.live)] == ["epoch", "a"]
    assert len(page.rows.settled) == 0


@pytest.mark.parametrize("rubbish", ["", "x", "1", "99-99", "1-1-1.1", "2-1-1.1.1-", "-1-2", "1-1" + "-1.1.1" * 51])
def test_a_state_that_is_none(rubbish):
    assert State.parse(rubbish) is None or rubbish == "99-99"


def test_a_state_that_lies_costs_nothing(run, client):
    write(run, b"one\ntwo\n")
    for state in ("50-49-1.0.0-2.4.49", "99-0-999999999999.999999999999999.99", "1-0"):
        query = f"stream=stdout&after=4&line=2&drawn={state}"
        assert client.get(f"/runs/{run.run_id}/log/news/?{query}").status_code == 200


def test_each_line_as_it_was_written(run, client):
    """What a search finds in the middle of a bar is shown where its link leads."""
    write(run, b"begin\n\repoch 0" + b"".join(bar(n) for n in range(50)) + b"\n\nend\n")
    page = client.get(f"/runs/{run.run_id}/log/").content.decode()
    assert 'id="L20"' not in page and "50 lines drawn over" in page
    hit = client.get(f"/runs/{run.run_id}/log/?find=batch 17").content.decode()
    (link,) = [part.split('"')[0] for part in hit.split('href="') if "offset=" in part.split('"')[0] and "#L" in part]
    address, _, anchor = link.replace("&amp;", "&").partition("#")
    page = client.get(address).content.decode()
    assert f'id="{anchor}"' in page and "batch 17" in page and "As a terminal shows it" in page


def test_pieces_of_a_line_without_end_lose_nothing(run):
    text = "中文\x1b[31mx👩‍💻é" * 12_000
    write(run, text.encode() + b"\nafter\n")
    offset, seen = 0, ""
    while True:
        page = loglines.at(run, "stdout", offset, in_line=offset > 0)
        seen += "".join(text for _, text in texts(page.rows.settled + page.rows.live))
        if page.at_end:
            break
        assert page.next_offset > offset
        offset = page.next_offset
    assert seen == terminal.plain(text) + "after"
