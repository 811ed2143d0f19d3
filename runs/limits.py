"""What a request may say: the default and bounds of each training setting, once, for API, forms and docs."""

from dataclasses import dataclass

KEY_LENGTH = 256
OUTPUT_DIR_LENGTH = 512
NOTES_LENGTH = 20_000
TAG_LENGTH = 64
TAGS_PER_RUN = 20
METRIC_NAME_LENGTH = 128
# 240 MB of the database: a day of ten metrics at ten steps a second. What comes then is left out, and the run says so.
POINTS_PER_RUN = 10_000_000
VIEW_NAME_LENGTH = 64
VIEW_QUERY_LENGTH = 2_000
SAVED_VIEWS = 50
# Of a text that is looked for in a log.
FIND_LENGTH = 200
TOKEN_NAME_LENGTH = 64
TOKENS_PER_USER = 50
# Of a body; what is asked for here is three deep.
JSON_DEPTH = 32
# Commas, colons and opening brackets of a body, outside of its texts: 8,500 points of metrics have as many.
JSON_PARTS = 60_000
# The same of a row of a dataset, outside of its texts: several long vectors in its metadata have fewer.
ROW_PARTS = 20_000
# Of one object: as many as a run may have metrics.
JSON_NAMES = 10_000
# Of one stream of a run; the middle of a longer one is left out.
LOG_BYTES = 256 * 1024 * 1024
DAY = 24 * 3600


@dataclass(frozen=True)
class Limit:
    """A number's bounds, both inclusive unless `above` is set: then it must be greater than `minimum`."""

    default: float | None
    minimum: float
    maximum: float
    above: bool = False
    whole: bool = True
    # The bounds, as short as a form shows them, where the numbers alone say too little.
    said: str = ""

    @property
    def sentence(self) -> str:
        if self.above:
            return f"must be greater than {self.minimum:,g} and at most {self.maximum:,g}"
        return f"must be between {self.minimum:,} and {self.maximum:,}"

    @property
    def hint(self) -> str:
        """The bounds, as short as a form shows them."""
        if self.said:
            return self.said
        return f"up to {self.maximum:,g}" if self.above else f"{self.minimum:,}–{self.maximum:,}"


TRAINING = {
    "learning_rate": Limit(2e-5, 0, 1, above=True, whole=False),
    "num_epochs": Limit(3, 1, 100),
    "batch_size": Limit(8, 1, 512),
    "max_seq_length": Limit(2048, 128, 32_768),
    "timeout_seconds": Limit(None, 1, 30 * DAY, said="seconds, to 30 d"),
    "seed": Limit(0, 0, 2**31 - 1, said="to 2,147,483,647"),
    # 0 trains the full weights.
    "lora_rank": Limit(0, 0, 256),
}
