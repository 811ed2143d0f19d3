"""Checkpoints: listed when committed, downloaded as an archive, taken over by a run that resumes."""

import io
import math
import tarfile

import pytest

from runs import checkpoints, metrics
from runs.rundir import RunDirectory
from runs.tests.helpers import assert_error, create_checkpoint, create_run

pytestmark = pytest.mark.django_db


def run_with(*steps, **fields):
    run = create_run(**{"mode": "local", "status": "completed", "output_dir": "./output"} | fields)
    for step in steps:
        create_checkpoint(run, step)
    return run


def place(checkpoint):
    return checkpoint.directory / checkpoint.path


def content(directory):
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_it_works(api):
    run = run_with(80, 9)
    metrics.append(run.pk, {"train/loss": [(step, 1 / step, 1e9) for step in range(1, 81)], "system/x": [(9, 1, 1e9)]})
    answer = api.get(f"/api/tunix/runs/{run.run_id}/checkpoints")
    assert answer.status_code == 200
    found = answer.json()["data"]
    assert [(each["step"], each["bytes"]) for each in found] == [(9, 9 * 256 + 2), (80, 80 * 256 + 2)]
    assert found[0]["time"].endswith("Z")
    assert [each["metrics"] for each in found] == [{"train/loss": 1 / 9}, {"train/loss": 1 / 80}]
    metrics.append(run.pk, {"a": [(80, math.nan, 1e9)], "b": [(80, -math.inf, 1e9)]})
    last = api.get(f"/api/tunix/runs/{run.run_id}/checkpoints").json()["data"][1]
    assert last["metrics"] == {"train/loss": 1 / 80, "a": None, "b": None} and last["infinite"] == {"b": "-Infinity"}


def test_what_is_not_committed_is_no_checkpoint(api):
    run = run_with(5)
    create_checkpoint(run, 10, committed=False)
    root = create_checkpoint(run, 15).parent
    (root / "15").rename(root / "15.orbax-checkpoint-tmp")
    (root / "notes.txt").touch()
    assert [each.step for each in checkpoints.of(run)] == [5]
    assert checkpoints.last(run).step == 5


@pytest.mark.parametrize("fields", [{}, {"output_dir": "./nowhere"}, {"output_dir": ""}])
def test_a_run_without_checkpoints_has_none(api, fields):
    assert api.get(f"/api/tunix/runs/{run_with(**fields).run_id}/checkpoints").json() == {"data": []}


def test_an_output_directory_that_leads_out_has_none(tmp_path):
    source, run = run_with(5), run_with()
    directory = RunDirectory(run.run_id).path
    directory.mkdir(parents=True)
    (directory / "output").symlink_to(RunDirectory(source.run_id).path / "output")
    assert checkpoints.of(run) == []


def test_a_download_is_the_checkpoint(api):
    run = run_with(40)
    directory = create_checkpoint(run, 41)
    (directory / ("long" * 30)).write_bytes(b"x" * 513)
    answer = api.get(f"/api/tunix/runs/{run.run_id}/checkpoints/41/download")
    archive = b"".join(answer.streaming_content)
    assert answer.headers["Content-Length"] == str(len(archive))
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{run.short_id}-step-41.tar"'
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        found = {each.name: tar.extractfile(each).read() for each in tar}
    assert found == {f"{run.short_id}-step-41/{name}": data for name, data in content(directory).items()}


@pytest.mark.parametrize("step", ["41", "-1", "x", "1e3", "99999999999999999999", "..", "40.linking"])
def test_a_download_of_none(api, step):
    answer = api.get(f"/api/tunix/runs/{run_with(40).run_id}/checkpoints/{step}/download")
    assert_error(answer, 404, f"Checkpoint not found: {step}")


def test_a_linked_checkpoint_costs_nothing_and_survives_its_source():
    source, run = run_with(40), run_with()
    before = content(place(checkpoints.last(source)))
    checkpoints.link(checkpoints.last(source), run)
    checkpoints.link(checkpoints.last(source), run)  # as after a supervisor that died right here
    taken = checkpoints.last(run)
    assert (taken.step, content(place(taken))) == (40, before)
    names = [path for path in place(taken).rglob("*") if path.is_file()]
    assert {path.stat().st_nlink for path in names} == {2}
    for path in place(checkpoints.last(source)).rglob("*"):
        if path.is_file():
            path.unlink()
    assert content(place(checkpoints.last(run))) == before


def test_half_a_link_is_begun_anew():
    source, run = run_with(40), run_with()
    half = create_checkpoint(run, 40)
    half.rename(half.with_name("40.linking"))
    checkpoints.link(checkpoints.last(source), run)
    assert content(place(checkpoints.last(run))) == content(place(checkpoints.last(source)))
