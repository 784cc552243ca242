"""The rooms of docs/architecture.md and what each may import."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.conftest import ROOT

ROOMS = {
    "lossreg": ROOT / "registry" / "lossreg",
    "lossreg_plugins": ROOT / "plugins" / "lossreg_plugins",
    "hydra_plugins": ROOT / "registry" / "hydra_plugins",
}

# What a room may import of the others; train.py and lossreg/__main__.py stand on top.
ALLOWED: dict[str, set[str]] = {"lossreg": set(), "lossreg_plugins": set(), "hydra_plugins": {"lossreg"}}


def imported(path: Path) -> set[str]:
    """Return the top-level packages that a file imports, inside functions too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add((node.module or "").partition(".")[0])
    return names


def files(room: str) -> list[Path]:
    return sorted(ROOMS.get(room, ROOT / room).rglob("*.py"))


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_it_may(room: str) -> None:
    assert files(room)
    for path in files(room):
        strangers = imported(path) & {*ROOMS, "train", "tests", "benchmarks", "examples"} - ALLOWED[room] - {room}
        assert not strangers, f"{path.relative_to(ROOT)} imports {strangers}"


@pytest.mark.parametrize("room", ["lossreg_plugins", "examples/third_party_plugin"])
def test_a_plugin_imports_nothing_but_keras(room: str) -> None:
    for path in files(room):
        if path.name.startswith("test_"):
            continue  # a plugin's own tests use the contract
        assert imported(path) <= {"__future__", "typing", "math", "collections", "keras", "lossreg_plugins"}, path


@pytest.mark.parametrize("room", ["registry/lossreg/sweeps", "hydra_plugins"])
def test_sweeps_and_hydra_plugins_know_no_keras(room: str) -> None:
    for path in files(room):
        assert not imported(path) & {"keras", "tensorflow"}, path


def test_the_page_on_the_architecture_names_every_file() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for room in ROOMS:
        for path in files(room):
            if path.name != "__init__.py":
                assert path.stem in page, f"docs/architecture.md does not name {path.relative_to(ROOT)}"


def test_no_file_names_a_registry_s_host_or_a_path_of_somebody_s_machine() -> None:
    hosts = ["pypi" + ".org", "python" + "hosted", "/ro" + "ot/", "/ho" + "me/", "/wo" + "rk/"]
    texts = {".py", ".md", ".toml", ".yaml", ".yml", ".txt", ".cfg", ""}
    skipped = {
        ".venv",
        ".git",
        "outputs",
        "multirun",
        "__pycache__",
        "dist",
        ".mypy_cache",
        ".ruff_cache",
        ".pytest_cache",
    }
    for path in ROOT.rglob("*"):
        if skipped & set(path.relative_to(ROOT).parts) or not path.is_file() or path.suffix not in texts:
            continue
        found = [host for host in hosts if host in path.read_text(encoding="utf-8")]
        assert not found, f"{path.relative_to(ROOT)} names {found}"
