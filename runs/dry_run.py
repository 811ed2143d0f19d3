"""The dry run: everything that can be known to be wrong before a training starts. Nothing is trained.

The checks run in the order of CHECKS, each over the findings of those before it; the first that fails ends the run.
"""

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from django.utils import timezone

from runs import datasets, tunix
from runs.manifest import training_manifest
from runs.models import TunixRun
from runs.output import clip

ROWS_CHECKED = 1_000
PROBLEMS_SHOWN = 20
BUILT_IN_MODELS = ("tunix-rt/tiny-qwen3",)
HUGGING_FACE_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", re.ASCII)


class CheckFailed(Exception):
    """Why a dry run failed: one sentence for the message, the whole of it for stderr."""

    def __init__(self, message: str, stderr: str):
        super().__init__(message)
        self.message = f"Dry-run failed: {message}"
        self.stderr = stderr


@dataclass
class Findings:
    """What the checks found out about one run, so far."""

    run: TunixRun
    dataset: datasets.Dataset | None = None
    lines: list[str] = field(default_factory=list)

    def say(self, step: str, verdict: str, what: str) -> None:
        self.lines.append(f"{step:<10} {verdict:<7} {what}")


def execute(run: TunixRun) -> None:
    """Check `run` and write the result into it, in memory. Never raises: whatever goes wrong is the result."""
    started = time.monotonic()
    findings = Findings(run)
    try:
        for check in CHECKS:
            check(findings)
    except CheckFailed as failure:
        run.status, run.exit_code = TunixRun.Status.FAILED, None
        run.message, run.stderr = failure.message, clip(failure.stderr)
        run.stdout = clip("\n".join(findings.lines))
    else:
        run.status, run.exit_code = TunixRun.Status.COMPLETED, 0
        run.message, run.stderr = "Dry-run validation successful", ""
        run.stdout = clip("\n".join(["Dry-run validation completed successfully.", *findings.lines]) + "\n")
    run.completed_at = timezone.now()
    run.duration_seconds = round(time.monotonic() - started, 6)


def check_manifest(findings: Findings) -> None:
    key = findings.run.dataset_key
    try:
        findings.dataset = datasets.get(key)
    except datasets.DatasetNotFound as error:
        raise CheckFailed("dataset not found", str(error)) from error
    except datasets.ManifestInvalid as error:
        raise CheckFailed("manifest generation error", f"Manifest generation failed: {error}") from error
    manifest = findings.dataset.manifest
    findings.say("dataset", "ok", f"{key}, schema {manifest['dataset_schema_version']}, {manifest['format']}")


def check_training_manifest(findings: Findings) -> None:
    run = findings.run
    try:
        manifest = training_manifest(run, _dataset(findings).data_path)
    except KeyError as error:
        reason = f"Manifest generation failed: the configuration lacks {error}"
        raise CheckFailed("manifest generation error", reason) from error
    findings.say("manifest", "ok", f"{manifest['mode']}, {run.model_id} to {run.output_dir}")


def check_rows(findings: Findings) -> None:
    dataset = _dataset(findings)
    failed = "export validation error"
    try:
        with dataset.opened() as file:
            size = os.fstat(file.fileno()).st_size
            if size != dataset.manifest["bytes"]:
                what = f"data.jsonl has {size} bytes, its manifest says {dataset.manifest['bytes']}"
                raise CheckFailed(failed, f"Dataset export validation failed: {what}")
            rows, problems = _read_rows(file)
    except OSError as error:
        reason = f"Dataset export validation failed: data.jsonl cannot be read: {error.strerror}"
        raise CheckFailed(failed, reason) from error
    if problems:
        raise CheckFailed(failed, "Dataset export validation failed: " + "\n".join(problems))
    if rows == 0:
        raise CheckFailed("empty dataset", "Dataset is empty (no traces found)")
    total = dataset.manifest["row_count"]
    share = f"all {rows:,}" if rows >= total else f"the first {rows:,} of {total:,}"
    findings.say("data", "ok", f"{total:,} rows, {size:,} bytes; {share} checked")


def check_model(findings: Findings) -> None:
    problem = model_problem(findings.run.model_id)
    if problem:
        raise CheckFailed("implausible model id", f"Model id is not plausible: {problem}")
    findings.say("model", "ok", findings.run.model_id)


def check_tunix(findings: Findings) -> None:
    found = tunix.availability()
    findings.say("tunix", "ok" if found.available else "warning", found.message)


def list_config(findings: Findings) -> None:
    for name, value in findings.run.config.items():
        findings.say("config", "", f"{name} = {value}")


CHECKS: tuple[Callable[[Findings], None], ...] = (
    check_manifest,
    check_training_manifest,
    check_rows,
    check_model,
    check_tunix,
    list_config,
)


def model_problem(model_id: str) -> str | None:
    """Why `model_id` can be no model: neither built in, nor a directory here, nor of a Hugging Face id's form."""
    if model_id.startswith("tunix-rt/"):
        return None if model_id in BUILT_IN_MODELS else f"{model_id} is not among {', '.join(BUILT_IN_MODELS)}"
    if model_id.startswith(("/", "./", "../", "~")):
        return None if _is_directory(model_id) else f"there is no directory {model_id}"
    if not HUGGING_FACE_ID.fullmatch(model_id) or ".." in model_id or "--" in model_id:
        return f"{model_id} is neither a directory nor of the form owner/name"
    return None


def _is_directory(path: str) -> bool:
    try:
        return Path(path).expanduser().is_dir()
    except (OSError, RuntimeError):  # a name that no file system takes, a place closed to us; a home of nobody
        return False


def _dataset(findings: Findings) -> datasets.Dataset:
    if findings.dataset is None:
        raise RuntimeError("check_manifest must come first")
    return findings.dataset


def _read_rows(file: BinaryIO) -> tuple[int, list[str]]:
    """How many of the first 1,000 rows are good, and what is wrong with the others, by line number."""
    problems: list[str] = []
    rows = more = 0
    form = datasets.RowForm()
    for number, line in datasets.lines(file):
        try:
            form.check(number, line)
        except datasets.RowInvalid as problem:
            if len(problems) < PROBLEMS_SHOWN:
                problems.append(str(problem))
            else:
                more += 1
        rows += 1
        if rows == ROWS_CHECKED or len(line) > datasets.MAX_ROW_BYTES:  # its end may lie gigabytes away
            break
    if more:
        problems.append(f"and {more} more")
    return rows, problems
