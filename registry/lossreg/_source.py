"""Reading a target's signature from its source, without importing it.

Importing a plugin usually imports Keras, which takes seconds. What a config option needs (parameters, defaults, the
first docstring line) stands in the source, so it is read there. Whatever the source does not settle beyond doubt (a
decorator that may change the signature, a default that is computed) is answered with `None`: import it then.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import inspect
import sys
import textwrap
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

# Decorators that leave the signature alone.
_TRANSPARENT_DECORATORS = {"register_keras_serializable", "keras_export"}
# Base classes whose own parameters (name, reduction, dtype) are not hyperparameters.
_KERAS_BASES = {"Loss", "Regularizer", "LearningRateSchedule", "object"}
_FOLLOWED_IMPORTS = 10

_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Outline:
    """What the source of a target tells: its signature, what it is, and its docstring.

    Arguments:
        signature: the call signature, without `self`; annotations may be strings.
        is_class: whether the target is a class.
        returns_function: whether the body returns a function that it made, or `None` where that cannot be told.
        docstring: the cleaned docstring, or an empty string.
    """

    signature: inspect.Signature
    is_class: bool
    returns_function: bool | None
    docstring: str


def outline_of_source(target: str) -> Outline | None:
    """Outline the entry-point target `"module:attribute"` from its source, importing nothing.

    Returns `None` where the source cannot be found or does not settle the signature.

    Example:
    >>> outline = outline_of_source("textwrap:shorten")
    >>> str(outline.signature)
    '(text, width, **kwargs)'
    """
    module, _, attribute = target.partition(":")
    if not attribute.isidentifier():
        return None
    found = _find_definition(module, attribute, _FOLLOWED_IMPORTS)
    if found is None:
        return None
    module, definition = found
    if isinstance(definition, ast.ClassDef):
        return _outline_class(module, definition)
    signature = _signature(definition.args)
    if signature is None:
        return None
    if definition.returns is not None:
        signature = signature.replace(return_annotation=ast.unparse(definition.returns))
    return Outline(signature, False, _returns_function(definition), ast.get_docstring(definition) or "")


def fault_of_source(target: str) -> str:
    """Say why importing the entry-point target `"module:attribute"` must fail, as far as the source shows it.

    Modules that do not exist, syntax errors, a `raise` at the top of a module, an attribute that is nowhere bound or
    is a plain constant. Nothing is imported, so an empty string is no proof that it works.

    Example:

    >>> fault_of_source("textwrap:shorter")
    "module 'textwrap' has no attribute 'shorter'"
    >>> fault_of_source("textwrap:shorten")
    ''
    """
    return _fault(target, _FOLLOWED_IMPORTS)


def outline_of_object(target: Any) -> Outline:
    """Outline a target that is already imported.

    Raises:
        TypeError, ValueError: if the object has no signature.
    """
    signature = inspect.signature(target)
    docstring = inspect.getdoc(target) or ""
    if isinstance(target, type):
        return Outline(signature, True, None, docstring)
    returns_function = None
    try:
        definition = ast.parse(textwrap.dedent(inspect.getsource(target))).body[0]
    except (OSError, TypeError, SyntaxError, IndexError):
        pass
    else:
        if isinstance(definition, _Function):
            returns_function = _returns_function(definition)
    return Outline(signature, False, returns_function, docstring)


def _find_definition(module: str, name: str, follow: int) -> tuple[str, _Function | ast.ClassDef] | None:
    tree = _parse(module)
    if tree is None:
        return None
    bindings = [node for node in tree.body if name in _bound_names(node)]
    if len(bindings) != 1:
        return None
    binding = bindings[0]
    if isinstance(binding, (_Function, ast.ClassDef)):
        decorators = {_last_name(decorator) for decorator in binding.decorator_list}
        return (module, binding) if decorators <= _TRANSPARENT_DECORATORS else None
    if isinstance(binding, ast.ImportFrom) and follow:
        origin = _absolute_module(module, binding)
        original = next(alias.name for alias in binding.names if (alias.asname or alias.name) == name)
        return _find_definition(origin, original, follow - 1) if origin else None
    return None


def _fault(target: str, follow: int) -> str:
    module, _, path = target.partition(":")
    attribute = path.partition(".")[0]
    if not attribute:
        return f"'{target}' is not of the form module:attribute"
    parts = module.split(".")
    for depth in range(1, len(parts) + 1):  # parent packages are imported first
        if fault := _fault_of_import(".".join(parts[:depth])):
            return fault
    tree = _parse(module)
    if tree is None or _binds_unseen_names(tree):
        return ""
    bindings = [statement for statement in tree.body if attribute in _bound_names(statement)]
    if not bindings:
        submodule = _find_spec(f"{module}.{attribute}")
        return "" if submodule else f"module '{module}' has no attribute '{attribute}'"
    binding = bindings[-1]
    if (
        isinstance(binding, (ast.Assign, ast.AnnAssign))
        and isinstance(binding.value, ast.Constant)
        and path == attribute
    ):
        return f"{target} is a {type(binding.value.value).__name__}, not a function or a class"
    if isinstance(binding, ast.ImportFrom) and follow:
        origin = _absolute_module(module, binding)
        original = next(alias.name for alias in binding.names if (alias.asname or alias.name) == attribute)
        return _fault(f"{origin}:{original}", follow - 1) if origin else ""
    return ""


@functools.cache
def _fault_of_import(module: str) -> str:
    """Say why a module cannot be imported, as far as its own top-level statements show it."""
    if module in sys.modules:
        return ""
    spec = _find_spec(module)
    if spec is None:
        return f"No module named '{module}'"
    if spec.origin is None or not spec.origin.endswith(".py"):
        return ""
    tree = _parse(module)
    if tree is None:
        return _fault_of_syntax(module, Path(spec.origin))
    for statement in tree.body:
        if isinstance(statement, ast.Raise):
            return f"importing {module} raises {ast.unparse(statement).removeprefix('raise ')}"
        needed: list[str] = []
        if isinstance(statement, ast.Import):
            needed = [alias.name for alias in statement.names]
        elif isinstance(statement, ast.ImportFrom) and not statement.level:
            needed = [statement.module or ""]
        for name in needed:
            top = name.partition(".")[0]
            if top not in sys.modules and _find_spec(top) is None:
                return f"importing {module} raises ModuleNotFoundError: No module named '{top}'"
    return ""


def _fault_of_syntax(module: str, path: Path) -> str:
    try:
        ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError) as error:
        return f"importing {module} raises {type(error).__name__}: {error}"
    return ""


@functools.cache
def _binds_unseen_names(tree: ast.Module) -> bool:
    """Whether a module may have attributes that no statement names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.alias) and node.name == "*":
            return True
        if isinstance(node, ast.Name) and node.id in {"globals", "locals", "vars", "exec", "setattr", "sys"}:
            return True
    return any("__getattr__" in _bound_names(statement) for statement in tree.body)


@functools.cache
def _parse(module: str) -> ast.Module | None:
    spec = _find_spec(module)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    try:
        return ast.parse(Path(spec.origin).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None


def _find_spec(module: str) -> ModuleSpec | None:
    """Find a module's spec; `importlib.util.find_spec` would import its parent packages."""
    parts = module.split(".")
    try:
        spec = importlib.util.find_spec(parts[0])
        for depth in range(2, len(parts) + 1):
            if spec is None or spec.submodule_search_locations is None:
                return None
            name, path = ".".join(parts[:depth]), list(spec.submodule_search_locations)
            finders = (finder.find_spec(name, path) for finder in sys.meta_path if hasattr(finder, "find_spec"))
            spec = next((found for found in finders if found is not None), None)
    except (ImportError, AttributeError, ValueError):
        return None
    return spec


def _bound_names(statement: ast.stmt) -> set[str]:
    """Return the module-level names that a statement may bind, those inside `if` and `try` included."""
    names: set[str] = set()
    pending: list[ast.AST] = [statement]
    while pending:
        node = pending.pop()
        if isinstance(node, (_Function, ast.ClassDef)):
            names.add(node.name)
            continue  # what is bound inside is local
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names.update(alias.asname or alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, (ast.Store, ast.Del)):
            names.add(node.id)
        pending.extend(ast.iter_child_nodes(node))
    return names


def _absolute_module(module: str, statement: ast.ImportFrom) -> str | None:
    if not statement.level:
        return statement.module
    spec = _find_spec(module)
    is_package = spec is not None and spec.submodule_search_locations is not None
    parts = module.split(".")
    package = parts[: len(parts) - statement.level + (1 if is_package else 0)]
    return ".".join([*package, statement.module] if statement.module else package) or None


def _outline_class(module: str, definition: ast.ClassDef, follow: int = _FOLLOWED_IMPORTS) -> Outline | None:
    docstring = ast.get_docstring(definition) or ""
    methods: dict[str, list[ast.stmt]] = {}
    for statement in definition.body:
        for name in _bound_names(statement):
            methods.setdefault(name, []).append(statement)
    if definition.keywords or "__new__" in methods:
        return None
    if initializers := methods.get("__init__"):
        initializer = initializers[0]
        if len(initializers) > 1 or not isinstance(initializer, ast.FunctionDef) or initializer.decorator_list:
            return None
        signature = _signature(initializer.args)
        if signature is None or not signature.parameters:
            return None
        parameters = list(signature.parameters.values())[1:]
        docstring = docstring or ast.get_docstring(initializer) or ""
        return Outline(signature.replace(parameters=parameters), True, None, docstring)
    if not definition.bases:
        return Outline(inspect.Signature(), True, None, docstring)
    base = definition.bases[0]
    if len(definition.bases) > 1 or not follow:
        return None
    if _last_name(base) in _KERAS_BASES:
        return Outline(inspect.Signature(), True, None, docstring)
    if not isinstance(base, ast.Name):
        return None
    found = _find_definition(module, base.id, follow)
    if found is None or not isinstance(found[1], ast.ClassDef):
        return None
    inherited = _outline_class(found[0], found[1], follow - 1)
    return inherited and Outline(inherited.signature, True, None, docstring or inherited.docstring)


def _signature(arguments: ast.arguments) -> inspect.Signature | None:
    parameters: list[inspect.Parameter] = []
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults))
    defaults += arguments.defaults
    kinds: list[Any] = [inspect.Parameter.POSITIONAL_ONLY] * len(arguments.posonlyargs)
    kinds += [inspect.Parameter.POSITIONAL_OR_KEYWORD] * len(arguments.args)
    rows: list[tuple[ast.arg, ast.expr | None, Any]] = list(zip(positional, defaults, kinds, strict=True))
    if arguments.vararg:
        rows.append((arguments.vararg, None, inspect.Parameter.VAR_POSITIONAL))
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        rows.append((argument, default, inspect.Parameter.KEYWORD_ONLY))
    if arguments.kwarg:
        rows.append((arguments.kwarg, None, inspect.Parameter.VAR_KEYWORD))
    for argument, default, kind in rows:
        annotation = ast.unparse(argument.annotation) if argument.annotation else inspect.Parameter.empty
        value: Any = inspect.Parameter.empty
        if default is not None:
            try:
                value = ast.literal_eval(default)
            except (ValueError, TypeError, SyntaxError):
                return None
        parameters.append(inspect.Parameter(argument.arg, kind, default=value, annotation=annotation))
    return inspect.Signature(parameters)


def _returns_function(definition: _Function) -> bool:
    """Whether a function returns a function, a `partial` or an instance that it made itself."""
    inner: set[str] = set()
    returned: list[ast.expr] = []
    pending: list[ast.AST] = list(definition.body)
    while pending:
        node = pending.pop()
        if isinstance(node, (_Function, ast.ClassDef)):
            inner.add(node.name)
            continue
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Lambda):
            inner.update(name.id for name in node.targets if isinstance(name, ast.Name))
        if isinstance(node, ast.Lambda):
            continue
        if isinstance(node, ast.Return) and node.value is not None:
            returned.append(node.value)
        pending.extend(ast.iter_child_nodes(node))
    for value in returned:
        if isinstance(value, ast.Lambda) or (isinstance(value, ast.Name) and value.id in inner):
            return True
        if isinstance(value, ast.Call):
            called = _last_name(value.func)
            if called == "partial" or called[:1].isupper():
                return True
    return False


def _last_name(expression: ast.expr) -> str:
    """Return `c` for the expressions `c`, `a.b.c` and `a.b.c(...)`."""
    if isinstance(expression, ast.Call):
        return _last_name(expression.func)
    if isinstance(expression, ast.Attribute):
        return expression.attr
    return expression.id if isinstance(expression, ast.Name) else ""
