"""The house of docs/architecture.md: its floors, what each room may import, public names only, and its size."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.imports import Module, circles, imports, is_private, modules, own_names, private_names, reached

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
ROOTS = [ROOT / "registry", ROOT / "plugins"]
FOUND: dict[str, Module] = {name: module for root in ROOTS for name, module in modules(root).items()}
FOUND["train"] = Module("train", ROOT / "train.py")
PACKAGES = ("lossreg", "lossreg_plugins", "hydra_plugins", "train")
KERAS = {"keras", "tensorflow"}
LINES_OF_A_FILE = 400
LINES_OF_ALL = 13_000  # on the way to 7,500: lower it with every file that gets shorter


# The page, read.


def listing() -> tuple[list[str], set[str]]:
    """Return the modules of the library in the page's order, and those above its line "from here on Keras".

    A line of the listing has the names of files of one floor, then what they are for; `sweeps/` opens a folder, whose
    `__init__` stands after its files.
    """
    (block,) = re.findall(r"^registry/(.*?)^plugins/", PAGE, re.DOTALL | re.MULTILINE)
    order: list[str] = []
    before_keras: set[str] = set()
    open_folders: list[tuple[int, str]] = []  # indentation and name

    def close(indentation: int) -> None:
        while open_folders and open_folders[-1][0] >= indentation:
            name = open_folders.pop()[1]
            if f"{name}.__init__" in order:
                order[order.index(f"{name}.__init__")] = name
            elif name in FOUND:
                order.append(name)

    for line in block.splitlines()[1:]:
        if "from here on Keras" in line:
            before_keras = set(order)
            continue
        words = re.match(r"( +)([^\s,]+(?:, [^\s,]+)*)", line)
        if not words:
            break
        indentation = len(words[1])
        close(indentation)
        prefix = f"{open_folders[-1][1]}." if open_folders else ""
        for name in words[2].split(", "):
            if name.endswith("/"):
                open_folders.append((indentation, prefix + name.rstrip("/")))
            else:
                order.append(prefix + name)
    close(0)
    return order, before_keras


ORDER, BEFORE_KERAS = listing()


def table() -> dict[str, set[str]]:
    """Return what each room may import besides itself, from the page's table."""
    rows = re.findall(r"^\| `([\w.]+)` \|(.*)\|$", PAGE, re.MULTILINE)
    return {room.removesuffix(".py"): set(re.findall(r"`([\w.]+)`", cells)) for room, cells in rows}


ROOMS = table()


def room_of(name: str) -> str:
    """Return the room of a module: the longest name of a room that it begins with."""
    return max((room for room in ROOMS if f"{name}.".startswith(f"{room}.")), key=len)


# Floors and rooms.


def test_the_page_lists_every_file_of_the_library_and_no_other() -> None:
    files = {name for name in FOUND if name.startswith(("lossreg.", "hydra_plugins."))} | {"lossreg"}
    assert set(ORDER) == files
    assert len(ORDER) == len(files)
    for name in FOUND:
        if name.startswith("lossreg_plugins."):
            named = re.search(rf"\b{name.partition('.')[2]}\b", PAGE)
            assert named, f"docs/architecture.md does not name {name}"


@pytest.mark.parametrize("name", sorted(FOUND))
def test_no_file_imports_one_above_it(name: str) -> None:
    below = ORDER[: ORDER.index(name)] if name in ORDER else ORDER
    upward = [
        f"line {found.line}: {found.target}"
        for found in imports(FOUND[name], FOUND)
        if found.target in FOUND and found.target not in below and not found.target.startswith("lossreg_plugins")
    ]
    assert not upward, f"{name} imports what docs/architecture.md lists below it: {upward}"


def test_no_files_import_each_other_in_a_circle() -> None:
    edges = {name: {i.target for i in imports(module, FOUND)} & set(FOUND) for name, module in FOUND.items()}
    assert not circles(edges), "\n".join(" → ".join(circle) for circle in circles(edges))


@pytest.mark.parametrize("name", sorted(FOUND))
def test_a_room_imports_only_what_it_may(name: str) -> None:
    room = room_of(name)
    ours = {*PACKAGES, "tests", "benchmarks", "examples", "docs"}
    strangers = [
        f"line {found.line}: {found.target}"
        for found in imports(FOUND[name], FOUND)
        if found.target.partition(".")[0] in ours
        and (room_of(found.target) if found.target in FOUND else found.target) not in ROOMS[room] | {room}
    ]
    assert not strangers, f"{name} is in the room {room}, which may import {ROOMS[room] or 'nothing'}: {strangers}"


PLUGINS = [*sorted((ROOT / "plugins").rglob("*.py")), ROOT / "examples" / "third_party_plugin" / "focal_hoyer.py"]


@pytest.mark.parametrize("path", PLUGINS, ids=lambda path: path.name)
def test_a_plugin_imports_nothing_but_keras(path: Path) -> None:
    allowed = {"__future__", "typing", "math", "collections", "annotated_types", "keras"}
    if path.stem == "datasets":
        allowed |= {"itertools", "numpy", "pandas", "pathlib", "sklearn"}
    if path.stem == "loggers":
        allowed |= {"contextlib", "filelock", "logging", "numpy", "os", "pathlib", "time", "uuid"}
        allowed |= {"mlflow", "sqlalchemy", "tensorboard", "tensorflow"}
    assert {found.target.partition(".")[0] for found in imports(Module(path.stem, path), ())} <= allowed


# Keras.

NO_KERAS = sorted(
    name
    for name in FOUND
    if name in BEFORE_KERAS or room_of(name) in ("lossreg.sweeps", "lossreg.cli", "hydra_plugins", "train")
)
IMPORT_ALL = "import importlib, sys; [importlib.import_module(name) for name in sys.argv[1:]]; print(*sys.modules)"


@pytest.mark.parametrize("name", ["lossreg", *NO_KERAS])
def test_what_needs_no_keras_imports_none_at_its_start(name: str) -> None:
    ways = [way for target, way in reached(name, FOUND).items() if target.partition(".")[0] in KERAS]
    assert not ways, " → ".join(ways[0])


@pytest.mark.parametrize("name", [n for n in NO_KERAS if room_of(n) in ("lossreg.sweeps", "hydra_plugins")])
def test_what_knows_no_keras_imports_none_at_all(name: str) -> None:
    assert not [found for found in imports(FOUND[name], FOUND) if found.target.partition(".")[0] in KERAS]


@pytest.mark.parametrize("names", [["lossreg"], ["lossreg.sweeps"], NO_KERAS], ids=["lossreg", "sweeps", "all"])
def test_a_process_that_imports_it_has_no_keras(names: list[str]) -> None:
    command = [sys.executable, "-c", IMPORT_ALL, *(name for name in names if not name.endswith("__main__"))]
    loaded = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert not KERAS & set(loaded)


# Public names.

OWN = own_names(module.tree for module in FOUND.values()) | {part for name in FOUND for part in name.split(".")}


@pytest.mark.parametrize("name", sorted(FOUND))
def test_it_uses_no_private_name_of_another_package(name: str) -> None:
    found = private_names(FOUND[name].tree, OWN, PACKAGES)
    assert not found, "\n".join(f"{FOUND[name].path.relative_to(ROOT)}:{line}: {what}" for line, what in found)


@pytest.mark.parametrize(
    "code",
    [
        "import hydra._internal.utils",
        "from hydra._internal import utils",
        "from hydra import _internal",
        "from keras.src import _names",
        "model._layers",
        "model._layers = 3",
        "self._layers",
        "super()._layers",
        "tf.__internal__.function",
        "build(_validate=False)",
        "getattr(model, '_layers')",
        "setattr(model, '_layers', 3)",
        "vars(model)['_layers']",
        "operator.attrgetter('loss._layers')",
        "importlib.import_module('hydra._internal')",
        "'tensorflow.__internal__'",
    ],
)
def test_a_private_name_is_found(code: str) -> None:
    assert len(private_names(ast.parse(code), {"_own"}, PACKAGES)) == 1


@pytest.mark.parametrize(
    "code",
    [
        "from __future__ import annotations",
        "from lossreg._spec import Spec",
        "import hydra_plugins.lossreg._search_path",
        "lossreg.__version__",
        "self._own",
        "build(_own=1)",
        "for _ in range(3): f(_)",
        "f'{1_000}'",
        "'a sentence that has _layers in it'",
        "f'{name}_layers' + '_layers'",
        "name.endswith(('_layers', '_layer'))",
        "type(x).__name__",
    ],
)
def test_what_is_public_or_ours_is_not(code: str) -> None:
    assert private_names(ast.parse(code), {"_own"}, PACKAGES) == []


def test_no_class_overrides_a_private_name_of_another_package() -> None:
    ours = {*PACKAGES, *sys.stdlib_module_names}  # what enum, typing and abc add to each class is theirs
    found = []
    for name in FOUND:
        module = importlib.import_module(name)
        for _, made in inspect.getmembers(module, inspect.isclass):
            strangers = [base for base in made.__mro__ if base.__module__.partition(".")[0] not in ours]
            for attribute in filter(is_private, set(vars(made)) - {"_abc_impl"} if made.__module__ == name else ()):
                found += [f"{name}: {made.__name__}.{attribute}" for base in strangers if attribute in vars(base)]
    assert not found, "\n".join(found)


# Size, and what no file says.


@pytest.mark.parametrize("name", sorted(FOUND))
def test_a_file_is_short(name: str) -> None:
    assert len(FOUND[name].path.read_text(encoding="utf-8").splitlines()) <= LINES_OF_A_FILE


def test_all_files_together_are_not_long() -> None:
    lines = sum(len(module.path.read_text(encoding="utf-8").splitlines()) for module in FOUND.values())
    assert lines <= LINES_OF_ALL


def texts() -> dict[Path, str]:
    """Return the texts of the repository, without what tools leave in it."""
    skipped = {".venv", ".git", "outputs", "multirun", "dist", "build"}
    suffixes = {".py", ".md", ".toml", ".yaml", ".yml", ".txt", ".cfg", ".cff", ""}
    found = {}
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in skipped and not name.endswith(("_cache", "__"))]
        for path in (Path(folder) / name for name in files):
            if path.suffix in suffixes and path.name != ".git":
                found[path.relative_to(ROOT)] = path.read_text(encoding="utf-8")
    return found


def test_no_file_names_a_registry_s_host_or_a_path_of_somebody_s_machine() -> None:
    hosts = ["pypi" + ".org", "python" + "hosted", "/ro" + "ot/", "/ho" + "me/", "/wo" + "rk/"]
    assert not [f"{path}: {host}" for path, text in texts().items() for host in hosts if host in text]


def test_nothing_is_left_to_do() -> None:
    left = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|X" + r"XX|HA" + r"CK|raise NotImplement" + r"edError)\b")
    assert not [f"{path}: {found[0]}" for path, text in texts().items() for found in left.finditer(text)]
