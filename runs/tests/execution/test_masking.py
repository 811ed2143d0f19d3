"""Secrets in what a trainer writes: whole, in pieces, beside what only looks a little like one."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runs import logs, masking
from runs.execution.stream import Stream
from runs.masking import Mask
from runs.rundir import RunDirectory
from runs.tests.execution.engine import launch, wait_for
from runs.tests.helpers import slowness

HF = b"hf_" + b"aB3dE" * 7
KEYS = [
    HF, b"ghp_" + b"a1" * 18, b"github_pat_" + b"a_1" * 20, b"sk-proj-" + b"x" * 40, b"AKIAIOSFODNN7EXAMPLE",
    b"AIza" + b"A" * 35, b"xoxb-123456789012-abcdefghij", b"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmN",
    b"trt_" + b"0f" * 32,
]  # fmt: skip
VALUE = "correct-horse battery:staple"


def through(chunks, values=()):
    mask = Mask(values)
    return b"".join(mask.feed(chunk) for chunk in chunks) + mask.rest()


@pytest.mark.parametrize("key", KEYS)
def test_a_key_is_masked_to_its_length(key):
    assert through([b"login with " + key + b" now\n"]) == b"login with " + b"*" * len(key) + b" now\n"
    assert through([key]) == b"*" * len(key)


@given(
    st.sampled_from([*KEYS, VALUE.encode()]),
    st.lists(st.integers(1, 9), min_size=1, max_size=40),
    st.binary(max_size=40),
)
def test_a_key_in_pieces_is_masked_all_the_same(key, sizes, before):
    whole, chunks, place = before + b" " + key + b" after\n", [], 0
    while place < len(whole):
        size = sizes[len(chunks) % len(sizes)]
        chunks.append(whole[place : place + size])
        place += size
    assert through(chunks, [VALUE]) == Mask([VALUE]).whole(whole)
    assert key not in through(chunks, [VALUE])


@given(st.lists(st.binary(max_size=300), max_size=30))
def test_nothing_else_is_changed_and_nothing_is_lost(chunks):
    assert len(through(chunks, [VALUE])) == len(b"".join(chunks))
    if not any(beginning in b"".join(chunks) for beginning in masking.SHAPES):
        assert through(chunks) == b"".join(chunks)


@pytest.mark.parametrize(
    "line", [b"step 5 loss 0.5\n", b"hf_transfer is on\n", b"task sk-5\n", b"tokens 512\n", b"shf_" + HF[3:] + b"\n"]
)
def test_what_is_no_secret_stays(line):
    assert through([line]) == line


@pytest.mark.parametrize("line", [b"step 5", b"loss=0.25", b"50%", b"\r 10/100", b"epoch"])
def test_what_cannot_be_a_secret_does_not_wait(line):
    """A progress bar has no line end, and is to be seen at once."""
    assert Mask([VALUE]).feed(line) == line


def test_values_are_found_by_their_names():
    environment = {
        "HF_TOKEN": "a-long-value",
        "WANDB_API_KEY": "another-value",
        "HF_HOME": "/a/directory",
        "X_TOKEN": "short",
        "DJANGO_SECRET_KEY": "a-third-value",
    }
    assert set(masking.values_in(environment)) == {"a-long-value", "another-value", "a-third-value"}


def test_a_command_line_is_masked():
    given = [
        "python",
        "train.py",
        "--token",
        "abc",
        "--api-key=xyz12",
        "--rate",
        "1e-4",
        HF.decode(),
        "--tokenizer=gpt",
    ]
    assert masking.arguments(given) == [
        "python", "train.py", "--token", "***", "--api-key=*****", "--rate", "1e-4", "*" * len(HF), "--tokenizer=gpt",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("python train.py --api-key 12345", "python train.py --api-key *****"),
        ("env MY_TOKEN=abc python train.py", "env MY_TOKEN=*** python train.py"),
        ("python t.py --secret-key='a b'", "python t.py --secret-key=***"),
        ("t --index https://me:pass@host/x", "t --index https://me:****@host/x"),
        ("t --db postgres://u:p%20w@h:5/d -x", "t --db postgres://u:*****@h:5/d -x"),
        ("python 't x.py' {manifest}", "python 't x.py' {manifest}"),
        ("python 'no end --rate 1", "python 'no end --rate 1"),
    ],
)
def test_a_command_that_somebody_wrote_is_masked(written, kept):
    assert masking.command(written) == kept


def test_a_stream_masks_its_file_and_its_excerpt(tmp_path):
    stream = Stream(tmp_path / "log", secrets=[VALUE])
    for chunk in (b"the password is correct-hor", b"se battery:staple, and ", HF[:9], HF[9:]):
        stream.write(chunk)
    stream.close()
    expected = b"the password is " + b"*" * len(VALUE) + b", and " + b"*" * len(HF)
    assert (tmp_path / "log").read_bytes() == expected
    assert stream.head_and_tail()[0] == expected and stream.total == len(expected)


@pytest.mark.parametrize(
    "text", [b"-eyJ" * 16_384, b"-eyJaaaaaaaaaaaa." + b"a-eyJ" * 13_000, b"sk-" * 20_000, b"-xoxb-" * 10_000, b"eyJa." * 13_000]
)  # fmt: skip
def test_a_text_that_is_full_of_beginnings_holds_nobody_up(text):
    """64 KB of it took seven seconds: nobody heard of a cancel meanwhile."""
    began = time.perf_counter()
    Mask([VALUE]).feed(text)
    assert time.perf_counter() - began < 1.0 * slowness()


def test_a_token_with_a_long_head_is_masked():
    token = b"eyJ" + b"a" * 900 + b"." + b"b" * 3_000 + b"." + b"c" * 300
    assert Mask().whole(b"Bearer " + token) == b"Bearer " + b"*" * len(token)


def test_what_a_trainer_prints_of_its_environment_is_masked(engine, monkeypatch):
    """With the real supervisor: neither its own secrets nor ours come out, the one by masking, the other by absence."""
    monkeypatch.setenv("HF_TOKEN", "a-token-of-no-known-shape")
    monkeypatch.setenv("TUNIX_RT_SECRET_KEY", "of-the-tests")
    engine.dispatcher()
    run = wait_for(launch("environment=1"))
    printed = logs.path(run, "stdout").read_text()
    assert "HF_TOKEN=" + "*" * len("a-token-of-no-known-shape") in printed
    for secret in ("TUNIX_RT_SECRET_KEY", "TUNIX_RT_LEASE", "of-the-tests", "DATABASE_URL", "a-token-of"):
        assert secret not in printed
    run.refresh_from_db()
    assert "a-token-of" not in run.stdout + str(run.provenance)


def test_what_a_trainer_says_about_itself_is_masked(engine, monkeypatch):
    """In its trainer.json, which becomes a part of the provenance."""
    monkeypatch.setenv("HF_TOKEN", "a-token-of-no-known-shape")
    engine.dispatcher()
    run = wait_for(launch("facts=1"))
    assert run.provenance["said"] == ["*" * len("a-token-of-no-known-shape"), "*" * len(HF)]
    assert "a-token-of" not in (RunDirectory(run.run_id).record).read_text()
