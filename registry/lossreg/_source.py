"""Reading a target's signature from its source, without importing it.

Importing a plugin usually imports Keras, which takes seconds. What a config option needs (parameters, defaults, the
first docstring line) stands in the source, so it is read there. Whatever the source does not settle beyond doubt (a
decorator that may change the signature, a default that is computed) is answered with `None`: import it then.
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import inspect
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

STYLE = "lossreg_style"
"""The attribute by which a function says that it is a `"factory"` or a `"function"` of the data."""

TASKS = "lossreg_tasks"
"""The attribute by which a loss says which tasks it is made for: `focal.lossreg_tasks = ("binary", "multilabel")`."""

REDUCTION = "sum_over_batch_size"
"""Keras's own default of how a loss is reduced."""

BUILTIN_TYPES = {kind.__name__: kind for kind in (bool, dict, float, int, list, set, str, tuple)} | {"None": None}
_TYPE_MODULES = ("typing", "typing_extensions", "collections", "annotated_types", "msgspec")

# Decorators that leave the signature alone.
_TRANSPARENT_DECORATORS = {"register_keras_serializable", "keras_export"}
# Where the base classes come from that take no hyperparameters of their own.
_OF_KERAS = ("keras", "tensorflow", "tf_keras")
_KERAS_BASES = {"Loss", "Regularizer", "LearningRateSchedule"}
_FOLLOWED_IMPORTS = 10

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Outline:
    """What the source of a target tells: its signature, what it is, and its docstring.

    Arguments:
        signature: the call signature, without `self`; annotations may be strings.
        is_class: whether the target is a class.
        is_factory: whether it returns a function or an object that it made, or `None` where that cannot be told.
        docstring: the cleaned docstring, or an empty string.
        names: what the names in its annotations stand for.
        tasks: which tasks a loss says that it is made for.
        is_keras_loss: whether it is a class that derives from Keras's `Loss`.
    """

    signature: inspect.Signature
    is_class: bool
    is_factory: bool | None
    docstring: str
    names: Mapping[str, Any]
    is_keras_loss: bool = False
    tasks: tuple[str, ...] = ()


class Names(dict[str, Any]):
    """What names stand for in a module's annotations: types, ranges, and what it, or one it imports from, calls so.

    Nothing is imported but `typing` and its kind; any other name is missing.
    """

    def __init__(self, module: str, follow: int = _FOLLOWED_IMPORTS) -> None:
        super().__init__(BUILTIN_TYPES)
        self.module, self.follow = module, follow

    def __missing__(self, name: str) -> Any:
        for statement in ast.walk(_parse(self.module) or ast.Module([], [])):
            if isinstance(statement, (ast.Import, ast.ImportFrom)) and name in _bound_names(statement):
                origin = _absolute_module(self.module, statement) if isinstance(statement, ast.ImportFrom) else ""
                alias = next(a for a in statement.names if name in (a.asname, a.name.partition(".")[0]))
                if (origin or alias.name).partition(".")[0] in _TYPE_MODULES:
                    found = importlib.import_module(origin or (alias.name if alias.asname else name))
                    return getattr(found, alias.name) if origin else found
                if origin and self.follow:
                    return Names(origin, self.follow - 1)[alias.name]
            elif isinstance(statement, ast.Assign) and name in _bound_names(statement):
                # The text of an installed package's own annotation, never a config value.
                return eval(ast.unparse(statement.value), {"__builtins__": {}}, self)
        raise KeyError(name)


def outline_of_source(target: str) -> Outline | None:
    """Outline the entry-point target `"module:attribute"` from its source, importing nothing.

    Returns `None` where the source cannot be found or does not settle the signature.

    Example:
    >>> outline = outline_of_source("textwrap:shorten")
    >>> str(outline.signature)
    '(text, width, **kwargs)'
    """
    module, _, attribute = target.partition(":")
    found = _find_definition(module, attribute, _FOLLOWED_IMPORTS) if attribute.isidentifier() else None
    if found is None:
        return None
    (module, definition), of_user = found, _said(module, attribute, STYLE)
    name, body = definition.name, definition.body if isinstance(definition, ast.ClassDef) else ()
    tasks = _said(module, name, TASKS, body) or ()
    if isinstance(definition, ast.ClassDef):
        outline = _outline_class(module, definition, _FOLLOWED_IMPORTS)
        return outline and replace(outline, tasks=tasks)
    signature = _signature(definition)
    said = of_user or _said(module, name, STYLE)
    is_factory = said == "factory" if said else _is_factory(definition)
    docstring = ast.get_docstring(definition) or ""
    return None if signature is None else Outline(signature, False, is_factory, docstring, Names(module), tasks=tasks)


def outline_of_object(target: Any) -> Outline:
    """Outline a target that is already imported.

    Raises:
        TypeError, ValueError: if the object has no signature.
    """
    is_keras_loss = hasattr(target, "reduction") and not isinstance(target, type)  # an object, not its class
    called = target.call if is_keras_loss else target
    try:
        signature = inspect.signature(called, eval_str=True)
    except (NameError, AttributeError, SyntaxError):  # an annotation that only a type checker understands
        signature = inspect.signature(called)
    names = BUILTIN_TYPES | vars(sys.modules.get(getattr(called, "__module__", None) or "", ast))
    docstring, tasks = inspect.getdoc(target) or "", tuple(getattr(target, TASKS, ()))
    if isinstance(target, type):
        bases = {f"{base.__module__.partition('.')[0]}.{base.__name__}" for base in target.__mro__}
        return Outline(signature, True, None, docstring, names, "keras.Loss" in bases, tasks)
    said = getattr(target, STYLE, None)
    is_factory = said == "factory" if said else _is_factory_object(target, [*signature.parameters])
    return Outline(signature, False, is_factory, docstring, names, tasks=tasks)


def _is_factory_object(target: Any, names: list[str]) -> bool | None:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(target)))
    except (OSError, TypeError, SyntaxError):
        return None
    for node in ast.walk(tree):  # a statement may hold several lambdas
        if isinstance(node, (*_FUNCTIONS, ast.Lambda)):
            own = [argument.arg for argument in ast.walk(node.args) if isinstance(argument, ast.arg)]
            if own == names:
                return _is_factory(node)
    return None


def _find_definition(module: str, name: str, follow: int) -> tuple[str, _Function | ast.ClassDef] | None:
    tree = _parse(module)
    bindings = [node for node in tree.body if name in _bound_names(node)] if tree else []
    binding = bindings[0] if len(bindings) == 1 else None
    if isinstance(binding, (*_FUNCTIONS, ast.ClassDef)):
        decorators = {_dotted(decorator)[-1] for decorator in binding.decorator_list}
        return (module, binding) if decorators <= _TRANSPARENT_DECORATORS else None
    if isinstance(binding, ast.ImportFrom) and follow:
        origin = _absolute_module(module, binding)
        original = next(alias.name for alias in binding.names if (alias.asname or alias.name) == name)
        return _find_definition(origin, original, follow - 1)
    return None


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
        if isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
            names.add(node.name)
            continue  # what is bound inside is local
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names.update(alias.asname or alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, (ast.Store, ast.Del)):
            names.add(node.id)
        pending.extend(ast.iter_child_nodes(node))
    return names


def _absolute_module(module: str, statement: ast.ImportFrom) -> str:
    spec = _find_spec(module)
    is_package = spec is not None and spec.submodule_search_locations is not None
    name = "." * statement.level + (statement.module or "")
    try:
        return importlib.util.resolve_name(name, module if is_package else module.rpartition(".")[0])
    except ImportError:  # beyond the top
        return ""


def _outline_class(module: str, definition: ast.ClassDef, follow: int) -> Outline | None:
    docstring = ast.get_docstring(definition) or ""
    methods = [(name, statement) for statement in definition.body for name in _bound_names(statement)]
    initializers = [statement for name, statement in methods if name == "__init__"]
    if definition.keywords or "__new__" in dict(methods) or len(initializers) > 1 or len(definition.bases) > 1:
        return None
    base = definition.bases[0] if definition.bases else None
    of_keras = base is None or _is_base_of_keras(module, base)
    is_loss = base is not None and of_keras and _dotted(base)[-1] == "Loss"
    inherited = None if of_keras else _outline_base(module, base, follow)
    if initializers:
        initializer = initializers[0]
        if not isinstance(initializer, ast.FunctionDef) or initializer.decorator_list:
            return None
        signature = _signature(initializer)
        if signature is None or not signature.parameters:
            return None
        is_loss = is_loss or (inherited is not None and inherited.is_keras_loss)
        own = signature.replace(parameters=list(signature.parameters.values())[1:], return_annotation=signature.empty)
        docstring = docstring or ast.get_docstring(initializer) or ""
        return Outline(own, True, None, docstring, Names(module), is_loss)
    if of_keras:
        return Outline(inspect.Signature(), True, None, docstring, {}, is_loss)
    return inherited and replace(inherited, docstring=docstring or inherited.docstring)


def _outline_base(module: str, base: ast.expr | None, follow: int) -> Outline | None:
    found = _find_definition(module, base.id, follow) if isinstance(base, ast.Name) and follow else None
    if found is None or not isinstance(found[1], ast.ClassDef):
        return None
    return _outline_class(found[0], found[1], follow - 1)


def _is_base_of_keras(module: str, base: ast.expr) -> bool:
    """Whether a base class is one of Keras's that take no hyperparameters, and no other that is called so."""
    dotted, tree = _dotted(base), _parse(module)
    for statement in tree.body if tree and dotted[-1] in _KERAS_BASES else ():
        if isinstance(statement, (ast.Import, ast.ImportFrom)) and dotted[0] in _bound_names(statement):
            origin = getattr(statement, "module", None) or statement.names[0].name
            return not getattr(statement, "level", 0) and origin.partition(".")[0] in _OF_KERAS
    return dotted == ["object"]


def _signature(definition: _Function) -> inspect.Signature | None:
    """Return the signature of a function whose defaults are all literals; its annotations stay text."""
    arguments = definition.args
    try:
        for default in filter(None, (*arguments.defaults, *arguments.kw_defaults)):
            ast.literal_eval(default)
    except (ValueError, TypeError, SyntaxError):
        return None
    returns = f" -> {ast.unparse(definition.returns)}" if definition.returns else ""
    stub = f"from __future__ import annotations\ndef stub({ast.unparse(arguments)}){returns}: ..."
    names: dict[str, Any] = {}
    exec(stub, names)  # a function of literals that does nothing
    return inspect.signature(names["stub"])


def _said(module: str, name: str, attribute: str, body: Sequence[ast.stmt] = ()) -> Any:
    """Return what `name.attribute = <literal>` in a module says, or `attribute = <literal>` in the body of a class."""
    parsed = _parse(module)
    for names, statements in (([name, attribute], parsed.body if parsed else ()), ([attribute], body)):
        for statement in statements:
            if isinstance(statement, ast.Assign) and names in map(_dotted, statement.targets):
                try:
                    return ast.literal_eval(statement.value)
                except ValueError:
                    return None
    return None


def _is_factory(definition: _Function | ast.Lambda) -> bool:
    """Whether a function returns a function, a `partial` or an object that it made itself."""
    if isinstance(definition, ast.Lambda):
        return _makes_function(definition.body, set())
    inner: set[str] = set()
    returned: list[ast.expr] = []
    pending: list[ast.AST] = list(definition.body)
    while pending:
        node = pending.pop()
        if isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
            inner.add(node.name)
        elif not isinstance(node, ast.Lambda):
            if isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(node.value, ast.Lambda):
                inner.update(_bound_names(node))
            if isinstance(node, ast.Return) and node.value is not None:
                returned.append(node.value)
            pending.extend(ast.iter_child_nodes(node))
    return any(_makes_function(value, inner) for value in returned)


def _makes_function(value: ast.expr, inner: set[str]) -> bool:
    if isinstance(value, ast.Lambda) or (isinstance(value, ast.Name) and value.id in inner):
        return True
    if isinstance(value, ast.IfExp):
        return _makes_function(value.body, inner) or _makes_function(value.orelse, inner)
    if not isinstance(value, ast.Call):
        return False
    if len(value.args) == 1 and _makes_function(value.args[0], inner):
        return True  # `return tf.function(loss)`; `tf.map_fn(lambda …, y_pred)` computes something of it
    called = [""] if isinstance(value.func, ast.Call) else _dotted(value.func)
    return called[-1] in ("partial", "get") or called[-1][:1].isupper() or "regularizers" in called[:-1]


def _dotted(expression: ast.expr) -> list[str]:
    """Return `["a", "b"]` for the expressions `a.b` and `a.b(...)`; what is no name is empty text."""
    if isinstance(expression, ast.Call):
        return _dotted(expression.func)
    if isinstance(expression, ast.Attribute):
        return [*_dotted(expression.value), expression.attr]
    return [expression.id if isinstance(expression, ast.Name) else ""]
