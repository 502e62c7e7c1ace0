"""Every group file of conf/ lists every parameter of the class or function it names.

A nested node with a `_target_` of its own, such as a controller's `lstm`, lists every parameter of
that record as well. Files are found by glob: a new yaml is tested by being there. A parameter
without a default is the engine's to fill (space, seed, image_shape ...), so its key may be absent;
a record has no such parameter.
"""

import collections
import dataclasses
import inspect
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from hydra.utils import get_object
from omegaconf import OmegaConf

from tests.helpers.hydra_configs import is_node, nested, parameters

CONF = Path(str(resources.files("nas.conf")))
# Groups in which every file has numbers of its own, of a paper or a size.
ALL_DIFFER = {"recipe", "skeleton"}


def loaded(file: Path) -> dict[str, Any]:
    """The file's values, without those of other files."""
    stated = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
    return {str(k): v for k, v in stated.items()} if isinstance(stated, dict) else {}


def read(file: Path) -> dict[str, Any]:
    """The file's values, merged over those of the files that its defaults list names."""
    values: dict[str, Any] = {}
    stated = loaded(file)
    for default in stated.pop("defaults", []):
        if isinstance(default, str) and default != "_self_":
            values = merged(values, read(file.parent / f"{default}.yaml"))
    return merged(values, stated)


def merged(values: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`values` with those of `over` instead; nested nodes are merged as well, as in Hydra."""
    both = [key for key in over if is_node(values.get(key)) and isinstance(over[key], dict)]
    return values | over | {key: merged(values[key], over[key]) for key in both}


def nodes(name: str, values: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The file, and each record within it: what has a _target_."""
    if "_target_" in values:
        yield name, values
    for key, value in values.items():
        if isinstance(value, dict):
            yield from nodes(f"{name}:{key}", value)


FILES = {
    name: values
    for file in sorted(CONF.glob("*/*.yaml"))
    for name, values in nodes(f"{file.parent.name}/{file.name}", read(file))
}
# A target may have several files in a group: variants, whose comments say why they differ.
VARIANTS = collections.defaultdict(list)
for _file, _values in FILES.items():
    VARIANTS[_file.split("/")[0], _values["_target_"]].append(_file)


# What any file of conf/ names, in a nested node too; each node is read where it stands.
NAMED = {
    values["_target_"]
    for file in sorted(CONF.rglob("*.yaml"))
    for _, values in nodes(file.name, loaded(file))
}
CLASSES = [c for c in map(get_object, sorted(NAMED)) if inspect.isclass(c)]


def defaults(target: str) -> dict[str, Any]:
    """Name -> default, of the parameters that have one, in the types of a yaml file."""
    factories = {}
    if dataclasses.is_dataclass(get_object(target)):
        for field in dataclasses.fields(get_object(target)):
            if field.default_factory is not dataclasses.MISSING:
                factories[field.name] = field.default_factory()
    return {
        name: plain(factories.get(name, p.default))
        for name, p in parameters(target).items()
        if p.default is not inspect.Parameter.empty
    }


def plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        name = f"{type(value).__module__}.{type(value).__qualname__}"
        return {"_target_": name} | plain(vars(value))
    return value


def settings(node: dict[str, Any]) -> dict[str, Any]:
    return {key: plain(value) for key, value in node.items() if not key.startswith("_")}


def is_interpolated(value: Any) -> bool:
    return isinstance(value, str) and "${" in value


@pytest.mark.parametrize("file", FILES)
def test_the_keys_are_the_parameters(file):
    target, keys = FILES[file]["_target_"], set(settings(FILES[file]))
    assert keys <= set(parameters(target)), f"{target} has no such parameter"
    assert set(defaults(target)) <= keys, f"conf/{file} must list every parameter of {target}"
    for name, node in nested(FILES[file]):
        expected = set(parameters(node["_target_"]))
        assert set(settings(node)) == expected, f"conf/{file}: {name} must list every parameter"


def test_nested_nodes_are_read_with_the_files_that_a_file_stands_on():
    """enas_micro.yaml names one of Adam's numbers; the others are in enas.yaml."""
    names = dict(nested(FILES["controller/enas_micro.yaml"]))
    assert set(names) == {"lstm", "adam", "logits", "regularization"}
    assert names["adam"]["learning_rate"] == 0.0035 and names["adam"]["beta_1"] == 0.0


@pytest.mark.parametrize("named", CLASSES, ids=lambda c: c.__qualname__)
def test_what_a_file_names_inherits_from_nothing_that_a_file_names(named):
    """Classes of choices are leaves: what two of them share stands in an abstract base."""
    assert not set(named.__mro__[1:]) & set(CLASSES)


@pytest.mark.parametrize("group, target", [v for v in VARIANTS if v[0] not in ALL_DIFFER])
def test_one_file_of_each_target_has_the_defaults_of_its_signature(group, target):
    expected, differences = defaults(target), {}
    for file in VARIANTS[group, target]:
        differences[file] = {
            key: (value, expected[key])
            for key, value in settings(FILES[file]).items()
            if key in expected and value != expected[key] and not is_interpolated(value)
        }
    assert {} in differences.values(), f"(in the file, in the signature): {differences}"
