"""What hostile runs of the campaign do: an endless, repeatable sequence of their arguments."""

from itertools import product

FILES = (
    "stdout.log", "stderr.log", "supervisor.log", "exit.json", "exit.json.partial", "run.json", "run.json.partial", "trainer.json",
    "metrics.jsonl", "code.patch", "code.patch.partial", "manifest.yaml", "output", "output/checkpoints", "output/checkpoints/10",
    "output/checkpoints/10/commit_success.txt", "output/checkpoints/10/weights", "output/checkpoints/10/more",
)  # fmt: skip
PLACED = (
    "pipe", "socket", "device", "link", "up", "tree", "environ", "parent", "database", "dangling", "circle", "directory", "full",
    "hole", "closed", "gone", "binary",
)  # fmt: skip
FORGED = {
    "exit.json": ("empty", "deep", "large", "list", "half", "result", "owner", "status", "types", "hole"),
    "trainer.json": ("empty", "deep", "large", "list", "half", "types", "hole"),
    "metrics.jsonl": ("empty", "deep", "large", "points", "half", "binary", "hole"),
}
OTHERS = (
    "swap=1", "away=1", "back=1", "many=300", "nest=1500", "remove=1", "fill=1", "orphan=300", "ignore=1", "flood=40", "starve=files",
    "starve=size",
)  # fmt: skip
ENDINGS = (
    "kill=supervisor", "kill=supervisor", "kill=supervisor", "kill=stop", "kill=self", "end=0", "end=3", "sleep=2,end=0",
    "sleep=4,kill=supervisor", "sleep=3,end=0", "sleep=1,end=0", "sleep=100",
)  # fmt: skip
ARGUMENT_LENGTH = 250


def plans(chance):
    """Every place with every kind comes once, in any order, before one comes again."""
    while True:
        acts = [f"put={name}:{kind}" for name, kind in product(FILES, PLACED)]
        acts += [f"put={name}:{kind}" for name, kinds in FORGED.items() for kind in 2 * kinds]
        acts += 6 * OTHERS
        chance.shuffle(acts)
        while acts:
            chosen = [acts.pop() for _ in range(min(len(acts), chance.randint(2, 5)))]
            ending = chance.choice(ENDINGS)
            plan = ",".join([*chosen, ending])
            yield plan if len(plan) <= ARGUMENT_LENGTH else f"{chosen[0]},{ending}"


def kind_of(act):
    """For the summary."""
    name, _, value = act.partition("=")
    return f"{value.rsplit(':', 1)[1]} in the place of a file" if name == "put" else f"the trainer's {name} {value}"
