"""What is read from a source equals what importing it tells, and nothing is imported."""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from lossreg._source import outline_of_object, outline_of_source

TARGETS = [
    "lossreg_plugins.losses:mix",
    "lossreg_plugins.regularizers:l2custom",
    "keras.losses:Huber",
    "keras.losses:BinaryFocalCrossentropy",
    "keras.regularizers:L1L2",
    "keras.optimizers.schedules:CosineDecay",
    "textwrap:shorten",
]


@pytest.mark.parametrize("target", TARGETS)
def test_the_source_tells_what_importing_tells(target: str) -> None:
    module, _, attribute = target.partition(":")
    outline = outline_of_source(target)
    assert outline is not None
    imported = outline_of_object(getattr(import_module(module), attribute))
    read = [(p.name, p.kind, p.default) for p in outline.signature.parameters.values()]
    assert read == [(p.name, p.kind, p.default) for p in imported.signature.parameters.values()]
    assert outline.is_class == imported.is_class
    assert inspect.cleandoc(outline.docstring) == inspect.cleandoc(imported.docstring)


def test_reading_imports_nothing() -> None:
    code = (
        "import sys; from lossreg._source import outline_of_source as read; "
        f"assert all(read(target) for target in {TARGETS}); "
        "print([name for name in ('keras', 'tensorflow', 'lossreg_plugins') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "source",
    [
        "import functools\n@functools.cache\ndef f(y_true, y_pred, r=1.0): ...",
        "LIMIT = 3\ndef f(y_true, y_pred, r=LIMIT): ...",
        "def f(y_true, y_pred): ...\nf = print",
        "try:\n    from os import getcwd as f\nexcept ImportError:\n    def f(y_true): ...",
        "import dataclasses\n@dataclasses.dataclass\nclass f:\n    r: float = 1.0",
        "class Meta(type): ...\nclass f(metaclass=Meta): ...",
        "class f:\n    def __new__(cls, r): ...",
        "def f(y_true, y_pred:\n",
        "f = lambda y_true, y_pred: 0",
        "if True:\n    def f(y_true, y_pred): ...",
    ],
    ids=["decorator", "computed", "rebound", "try", "dataclass", "metaclass", "new", "syntax", "lambda", "if"],
)
def test_what_the_source_does_not_settle_is_not_guessed(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    module = f"unsettled_{request.node.callspec.id}"
    (tmp_path / f"{module}.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert outline_of_source(f"{module}:f") is None


def test_an_inherited_initializer_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "heirs.py").write_text(
        "from .nowhere import Other\nimport keras\n"
        "class Base(keras.losses.Loss):\n    def __init__(self, r: float = 0.5, **kwargs): ...\n"
        "class Heir(Base):\n    '''An heir.'''\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    outline = outline_of_source("heirs:Heir")
    assert outline is not None
    assert str(outline.signature) == "(r: 'float' = 0.5, **kwargs)"
    assert outline.docstring == "An heir."


def test_reexports_are_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "reexporting"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text("from .inner import loss as renamed\n")
    (package / "inner" / "__init__.py").write_text("from .deep import original as loss\n")
    (package / "inner" / "deep.py").write_text("def original(y_true, y_pred, r=2): ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    outline = outline_of_source("reexporting:renamed")
    assert outline is not None
    assert list(outline.signature.parameters) == ["y_true", "y_pred", "r"]
    assert "reexporting" not in sys.modules


def test_whoever_imports_a_factory_may_say_that_it_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "theirs.py").write_text("def made(w0, w1):\n    return elsewhere(w0, w1)\n")
    (tmp_path / "mine.py").write_text("from theirs import made\nmade.lossreg_style = 'factory'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for module, is_factory in (("theirs", False), ("mine", True)):
        outline = outline_of_source(f"{module}:made")
        assert outline is not None
        assert outline.is_factory is is_factory
