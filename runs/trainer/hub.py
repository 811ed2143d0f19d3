"""Where a model's files are: in a directory, or in Hugging Face's cache."""

from pathlib import Path

from runs.trainer.refusal import Refused

DOWNLOADED = ("*.json", "*.safetensors", "*.model", "tokenizer*", "*.jinja")


def find(model_id: str) -> tuple[Path, str]:
    """The files' directory, and "directory" or "hub" for where they came from. Raises Refused."""
    path = Path(model_id).expanduser()
    if path.is_dir():
        return path, "directory"
    if model_id.startswith(("/", "./", "../", "~")):
        raise Refused(f"There is no model directory {model_id}.")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(model_id, allow_patterns=list(DOWNLOADED))), "hub"
    except Exception as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise Refused(f"The model {model_id} cannot be had from the Hugging Face hub: {reason}") from error
