"""A model's own tokenizer, as a function from a row to tokens."""

from pathlib import Path

from runs.trainer.data import Encode
from runs.trainer.refusal import Refused

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")


def load(model_id: str, directory: Path, vocab_size: int) -> tuple[Encode, int]:
    """How a row becomes tokens, and the token that pads. Raises Refused, and so does the function that it returns."""
    # Without its files transformers makes one that knows no word.
    if not any((directory / name).is_file() for name in TOKENIZER_FILES):
        raise Refused(f"The model {model_id} has no tokenizer: none of {', '.join(TOKENIZER_FILES)}.")
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(directory), local_files_only=True)
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise Refused(f"The tokenizer of {model_id} cannot be loaded: {reason}") from error
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    begin = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]

    def plain(prompt: str, response: str) -> tuple[list[int], list[int]]:
        first = tokenizer.encode(prompt + "\n", add_special_tokens=False)
        return begin + first, tokenizer.encode(response, add_special_tokens=False) + end

    def chat(prompt: str, response: str) -> tuple[list[int], list[int]]:
        asked = [{"role": "user", "content": prompt}]
        head = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
        first = tokenizer.encode(head, add_special_tokens=False)
        return first, tokenizer.encode(response, add_special_tokens=False) + end

    encode = chat if getattr(tokenizer, "chat_template", None) else plain
    return _within(encode, vocab_size, model_id), _pad(tokenizer, vocab_size)


def _within(encode: Encode, vocab_size: int, model_id: str) -> Encode:
    """JAX takes the last row of the embeddings for a token that has none."""

    def checked(prompt: str, response: str) -> tuple[list[int], list[int]]:
        both = encode(prompt, response)
        highest = max(map(max, filter(None, both)), default=0)
        if highest >= vocab_size:
            raise Refused(
                f"The tokenizer of {model_id} makes the token {highest}; its config.json has vocab_size {vocab_size}."
            )
        return both

    return checked


def _pad(tokenizer: object, vocab_size: int) -> int:
    names = ("pad_token_id", "eos_token_id")
    candidates = (getattr(tokenizer, name, None) for name in names)
    return next((each for each in candidates if each is not None and each < vocab_size), 0)
