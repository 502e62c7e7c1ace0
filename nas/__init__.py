"""Neural architecture search in TensorFlow 2; `nas.fit(x, y)` for those who bring arrays."""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas.fitting import Fitted, fit

# Of itself TensorFlow computes with oneDNN only on CPUs with AVX-512 VNNI or better; on the others
# training takes two to three times as long without it (scripts/bench_onednn.py). TensorFlow reads
# this when it is imported. Who has set it keeps what is set.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

__all__ = ["Fitted", "fit"]


def __getattr__(name: str) -> Any:
    """Only who asks for them imports what they need."""
    if name in __all__:
        from nas import fitting

        return getattr(fitting, name)
    raise AttributeError(f"module nas has no attribute {name}")
