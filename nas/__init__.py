"""Neural architecture search in TensorFlow 2: one import for what users and plugin authors need.

`nas.fit(x, y)` searches and trains on arrays; `nas.search(space, controller, evaluate)` searches
with the caller's own training code. Names are imported when they are first asked for, so that
`import nas` takes no time and imports no TensorFlow.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas.core.controller import Controller
    from nas.core.space import Decision, Graph, Space
    from nas.core.trial import ConfigError, Proposal, Trial
    from nas.data.images import make_image_data
    from nas.engine.search import best
    from nas.engine.store import Store
    from nas.experiment.search import SearchResult, search
    from nas.fitting.fit import Fitted, fit
    from nas.search_spaces.image_space import ImageSpace

# Public name -> the module that defines it.
_MODULES = {
    "ConfigError": "nas.core.trial",
    "Controller": "nas.core.controller",
    "Decision": "nas.core.space",
    "Fitted": "nas.fitting.fit",
    "Graph": "nas.core.space",
    "ImageSpace": "nas.search_spaces.image_space",
    "Proposal": "nas.core.trial",
    "SearchResult": "nas.experiment.search",
    "Space": "nas.core.space",
    "Store": "nas.engine.store",
    "Trial": "nas.core.trial",
    "best": "nas.engine.search",
    "fit": "nas.fitting.fit",
    "make_image_data": "nas.data.images",
    "search": "nas.experiment.search",
}

__all__ = [
    "ConfigError",
    "Controller",
    "Decision",
    "Fitted",
    "Graph",
    "ImageSpace",
    "Proposal",
    "SearchResult",
    "Space",
    "Store",
    "Trial",
    "best",
    "fit",
    "make_image_data",
    "search",
]


def __getattr__(name: str) -> Any:
    """Imports the module of a public name when the name is first asked for."""
    if name not in _MODULES:
        raise AttributeError(f"module nas has no attribute {name}")
    value = getattr(importlib.import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
