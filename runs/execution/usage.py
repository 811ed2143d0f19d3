"""What a process tree uses of its machine, as metrics `system/…`. Knows no Django.

A step of these series is a second since the start.
"""

import contextlib
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable

import psutil

GPU_SECONDS = 5
ASK_GPUS = ("--query-gpu=index,memory.used,utilization.gpu", "--format=csv,noheader,nounits")
MIB = 1024**2


class Usage:
    """`processes` gives the living processes of the tree."""

    def __init__(self, processes: Callable[[], Iterable[psutil.Process]]):
        self.peak_memory_bytes = 0
        # Why the GPUs are not measured any more, once.
        self.trouble = ""
        # Every process that was seen: the kernel names the one that it killed by its pid.
        self.pids: set[int] = set()
        self._processes = processes
        self._started = self._asked = time.monotonic()
        self._cpu_seconds = 0.0
        self._gpus = shutil.which("nvidia-smi")

    def sample(self) -> dict[str, list[tuple[int, float, float]]]:
        """A point for each series, `{name: [(seconds, value, time)]}`."""
        now = time.monotonic()
        cpu_seconds, memory = self._of_tree()
        self.peak_memory_bytes = max(self.peak_memory_bytes, memory)
        values = {"system/memory_bytes": float(memory)}
        if now > self._asked:
            # Processes that ended take their seconds with them.
            used = max(0.0, cpu_seconds - self._cpu_seconds) / (now - self._asked)
            values["system/cpu_percent"] = round(100 * used, 1)
        self._asked, self._cpu_seconds = now, cpu_seconds
        point = (int(now - self._started), time.time())
        return {name: [(point[0], value, point[1])] for name, value in (values | self._of_gpus()).items()}

    def _of_tree(self) -> tuple[float, int]:
        seconds, memory = 0.0, 0
        for process in self._processes():
            with contextlib.suppress(psutil.Error), process.oneshot():
                times = process.cpu_times()
                seconds += times.user + times.system
                memory += process.memory_info().rss
                self.pids.add(process.pid)
        return seconds, memory

    def _of_gpus(self) -> dict[str, float]:
        """Memory and use of every GPU of this machine, whoever uses it; nothing where nvidia-smi does not answer."""
        if self._gpus is None:
            return {}
        try:
            answer = subprocess.run(
                [self._gpus, *ASK_GPUS], capture_output=True, text=True, timeout=GPU_SECONDS, check=True
            )
            values = {}
            for line in answer.stdout.splitlines():
                index, memory, used = (part.strip() for part in line.split(","))
                values[f"system/gpu{index}_memory_bytes"] = float(memory) * MIB
                values[f"system/gpu{index}_percent"] = float(used)
            return values
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            self.trouble = str(error)
            self._gpus = None  # it will not answer the next time either, and costs seconds
            return {}
