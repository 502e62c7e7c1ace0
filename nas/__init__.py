"""Neural architecture search in TensorFlow 2; `nas.fit(x, y)` for those who bring arrays."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas.fitting.fit import Fitted, fit

__all__ = ["Fitted", "fit"]


def __getattr__(name: str) -> Any:
    """Only who asks for them imports what they need."""
    if name in __all__:
        from nas.fitting import fit as fitting

        return getattr(fitting, name)
    raise AttributeError(f"module nas has no attribute {name}")
