#!/usr/bin/env python3
"""Make arithmetic-v1.jsonl and arithmetic-v2.jsonl: 400 short sums, small enough to train on a CPU while one watches.

Version 1 answers with the number alone, version 2 with the whole sum, of which a small model learns most in a minute.
Seeded, so that every run of this program writes the same bytes.
"""

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

ROWS = 400
SEED = 20251222
FIRST = (
    ("What is 17 + 25?", "17 + 25", 42),
    ("What is 9 × 8?", "9 × 8", 72),
    ("What is 144 ÷ 12?", "144 ÷ 12", 12),
    ("What is 63 − 28?", "63 − 28", 35),
)
# A question, the sum that answers it, and the answer.
Question = tuple[str, str, int]


def addition(dice: random.Random) -> Question:
    a, b = dice.randint(2, 99), dice.randint(2, 99)
    return dice.choice((f"What is {a} + {b}?", f"Add {a} and {b}.", f"{a} + {b} = ?")), f"{a} + {b}", a + b


def subtraction(dice: random.Random) -> Question:
    a, b = sorted((dice.randint(2, 99), dice.randint(2, 99)), reverse=True)
    return dice.choice((f"What is {a} − {b}?", f"Take {b} from {a}.", f"{a} − {b} = ?")), f"{a} − {b}", a - b


def multiplication(dice: random.Random) -> Question:
    a, b = dice.randint(2, 12), dice.randint(2, 12)
    return dice.choice((f"What is {a} × {b}?", f"Multiply {a} by {b}.", f"{a} × {b} = ?")), f"{a} × {b}", a * b


def division(dice: random.Random) -> Question:
    answer, b = dice.randint(2, 12), dice.randint(2, 12)
    a = answer * b
    return dice.choice((f"What is {a} ÷ {b}?", f"Divide {a} by {b}.", f"{a} ÷ {b} = ?")), f"{a} ÷ {b}", answer


def word_problem(dice: random.Random) -> Question:
    name = dice.choice(("Ada", "Ben", "Chen", "Dina", "Emil", "Fatima", "Goro", "Hana"))
    thing = dice.choice(("apples", "books", "coins", "marbles", "pencils", "stamps"))
    a, b = dice.randint(2, 12), dice.randint(2, 12)
    more, fewer = a + dice.randint(10, 40), dice.randint(2, 9)
    return dice.choice(
        (
            (
                f"{name} has {more} {thing} and finds {b} more. How many {thing} are there now?",
                f"{more} + {b}",
                more + b,
            ),
            (
                f"{name} has {more} {thing} and gives {fewer} away. How many {thing} are left?",
                f"{more} − {fewer}",
                more - fewer,
            ),
            (f"{name} fills {a} boxes with {b} {thing} each. How many {thing} is that?", f"{a} × {b}", a * b),
            (f"{name} shares {a * b} {thing} among {b} friends. How many {thing} does each get?", f"{a * b} ÷ {b}", a),
        )
    )


KINDS = (addition, subtraction, multiplication, division, word_problem)


def questions() -> Iterator[Question]:
    """ROWS different ones, the kinds in turn."""
    dice = random.Random(SEED)
    found = {question[0]: question for question in FIRST}
    while len(found) < ROWS:
        question = KINDS[len(found) % len(KINDS)](dice)
        found.setdefault(question[0], question)
    yield from found.values()


def write(version: str, respond: Callable[[str, int], str]) -> None:
    """Answers are text, as a model would write them."""
    target = Path(__file__).with_name(f"arithmetic-{version}.jsonl")
    with target.open("w", encoding="utf-8", newline="\n") as file:
        for prompt, total, answer in questions():
            row = {"prompt": prompt, "response": respond(total, answer)}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    write("v1", lambda total, answer: str(answer))
    write("v2", lambda total, answer: f"{total} = {answer}")
