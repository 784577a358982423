"""kgrec: ranked lists from a shop's tables."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kgrec.config import Config
    from kgrec.errors import KgrecError
    from kgrec.loading import load
    from kgrec.pipeline import fit
    from kgrec.recommender import Recommender, load_model
    from kgrec.schema import Schema
    from kgrec.shop import Shop

__version__ = "0.1.0"
__all__ = [
    "Config",
    "KgrecError",
    "Recommender",
    "Schema",
    "Shop",
    "__version__",
    "fit",
    "load",
    "load_model",
]

_HOME = {
    "Config": "config",
    "KgrecError": "errors",
    "Recommender": "recommender",
    "Schema": "schema",
    "Shop": "shop",
    "fit": "pipeline",
    "load": "loading",
    "load_model": "recommender",
}


def __getattr__(name: str) -> Any:
    """Imports a public name on first use: torch and its kin take seconds."""
    if name in _HOME:
        return getattr(import_module(f"kgrec.{_HOME[name]}"), name)
    raise AttributeError(f"module 'kgrec' has no attribute '{name}'")
