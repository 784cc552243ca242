"""Copying a config quickly, or only when somebody looks.

`copy.deepcopy` takes 30 µs per node of an OmegaConf config, most of it for what no copy ever changes (types, keys). A
sweep copies the same config thousands of times; `clone` does it at 3 µs per node, and `late` puts it off.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from copy import deepcopy
from enum import Enum
from pathlib import PurePath
from typing import Any, TypeVar

from omegaconf import DictConfig, Node

SomeNode = TypeVar("SomeNode", bound=Node)
_new = object.__new__
_UNCHANGING = (str, int, float, bool, bytes, Enum, PurePath, type(None))


def clone(node: SomeNode, parent: Any = None) -> SomeNode:
    """Copy a node and all below it, as `copy.deepcopy` does; the copy belongs to `parent`.

    Values, flags, types, the order of keys and the cached results of resolvers are the same, and nothing is shared with
    the original but values that cannot change.

    Example:

    >>> from omegaconf import OmegaConf
    >>> original = OmegaConf.create({"a": {"b": 1}, "c": "${a.b}"})
    >>> copy = clone(original)
    >>> copy.a.b = 2
    >>> original.c, copy.c
    (1, 2)
    """
    copied = _without_content(node, parent)
    state = copied.__dict__
    content = state.get("_content")
    if isinstance(content, dict):
        state["_content"] = {key: clone(child, copied) for key, child in content.items()}
    elif isinstance(content, list):
        state["_content"] = [clone(child, copied) for child in content]
    elif isinstance(content, Node):  # a UnionNode
        state["_content"] = clone(content, copied)
    elif not isinstance(state.get("_val"), _UNCHANGING):
        state["_val"] = deepcopy(state["_val"])
    return copied


def late(original: DictConfig, fill: Callable[[DictConfig], None]) -> DictConfig:
    """A config that is made when somebody first looks into it, and until then weighs next to nothing.

    Arguments:
        original: what is copied then; nobody may change it in the meantime.
        fill: is given the fresh copy, to change it.

    Example:

    >>> from omegaconf import OmegaConf
    >>> config = late(OmegaConf.create({"a": 1}), lambda copy: copy.update(a=2))
    >>> config.a
    2
    """
    config = _without_content(original, None)
    config.__dict__["_content"] = _LateContent(config, original, fill)
    return config


def _without_content(node: SomeNode, parent: Any) -> SomeNode:
    copied: SomeNode = _new(type(node))
    state = copied.__dict__
    state.update(node.__dict__)
    state["_parent"] = parent
    state["_flags_cache"] = None
    metadata = state["_metadata"]
    state["_metadata"] = new = _new(type(metadata))
    fields = new.__dict__
    fields.update(metadata.__dict__)
    fields["flags"] = dict(fields["flags"])
    cached = fields["resolver_cache"]
    fields["resolver_cache"] = deepcopy(cached) if cached else defaultdict(dict)
    return copied


class _LateContent(dict[Any, Node]):
    """The nodes of a config by key; whatever is asked of them makes them first."""

    def __init__(self, config: DictConfig, original: DictConfig, fill: Callable[[DictConfig], None]) -> None:
        super().__init__()
        self._recipe: Any = (config, original, fill)

    def _filled(self) -> dict[Any, Node]:
        if self._recipe is not None:
            (config, original, fill), self._recipe = self._recipe, None
            dict.update(self, {key: clone(child, config) for key, child in original.__dict__["_content"].items()})
            fill(config)
        return self

    def __reduce_ex__(self, protocol: Any) -> Any:
        return dict, (dict(self._filled().items()),)


def _asks(name: str) -> Callable[..., Any]:
    method = getattr(dict, name)

    def ask(self: _LateContent, *arguments: Any, **named: Any) -> Any:
        return method(self._filled(), *arguments, **named)

    return ask


for _name in (
    *("__getitem__", "__setitem__", "__delitem__", "__contains__", "__iter__", "__len__", "__eq__", "__ne__"),
    *("__repr__", "__or__", "__ror__", "__ior__", "__reversed__", "get", "keys", "items", "values", "copy"),
    *("pop", "popitem", "setdefault", "update", "clear"),
):
    setattr(_LateContent, _name, _asks(_name))
