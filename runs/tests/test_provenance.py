"""Where a result comes from, what has changed since, and whether a repeat is the same."""

import hashlib
import math
import os
import subprocess

import pytest

from runs import metrics, provenance
from runs.provenance import Change, Difference
from runs.tests.helpers import create_run, executable

pytestmark = pytest.mark.django_db


@pytest.fixture
def repository(tmp_path):
    """A git repository with one committed script."""
    root = tmp_path / "code"
    root.mkdir()
    (root / "train.py").write_text("print(1)\n")
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "-c", "user.name=n", "-c", "user.email=e@example.org", "commit", "-qm", "first")
    return root


def git(root, *arguments):
    done = subprocess.run(["git", "-C", root, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def code_of(root):
    return provenance.code_of(["/usr/bin/python3", str(root / "train.py"), "--lr", "1"])


def test_the_code_is_that_of_the_script(repository):
    code = code_of(repository)
    assert code.commit == git(repository, "rev-parse", "HEAD")
    assert (code.repository, code.dirty, code.patch, code.patch_sha256) == (str(repository), False, b"", None)


def test_what_is_not_committed_is_kept_as_a_patch(repository):
    (repository / "train.py").write_text("print(2)\n")
    code = code_of(repository)
    assert code.dirty and b"+print(2)" in code.patch
    assert code.patch_sha256 == hashlib.sha256(code.patch).hexdigest()


def test_a_file_that_git_does_not_know_makes_it_dirty(repository):
    (repository / "new.py").touch()
    assert code_of(repository).dirty


def test_no_repository_is_no_code(tmp_path):
    (tmp_path / "train.py").touch()
    assert code_of(tmp_path) is None
    assert provenance.code_of(["python3", "-c", "1"]) is None


def test_a_repository_that_a_run_made_is_not_asked(data_dir, tmp_path):
    """Its configuration says what git executes."""
    made = data_dir / "runs" / "x"
    made.mkdir(parents=True)
    git(made, "init", "-q")
    (made / "manifest.yaml").touch()
    assert provenance.code_of(["python3", str(made / "manifest.yaml")]) is None


def test_no_repository_executes_anything_with_our_secrets(repository, tmp_path, monkeypatch):
    monkeypatch.setenv("TUNIX_RT_SECRET_KEY", "of-the-tests")
    for name in ("monitor", "filter"):
        executable(tmp_path / name, f"env > {tmp_path / name}.said\ncat")
    git(repository, "config", "core.fsmonitor", str(tmp_path / "monitor"))
    git(repository, "config", "filter.f.clean", str(tmp_path / "filter"))
    (repository / ".git" / "info" / "attributes").write_text("*.py filter=f\n")
    (repository / "train.py").write_text("print(2)\n")
    assert code_of(repository).dirty
    assert not (tmp_path / "monitor.said").exists()
    assert "of-the-tests" not in (tmp_path / "filter.said").read_text()


def test_a_key_in_what_is_not_committed_is_masked(repository):
    key = "hf_" + "a1" * 16
    (repository / "train.py").write_text(f"login('{key}')\n")
    assert b"+login('" + b"*" * len(key) + b"')" in code_of(repository).patch


def recorded(dataset, **fields):
    collected = provenance.collect(["python3", "x"], ["PATH"], dataset.key) | fields
    return create_run(mode="local", status="completed", provenance=collected)


def test_nothing_has_changed(dataset):
    assert provenance.changes_since(recorded(dataset)) == []


def test_a_run_that_recorded_nothing_cannot_be_compared():
    assert provenance.changes_since(create_run()) == []


def test_what_has_changed_is_named(dataset, settings, repository):
    before = provenance.code_of(["python3", str(repository / "train.py")]).as_dict()
    run = recorded(dataset, arguments=["python3", str(repository / "train.py")], code=before, versions={"jax": "0.1"})
    (repository / "train.py").write_text("print(3)\n")
    settings.TUNIX_COMMAND = "python3 other.py"
    run.provenance["dataset"]["sha256"] = "0" * 64
    found = {change.name: change for change in provenance.changes_since(run)}
    assert set(found) == {"dataset.sha256", "code.dirty", "code.patch_sha256", "command", "versions.jax"}
    assert found["dataset.sha256"] == Change("dataset.sha256", "0" * 64, dataset.manifest["sha256"])
    assert found["code.dirty"] == Change("code.dirty", False, True)
    assert found["versions.jax"] == Change("versions.jax", "0.1", None)


def test_a_dataset_that_is_gone_has_changed(dataset):
    run = recorded(dataset)
    run.dataset_key = "gone-v1"
    assert [change.now for change in provenance.changes_since(run)] == [None]


def test_the_document_holds_all_that_a_repeat_needs(api, dataset):
    run = recorded(dataset)
    document = api.get(f"/api/tunix/runs/{run.run_id}/provenance").json()
    assert document["config"] == run.config and document["model_id"] == run.model_id
    assert document["provenance"]["dataset"]["sha256"] == dataset.manifest["sha256"]
    assert document["provenance"]["environment"] == ["PATH"]
    assert document["provenance"]["host"]["name"] == os.uname().nodename
    assert document["priority"] == "normal"


# --- is a repeat the same? --------------------------------------------------------------------------------------------


def trained(**series):
    run = create_run(mode="local", status="completed")
    metrics.append(
        run.pk, {name: [(s, v, 1e9 + run.pk.int % 97) for s, v in points] for name, points in series.items()}
    )
    return run


def compared(one, two):
    return provenance.same_metrics(two, one)


def test_the_same_to_the_last_digit():
    points = [(1, 0.1), (2, 0.1 + 0.2), (3, math.nan)]
    found = compared(trained(loss=points, **{"perf/s": [(1, 1)]}), trained(loss=points, **{"perf/s": [(1, 2)]}))
    assert found.same and (found.compared, found.points) == (1, 3)


@pytest.mark.parametrize(
    ("two", "first"),
    [
        ({"loss": [(1, 0.1), (2, 0.3)]}, Difference("loss", 2, 0.1 + 0.2, 0.3)),
        ({"loss": [(1, 0.1)]}, Difference("loss", 2, 0.1 + 0.2, None)),
        ({"loss": [(1, 0.1), (2, 0.1 + 0.2), (3, 1.0)]}, Difference("loss", 3, None, 1.0)),
        ({"loss": [(1, 0.1), (2, math.nan)]}, None),
        ({"loss": [(1, 0.1), (2, 0.1 + 0.2)], "more": [(1, 1.0)]}, Difference("more", 1, None, 1.0)),
    ],
)
def test_where_they_part(two, first):
    found = compared(trained(loss=[(1, 0.1), (2, 0.1 + 0.2)]), trained(**two))
    assert not found.same
    if first:
        assert found.first_difference == first
    assert found.first_difference.name in ("loss", "more")


def test_two_runs_without_metrics_are_not_called_the_same():
    assert not compared(trained(), trained()).same
