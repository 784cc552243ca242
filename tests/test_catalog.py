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
from lossreg._catalog import unread
from tests.conftest import BROKEN_ENTRY_POINTS, dist_info


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
    assert [p.name for p in losses.describe("keras_class").parameters] == ["scale", "reduction"]


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


class TestNeighbours:
    """One bad neighbour spoils nobody."""

    @pytest.fixture(autouse=True)
    def strangers(self, packages: Path, neighbours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.syspath_prepend(str(packages))
        monkeypatch.syspath_prepend(str(neighbours))
        self.losses = Registry(lossreg.losses.kind)

    def test_what_cannot_be_read_is_told_and_the_others_work(self) -> None:
        reasons = dict(unread())
        expected = {f"{name}-1.0" for name in [*BROKEN_ENTRY_POINTS, "nameless", "binary", "absent"]}
        assert expected <= set(reasons)
        assert all(reasons[name].startswith("its metadata cannot be read: ") for name in expected)
        assert "'focal' in entry_points.txt is no <name> = <module>:<object>" in reasons["no_equals-1.0"]
        assert self.losses.describe("mix").distribution == "lossreg"
        assert self.losses.describe("focal").distribution == "focal-hoyer"
        with pytest.raises(UnknownNameError, match=r"no_utf8-1\.0 cannot be used: its metadata cannot be read"):
            self.losses.find("fäcal")

    def test_a_group_that_nobody_reads_is_pointed_at(self) -> None:
        found = [why for package, why in unread() if package == "neighbour 1.0"]
        assert found == [
            "it registers 'lost' in 'losreg.regularizers', which nobody reads. Did you mean 'lossreg.regularizers'?",
            "it registers 'lost' in 'lossreg.loss', which nobody reads. Did you mean 'lossreg.losses'?",
        ]
        with pytest.raises(UnknownNameError, match=r"'lost' in 'lossreg\.loss', which nobody reads"):
            self.losses.find("lost")

    def test_an_extra_and_spaces_are_no_part_of_the_target(self) -> None:
        assert self.losses.describe("spaced").target == "every_kind:plain"
        assert self.losses.get("spaced").__name__ == "plain"

    @pytest.mark.parametrize("name", ["a/b", "a b", "\x1b[2Jred", "neighbour/lossreg/mix"])
    def test_a_name_that_cannot_be_typed_is_broken(self, name: str) -> None:
        assert name not in self.losses.names()
        with pytest.raises(BrokenPluginError, match=r"of package neighbour 1\.0 cannot be used: a name has") as error:
            self.losses.create(name)
        assert "\x1b" not in str(error.value)

    @pytest.mark.parametrize(("name", "target"), [("no_target", "every_kindplain:"), ("module", "json")])
    def test_what_is_no_target_is_broken(self, name: str, target: str) -> None:
        with pytest.raises(BrokenPluginError, match=f"its entry point is '{target}', not <module>:<object>"):
            self.losses.create(name)

    def test_nobody_s_name_hides_another_s(self) -> None:
        assert self.losses.describe("lossreg/mix").distribution == "lossreg"

    def test_what_is_hidden_further_down_the_path_is_not_read(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = set(self.losses.names())
        dist_info(tmp_path, "neighbour", b"[lossreg.losses]\nnewer = every_kind:plain\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        now = set(Registry(lossreg.losses.kind).names())
        assert (now - before, before - now) == ({"newer"}, {"spaced", "no_target", "module"})


def test_names_and_nodes_point_at_each_other() -> None:
    with pytest.raises(ParameterError, match=r"not 'mix'. A name is for create\('mix'\)\."):
        lossreg.losses.build("mix")  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match=r"create takes a name and parameters, .* A config node is for build"):
        lossreg.losses.create({"name": "mix"})  # type: ignore[arg-type]


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

    def test_a_cell_that_is_run_again_replaces_what_it_registered_itself(self) -> None:
        cell = "@lossreg.losses.register('cell')\ndef cell(y_true, y_pred, factor={}): pass"
        names = {"lossreg": lossreg, "__name__": "__main__"}
        try:
            for factor in (1.0, 2.0):
                exec(cell.format(factor), names)
                assert lossreg.losses.describe("cell").parameters[0].default == factor
            with pytest.raises(DuplicateNameError, match="'cell' is taken: __main__:cell"):
                exec(cell.replace("def cell", "def other"), names)
            with pytest.raises(DuplicateNameError):
                exec(cell.format(3.0), names | {"__name__": "elsewhere"})
        finally:
            lossreg.losses.unregister("cell")

    def test_two_lambdas_are_two_definitions(self) -> None:
        lossreg.losses.register("short")(lambda y_true, y_pred: y_true)
        try:
            with pytest.raises(DuplicateNameError):
                lossreg.losses.register("short")(lambda y_true, y_pred: y_pred)
        finally:
            lossreg.losses.unregister("short")

    @pytest.mark.parametrize("name", ["a/b", "a b", "", "lossreg/mix"])
    def test_a_name_that_cannot_be_typed_is_refused(self, name: str) -> None:
        with pytest.raises(BrokenPluginError, match="cannot be registered: a name has letters"):
            lossreg.losses.register(name)(print)

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
