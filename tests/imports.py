"""Who imports whom, and which private names are used, read from the source: what test_architecture.py asks."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path


@dataclass(frozen=True)
class Module:
    """A file of the product: `lossreg.sweeps` for a package's `__init__.py`, `lossreg._spec` for another."""

    name: str
    path: Path

    @property
    def package(self) -> bool:
        return self.path.name == "__init__.py"

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.path.read_text(encoding="utf-8"), str(self.path))


def modules(root: Path) -> dict[str, Module]:
    """Find the modules below a source root, by name."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = Module(name, path)
    return found


@dataclass(frozen=True)
class Import:
    """One import: what, in which line, and whether it runs when its module is imported."""

    target: str
    line: int
    at_start: bool


def imports(module: Module, known: Iterable[str]) -> list[Import]:
    """List what a module imports; of `from a import b` it is `a.b` where that is a module, else `a`.

    Imports under `TYPE_CHECKING` are none; one inside a function is one, which does not run at the start.
    """
    known = set(known)
    return [
        Import(target, getattr(node, "lineno", 0), at_start)
        for node, at_start in _statements(module.tree.body, at_start=True)
        for target in dict.fromkeys(_targets(node, known))
    ]


def _statements(nodes: Iterable[ast.AST], at_start: bool) -> Iterator[tuple[ast.AST, bool]]:
    for node in nodes:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from _statements(node.orelse, at_start)
            continue
        yield node, at_start
        inside = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        yield from _statements(ast.iter_child_nodes(node), at_start and not inside)


def _targets(node: ast.AST, known: set[str]) -> list[str]:
    match node:
        case ast.Import():
            return [alias.name for alias in node.names]
        case ast.ImportFrom():
            assert node.level == 0, "relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            return [name if name in known else str(node.module) for name in names]
        case ast.Call(func=ast.Attribute(attr="import_module") | ast.Name(id="import_module"), args=[first, *_]):
            return [first.value] if isinstance(first, ast.Constant) and isinstance(first.value, str) else []
    return []


def parents(name: str) -> list[str]:
    """Return the packages around a module, which Python imports before it."""
    parts = name.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts))]


def reached(start: str, found: Mapping[str, Module]) -> dict[str, list[str]]:
    """Map whatever is imported with a module, at its start and transitively, to the way there."""
    ways: dict[str, list[str]] = {}
    waiting = [(start, [start])]
    while waiting:
        name, way = waiting.pop(0)
        if name in ways:
            continue
        ways[name] = way
        further = [outer for outer in parents(name) if outer in found]
        if name in found:
            further += [one.target for one in imports(found[name], found) if one.at_start]
        waiting += [(target, [*way, target]) for target in further]
    return ways


def circles(edges: Mapping[str, set[str]]) -> list[list[str]]:
    """List the circles in a graph, each as the names on the way from one of them to itself."""
    found: list[list[str]] = []
    done: set[str] = set()

    def visit(name: str, way: list[str]) -> None:
        if name in way:
            found.append([*way[way.index(name) :], name])
        elif name not in done:
            for target in sorted(edges.get(name, ())):
                visit(target, [*way, name])
            done.add(name)

    for name in sorted(edges):
        visit(name, [])
    return found


PRIVATE = re.compile(r"(?:\w+\.)*_[A-Za-z0-9]\w*(?:\.\w+)*|.*\b__internal__\b.*")
LANGUAGE = re.compile(r"__\w+__")  # what Python itself names so


def is_private(name: str) -> bool:
    """Whether a name has a leading underscore and is not the language's."""
    return name == "__internal__" or (name.startswith("_") and name != "_" and not LANGUAGE.fullmatch(name))


def own_names(trees: Iterable[ast.AST]) -> set[str]:
    """Collect the private names that these files define: functions, classes, parameters, attributes, aliases."""
    names: set[str] = set()
    for node in (node for tree in trees for node in ast.walk(tree)):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.arg(arg=name):
                names.add(name)
            case ast.Name(id=name, ctx=ast.Store()) | ast.alias(asname=str(name)):
                names.add(name)
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name, ctx=ast.Store()):
                names.add(name)
    return {name for name in names if is_private(name)}


def private_names(tree: ast.AST, own: set[str], packages: Iterable[str]) -> list[tuple[int, str]]:
    """List the private names of others that a file uses, each with its line.

    Arguments:
        tree: the file.
        own: what is defined in our own files, as `own_names` collects it.
        packages: our own packages, whose private modules are ours.

    Returns:
        Imports of private modules and names; attributes, keyword arguments and strings (as for `getattr`) with a
        leading underscore that none of our files defines; `__internal__`.
    """
    packages = set(packages)
    parts_of_text = {id(part) for node in ast.walk(tree) for part in _parts_of_text(node)}

    def is_ours(name: str) -> bool:
        return name.partition(".")[0] in packages or name == "__future__"

    found: list[tuple[int, str]] = []
    for node in ast.walk(tree):
        names: list[str] = []
        match node:
            case ast.Import():
                names = [a.name for a in node.names if not is_ours(a.name) and any(map(is_private, a.name.split(".")))]
            case ast.ImportFrom(module=str(module)) if not is_ours(module):
                imported = [f"{module}.{alias.name}" for alias in node.names]
                names = [name for name in imported if any(map(is_private, name.split(".")))]
            case ast.Attribute(attr=name) if is_private(name) and name not in own:
                names = [f"{ast.unparse(node.value).splitlines()[-1][-40:]}.{name}"]
            case ast.keyword(arg=str(name)) if is_private(name) and name not in own:
                names = [f"{name}="]
            case ast.Name(id=name) if is_private(name) and name not in own | set(vars(builtins)):
                names = [name]
            case ast.Constant(value=str(text)) if (
                PRIVATE.fullmatch(text) and not is_ours(text) and id(node) not in parts_of_text
            ):
                names = [repr(text)] if any(is_private(part) and part not in own for part in text.split(".")) else []
        found += [(getattr(node, "lineno", 0), name) for name in names]
    return sorted(found)


def _parts_of_text(node: ast.AST) -> list[ast.AST]:
    """Return the operands of what makes, takes apart or looks up text, where a leading underscore means no name."""
    match node:
        case ast.Dict(keys=keys):
            return [key for key in keys if key is not None]
        case ast.JoinedStr(values=parts):
            return list(parts)
        case ast.BinOp(left=left, right=right):
            return [left, right]
        case ast.Call(func=ast.Attribute(attr="startswith" | "endswith" | "removeprefix" | "removesuffix"), args=args):
            return [part for arg in args for part in ast.walk(arg)]
    return []
