"""Finding, describing and registering; nothing here needs Keras."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import lossreg
from lossreg import (
    AmbiguousNameError,
    BrokenPluginError,
    DuplicateNameError,
    ParameterError,
    Registry,
    RegistryError,
    Style,
    UnknownNameError,
)


def test_importing_the_registry_and_listing_imports_no_plugin() -> None:
    code = (
        "import sys, lossreg; lossreg.losses.names(); lossreg.regularizers.names(); 'mix' in lossreg.losses; "
        "lossreg.losses.describe('mix'); "
        "print([name for name in ('tensorflow', 'keras', 'lossreg_plugins', 'numpy', 'hydra') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_names_are_sorted_and_usable(losses: Registry) -> None:
    names = losses.names()
    assert names == sorted(names) == list(losses)
    assert len(losses) == len(names)
    assert {"bce", "mse", "mix", "focal", "plain", "shatter"} <= set(names)
    assert all(name in losses for name in names)
    assert "nothing" not in losses
    assert 3 not in losses


def test_get_imports_only_the_one_plugin(losses: Registry) -> None:
    sys.modules.pop("pack_a", None)
    target = losses.get("pack-a/twin")
    assert target.__module__ == "pack_a"
    assert "broken_pack" not in sys.modules


def test_describe_tells_where_from_and_what(losses: Registry) -> None:
    described = losses.describe("with_parameters")
    assert (described.distribution, described.version) == ("every-kind", "1.2.3")
    assert described.target == "every_kind:with_parameters"
    assert described.qualified_name == "every-kind/with_parameters"
    assert described.style is Style.FUNCTION
    assert [str(p) for p in described.parameters] == [
        "scale: float",
        "power: int | float = 2",
        "mode: Literal['mean', 'max'] = 'mean'",
    ]
    assert described.summary == "Scaled error; scale has no default."


def test_keras_bookkeeping_is_no_hyperparameter(losses: Registry) -> None:
    assert [p.name for p in losses.describe("keras_class").parameters] == ["scale"]


def test_an_unknown_name_names_the_nearest_and_all_with_their_packages(losses: Registry) -> None:
    with pytest.raises(UnknownNameError) as error:
        losses.get("mxi")
    message = str(error.value)
    assert message.startswith("There is no loss 'mxi'. Did you mean 'mix'? Available:")
    assert "\n  focal-hoyer 1.0.0: focal" in message
    assert "pack-a/twin" in message


def test_two_packages_with_one_name(losses: Registry) -> None:
    assert {"pack-a/twin", "pack-b/twin"} <= set(losses.names())
    assert "twin" not in losses.names()
    assert "twin" not in losses
    with pytest.raises(AmbiguousNameError, match="'pack-a/twin' or 'pack-b/twin'"):
        losses.get("twin")
    assert losses.describe("pack-b/twin").parameters[0].default == "b"


@pytest.mark.parametrize("name", ["every-kind/plain", "every_kind/plain", "Every.Kind/plain"])
def test_every_plugin_has_a_qualified_name(losses: Registry, name: str) -> None:
    assert name in losses
    assert losses.describe(name).name == "plain"


def test_our_names_cannot_be_taken_over_silently(squatter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(squatter))
    losses = Registry(lossreg.losses.kind)
    with pytest.raises(AmbiguousNameError, match="'lossreg/mix' or 'squatter/mix'"):
        losses.get("mix")
    assert losses.describe("lossreg/mix").target == "lossreg_plugins.losses:mix"


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("shatter", "package broken-pack 1.2.3 .* raised RuntimeError: the plugin fell over"),
        ("dependent", "package dependent 1.2.3 .* No module named 'a_package_that_is_not_installed'"),
        ("constant", "package every-kind 1.2.3 .* is a float, not a function or a class"),
        ("gone", "package every-kind 1.2.3 .* has no attribute 'gone'"),
    ],
)
def test_a_broken_plugin_is_listed_and_only_using_it_is_an_error(losses: Registry, name: str, cause: str) -> None:
    assert name in losses.names()
    with pytest.raises(BrokenPluginError, match=cause):
        losses.get(name)
    assert losses.get("pack-a/twin")


def test_a_plugin_that_cannot_be_imported_is_described_from_its_source(losses: Registry) -> None:
    assert [str(p) for p in losses.describe("shatter").parameters] == ["force: float = 1.0"]


@pytest.mark.parametrize(
    "cfg",
    [{}, {"r": 1}, None, 3, {"name": None}, {"name": ["mix"]}],
    ids=["empty", "nameless", "none", "int", "null", "list"],
)
def test_check_wants_a_named_node(cfg: object) -> None:
    with pytest.raises(ParameterError, match=r"loss: expected \{name: <loss>"):
        lossreg.losses.parse(cfg, key="loss")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["os.system", "lossreg_plugins.losses:mix", "../mix", "lossreg/../mix", ""])
def test_only_registered_names_are_names(name: str) -> None:
    with pytest.raises(UnknownNameError):
        lossreg.losses.parse({"name": name})


class TestRegister:
    @pytest.fixture(autouse=True)
    def registered(self) -> Iterator[None]:
        @lossreg.losses.register("scaled")
        def scaled(y_true, y_pred, scale=1.0):
            """Scaled."""

        yield
        lossreg.losses.unregister("scaled")

    def test_it_is_found_and_described(self) -> None:
        assert "scaled" in lossreg.losses
        assert lossreg.losses.describe("scaled").summary == "Scaled."
        assert lossreg.losses.describe("scaled").distribution is None

    def test_it_does_not_replace_silently(self) -> None:
        with pytest.raises(DuplicateNameError, match=r"'scaled' is taken.*replace=True"):
            lossreg.losses.register("scaled")(print)

    def test_it_replaces_when_told(self) -> None:
        @lossreg.losses.register("scaled", replace=True)
        def other(y_true, y_pred, factor=2.0):
            """Other."""

        assert [p.name for p in lossreg.losses.describe("scaled").parameters] == ["factor"]

    def test_an_installed_name_is_never_replaced(self) -> None:
        with pytest.raises(DuplicateNameError, match=r"'mix' is taken: lossreg_plugins\.losses:mix"):
            lossreg.losses.register("mix", replace=True)(print)

    def test_only_callables(self) -> None:
        with pytest.raises(BrokenPluginError, match="not a function or a class"):
            lossreg.losses.register("three")(3)

    def test_unregister_knows_only_what_was_registered(self) -> None:
        with pytest.raises(UnknownNameError, match="registered in this process"):
            lossreg.losses.unregister("mix")


def test_errors_survive_a_process_boundary() -> None:
    for error in RegistryError.__subclasses__():
        assert str(pickle.loads(pickle.dumps(error("what happened")))) == "what happened"
