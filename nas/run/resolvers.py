"""The functions that files of conf/ call as ${name:arguments}, most in their defaults lists.

OmegaConf calls them resolvers. conf/__init__.py registers them.
"""

import hashlib
from importlib import resources

IMAGES, LANGUAGE = "images", "language"
SMALL_LANGUAGE_MODEL = "grammar"  # the recipe and the skeleton for the embedded grammar


def register() -> None:
    """Makes the functions known to OmegaConf."""
    from omegaconf import OmegaConf

    for resolver in (domain_of, language_skeleton, folder_name):
        OmegaConf.register_new_resolver(resolver.__name__, resolver, replace=True)


def domain_of(space: str | None, cell: str | None = None) -> str:
    """Which files of conf/domain give the defaults: "images" or "language".

    Args:
      space: the chosen file of conf/space. One that is not there is a user's own, of images.
      cell: the chosen file of conf/cell: a cell is a part of a language model.
    """
    from hydra.utils import get_object

    if cell is not None:
        return LANGUAGE
    target = _target("space", space)
    return IMAGES if target is None else get_object(target).domain


def language_skeleton(recipe: str | None) -> str:
    """The skeleton of language models that has the name of the recipe; else the small one."""
    from hydra.utils import get_object

    from nas.core.language_skeleton import LanguageSkeleton

    target = _target("skeleton", recipe)
    has_own = target is not None and get_object(target) is LanguageSkeleton
    return str(recipe) if has_own else SMALL_LANGUAGE_MODEL


def folder_name(overrides: str) -> str:
    """The name of a run's folder in a sweep: one folder, whatever paths are among its settings."""
    if "/" not in overrides:
        return overrides
    digest = hashlib.sha256(overrides.encode()).hexdigest()[:6]  # a/b and a_b are two runs
    return f"{overrides.replace('/', '_')}-{digest}"


def _target(group: str, name: str | None) -> str | None:
    """The `_target_` of a file of conf/ or of the file that it varies; None without a file."""
    from omegaconf import DictConfig, OmegaConf

    file = resources.files("nas.conf") / group / f"{name}.yaml"
    if name is None or not name.isidentifier() or not file.is_file():
        return None
    node = OmegaConf.create(file.read_text(encoding="utf-8"))
    if not isinstance(node, DictConfig):
        return None
    varied = [item for item in node.get("defaults", []) if isinstance(item, str)]
    return node.get("_target_") or next(filter(None, (_target(group, v) for v in varied)), None)
