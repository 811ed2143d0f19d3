#!/usr/bin/env python3
"""Make arithmetic-v1.jsonl: 400 short sums with their answers, small enough to train on a CPU while one watches.

Seeded, so that every run of this program writes the same bytes.
"""

import json
import random
from collections.abc import Iterator
from pathlib import Path

ROWS = 400
SEED = 20251222
TARGET = Path(__file__).with_name("arithmetic-v1.jsonl")
FIRST = (("What is 17 + 25?", 42), ("What is 9 × 8?", 72), ("What is 144 ÷ 12?", 12), ("What is 63 − 28?", 35))


def addition(dice: random.Random) -> tuple[str, int]:
    a, b = dice.randint(2, 99), dice.randint(2, 99)
    return dice.choice((f"What is {a} + {b}?", f"Add {a} and {b}.", f"{a} + {b} = ?")), a + b


def subtraction(dice: random.Random) -> tuple[str, int]:
    a, b = sorted((dice.randint(2, 99), dice.randint(2, 99)), reverse=True)
    return dice.choice((f"What is {a} − {b}?", f"Take {b} from {a}.", f"{a} − {b} = ?")), a - b


def multiplication(dice: random.Random) -> tuple[str, int]:
    a, b = dice.randint(2, 12), dice.randint(2, 12)
    return dice.choice((f"What is {a} × {b}?", f"Multiply {a} by {b}.", f"{a} × {b} = ?")), a * b


def division(dice: random.Random) -> tuple[str, int]:
    answer, b = dice.randint(2, 12), dice.randint(2, 12)
    a = answer * b
    return dice.choice((f"What is {a} ÷ {b}?", f"Divide {a} by {b}.", f"{a} ÷ {b} = ?")), answer


def word_problem(dice: random.Random) -> tuple[str, int]:
    name = dice.choice(("Ada", "Ben", "Chen", "Dina", "Emil", "Fatima", "Goro", "Hana"))
    thing = dice.choice(("apples", "books", "coins", "marbles", "pencils", "stamps"))
    a, b = dice.randint(2, 12), dice.randint(2, 12)
    more, fewer = a + dice.randint(10, 40), dice.randint(2, 9)
    return dice.choice(
        (
            (f"{name} has {more} {thing} and finds {b} more. How many {thing} are there now?", more + b),
            (f"{name} has {more} {thing} and gives {fewer} away. How many {thing} are left?", more - fewer),
            (f"{name} fills {a} boxes with {b} {thing} each. How many {thing} is that?", a * b),
            (f"{name} shares {a * b} {thing} among {b} friends. How many {thing} does each get?", a),
        )
    )


KINDS = (addition, subtraction, multiplication, division, word_problem)


def rows() -> Iterator[dict[str, str]]:
    """ROWS different questions, the kinds in turn. Answers are text, as a model would write them."""
    dice = random.Random(SEED)
    questions = dict(FIRST)
    while len(questions) < ROWS:
        prompt, answer = KINDS[len(questions) % len(KINDS)](dice)
        questions.setdefault(prompt, answer)
    for prompt, answer in questions.items():
        yield {"prompt": prompt, "response": str(answer)}


if __name__ == "__main__":
    with TARGET.open("w", encoding="utf-8", newline="\n") as file:
        for row in rows():
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
