"""Stands in for a trainer: prints, sleeps and misbehaves as its argument says, e.g. `lines=5,sleep=2,exit=3`.

What it did can be counted afterwards: it leaves a file `started-<pid>` in the run's directory.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

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
