"""Under the trainer's interpreter: `read_configs.py DIRECTORY...`, what the trainer says of each config.json.

Prints an object: the sentence that refuses it, or null, by directory.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from runs.trainer import configs
from runs.trainer.refusal import Refused

said = {}
for path in map(Path, sys.argv[1:]):
    try:
        configs.read("m", path)
        said[path.name] = None
    except Refused as refusal:
        said[path.name] = str(refusal)
print(json.dumps(said))
