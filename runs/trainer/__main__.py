"""`python runs/trainer MANIFEST`: started as a directory, from anywhere, by an interpreter that has google-tunix."""

import sys
from pathlib import Path

# In place of this directory, whose modules would be found under names as common as `data` otherwise.
sys.path[0] = str(Path(__file__).resolve().parents[2])

from runs.trainer.main import main  # noqa: E402

sys.exit(main(sys.argv[1:]))
