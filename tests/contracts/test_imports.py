"""The house: which rooms there are, and that what they import lies below them."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OUTSIDE = ("search_spaces", "controllers", "benchmarks")  # linked into nas/
# A room may import rooms of lower floors only.
FLOORS = {
    "core": 0,
    "ops": 1, "data": 1, "engine": 1,
    "morphism": 2, "training": 2, "run": 2,
    "language": 3, "report": 3,
    "evaluators": 4,
    "fitting": 5, "oneshot": 5, "tables": 5, "experiment": 5,
    "comparison": 6,
    "commands": 7,
}  # fmt: skip
# The folders that stand at the top of the clone, and the rooms of nas/ that they may import.
MAY_IMPORT = {
    "search_spaces": ("core", "ops"),
    "controllers": ("core",),
    "benchmarks": ("core", "data", "tables"),
}
# Within them: methods and papers are written in the machinery, which knows none of them.
MACHINERY = {
    "search_spaces": ("cells", "published", "recurrent", "supernet", "image_space"),
    "controllers": ("policies", "growing", "surrogates"),
}
LARGEST_ROOM = 1800  # lines


def module_name(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    parts = ("nas", *parts) if parts[0] in OUTSIDE else parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {
    module_name(file): file
    for folder in ("nas", *OUTSIDE)
    for file in sorted((ROOT / folder).rglob("*.py"))
    if not any(parent.is_symlink() for parent in file.parents)
}


def imports_of(module: str) -> set[str]:
    """Modules of this project that a file imports: anywhere in it, functions included."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(FILES[module].read_text())):
        if isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    modules = {name if name in FILES else name.rpartition(".")[0] for name in names}
    return {name for name in modules if name in FILES and name != module}


IMPORTS = {module: imports_of(module) for module in FILES}
ROOMS = sorted({module.split(".")[1] for module in FILES if module.count(".") > 1} - set(OUTSIDE))


def test_every_room_has_a_floor_and_the_door_holds_little_else():
    assert set(ROOMS) == set(FLOORS)
    assert {file.stem for file in (ROOT / "nas").glob("*.py")} == {"__init__", "__main__", "onednn"}


@pytest.mark.parametrize("room", FLOORS)
def test_a_room_imports_rooms_below_it(room):
    wrong = {
        f"{module} imports {name}"
        for module in FILES
        if module.split(".")[1:2] == [room]
        for name in IMPORTS[module]
        if name not in ("nas", "nas.onednn")
        and name.split(".")[1] != room
        and FLOORS.get(name.split(".")[1], 99) >= FLOORS[room]
    }
    assert not wrong


@pytest.mark.parametrize("folder", OUTSIDE)
def test_spaces_controllers_and_benchmarks_import_their_own_and_what_they_may(folder):
    wrong = {
        f"{module} imports {name}"
        for module in FILES
        if module.startswith(f"nas.{folder}.")
        for name in IMPORTS[module]
        if name.split(".")[1] not in (folder, *MAY_IMPORT[folder])
    }
    assert not wrong


@pytest.mark.parametrize("folder", MACHINERY)
def test_machinery_knows_no_paper_and_no_method(folder):
    wrong = {
        f"{module} imports {name}"
        for module in FILES
        if module.startswith(f"nas.{folder}.") and module.split(".")[2] in MACHINERY[folder]
        for name in IMPORTS[module]
        if name.startswith(f"nas.{folder}.") and name.split(".")[2] not in MACHINERY[folder]
    }
    assert not wrong


def test_there_is_no_circle():
    """By removing, again and again, what imports nothing that is left."""
    left = {module: set(names) for module, names in IMPORTS.items()}
    left["nas"] = set()  # the door imports what it is asked for, when it is asked
    while done := {module for module, names in left.items() if not names & left.keys()}:
        for module in done:
            del left[module]
    assert not left


@pytest.mark.parametrize("room", ROOMS)
def test_no_room_is_too_large_to_be_one_subject(room):
    lines = sum(len(file.read_text().splitlines()) for file in (ROOT / "nas" / room).glob("*.py"))
    assert lines <= LARGEST_ROOM


def test_the_linked_folders_are_imported_by_their_installed_names():
    """`search_spaces.x` would be another module than `nas.search_spaces.x`."""
    tops = [ROOT / name for name in ("nas", *OUTSIDE, "tests", "scripts")]
    wrong = []
    for file in (file for top in tops for file in top.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [a.name for a in node.names] if isinstance(node, ast.Import) else []
            wrong += [f"{file}: {n}" for n in names if n.split(".")[0] in (*OUTSIDE, "conf")]
    assert not wrong
