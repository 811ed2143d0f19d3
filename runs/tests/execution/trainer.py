"""Stands in for a trainer: prints, sleeps and misbehaves as its argument says, e.g. `lines=5,sleep=2,exit=3`.

What it did can be counted afterwards: it leaves a file `started-<pid>` in the run's directory.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import yaml

wanted = dict(part.split("=", 1) for part in sys.argv[1].split(",") if "=" in part)
home = Path(os.environ["TUNIX_RT_RUN_DIR"])
(home / f"started-{os.getpid()}").touch()


def save(*_):
    """A graceful end: a while of saving, then the checkpoint."""
    print("saving", flush=True)
    time.sleep(float(wanted["save"]))
    (home / "checkpoint").write_text("whole", encoding="utf-8")
    sys.exit(0)


if "save" in wanted:
    signal.signal(signal.SIGTERM, save)
if "ignore" in wanted:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if "daemon" in wanted:  # a grandchild that leaves the session, and keeps the pipes
    subprocess.Popen(["sleep", wanted["daemon"]], start_new_session=True)
if "raw" in wanted:
    os.write(1, b"a\0b\xff\xfec" + "é".encode()[:1])
if "rubbish" in wanted:  # what no trainer should write, and what a database may refuse
    (home / "metrics.jsonl").write_bytes(
        b'{"name": "train/loss", "step": 1, "value": NaN}\n\xff\xfe\n{"name": "a\\u0000", "step": 1, "value": 1}\n'
        b'{"name": "\\ud800", "step": 1, "value": 1}\n{"name": "x", "step": -1, "value": 1}\n[]\nnull\n{}\n'
        + b'{"name": "x", "step": 1, "value": 1, "time": 1e300}\n'
        + b"[" * 100_000
        + b"\n"
        + b'{"name": "train/loss", "step": 2, "value": 0.5}\n{"name": "train/loss", "step": 3, "va'
    )
    (home / "trainer.json").write_text('{"devices": ["a\\u0000\\ud800"], "nan": NaN, "total_steps": "many"}')
if "unended" in wanted:  # a trainer of one's own: a step's metrics in a line, and no line feed after the last
    lines = ({"step": 1, "loss": 1.5, "lr": 0.5}, {"step": 2.0, "loss": 1.25, "lr": 0.25, "phase": "train"})
    (home / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
if "metrics" in wanted:  # so many points, a little later each
    with (home / "metrics.jsonl").open("a") as file:
        for step in range(1, int(wanted["metrics"]) + 1):
            print(json.dumps({"name": "train/loss", "step": step, "value": 1 / step, "time": time.time()}), file=file)
    (home / "trainer.json").write_text(json.dumps({"total_steps": 2 * step, "versions": {"jax": "0.10.2"}}))
if "checkpoint" in wanted:
    output = yaml.safe_load((home / "manifest.yaml").read_text())["output"]["output_dir"]
    directory = Path(output) / "checkpoints" / wanted["checkpoint"]
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "weights").write_text("w" * 1000)
    (directory / "commit_success.txt").touch()
if "hog" in wanted:  # more memory than there is
    hoard = [bytearray(os.urandom(1024) * 1024) for _ in range(int(wanted["hog"]))]
if "environment" in wanted:
    print(*(f"{name}={value}" for name, value in os.environ.items()), sep="\n", flush=True)
if "facts" in wanted:
    (home / "trainer.json").write_text(json.dumps({"said": [os.environ["HF_TOKEN"], "hf_" + "aB3dE" * 7]}))
if "megabytes" in wanted:
    block = b"x" * (1024 * 1024 - 1) + b"\n"
    for _ in range(int(wanted["megabytes"])):
        os.write(1, block)
for number in range(int(wanted.get("lines", 0))):
    print("line", number, flush=True)
if "say" in wanted:
    print(wanted["say"], file=sys.stderr, flush=True)
if "close" in wanted:
    os.close(1)
    os.close(2)
time.sleep(float(wanted.get("sleep", 0)))
if "kill" in wanted:
    os.kill(os.getpid(), int(wanted["kill"]))
os._exit(int(wanted.get("exit", 0)))
