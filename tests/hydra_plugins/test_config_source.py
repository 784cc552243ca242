"""Registered names as Hydra config groups: composing, help, completion, other apps."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.errors import ConfigCompositionException
from hydra.plugins.config_source import ConfigLoadError
from hydra.test_utils.config_source_common_tests import ConfigSourceTestSuite
from omegaconf import OmegaConf

import lossreg
from hydra_plugins.lossreg.config_source import RegistryConfigSource
from lossreg import GROUPS, Registry
from lossreg.training import Config, ConfigError, load_data, read_config, require_fit
from tests.conftest import ROOT, Run, composed


def test_the_defaults_are_the_study_s() -> None:
    cfg = composed()
    assert OmegaConf.to_container(cfg.loss, resolve=True) == {"name": "lossreg/bce"}
    assert OmegaConf.to_container(cfg.reg) == {"name": "lossreg/none"}
    assert (cfg.epochs, cfg.batch_size, cfg.seed, cfg.objective) == (500, 32, 0, None)
    assert (cfg.model.hidden_units, cfg.model.activation, cfg.model.dropout) == ([4], "sigmoid", 0.1)
    assert (cfg.optimizer.name, cfg.optimizer.learning_rate) == ("adam", 0.05)
    assert cfg.data.inputs == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert cfg.data.targets == [[0], [1], [1], [0]]
    assert composed("loss=mix").loss.r == 0.5
    assert composed("reg=l2custom").reg.r == 0.0001


@pytest.mark.parametrize(
    ("option", "needed"),
    [
        ("linear", {"initial_learning_rate": 1}),
        ("cosine", {"initial_learning_rate": 1}),
        ("warmup", {"end_learning_rate": 1}),
        ("warmup_cosine", {"warmup_target": 1}),
    ],
)
@pytest.mark.parametrize("key", ["loss.r", "reg.r", "optimizer.learning_rate"])
def test_every_preset_of_a_schedule_composes_and_lasts_the_fit(key: str, option: str, needed: dict[str, int]) -> None:
    cfg = composed(
        *("loss=mix", "reg=l2custom", "epochs=30", "batch_size=2", f"+schedule@{key}={option}"),
        *(f"{key}.{name}={value}" for name, value in needed.items()),
    )
    lossreg.losses.parse(cfg.loss)
    lossreg.regularizers.parse(cfg.reg)
    read_config(cfg)
    schedule = lossreg.schedules.build(OmegaConf.select(cfg, key))
    values = np.array([float(schedule(step)) for step in range(61)])
    ramp, whole = np.minimum(np.arange(61) / 6, 1), np.arange(61) / 60
    assert values == pytest.approx(
        {
            "linear": 1 - whole,
            "cosine": (1 + np.cos(np.pi * whole)) / 2,
            "warmup": ramp,
            "warmup_cosine": np.where(ramp < 1, ramp, (1 + np.cos(np.pi * (np.arange(61) - 6) / 54)) / 2),
        }[option],
        abs=1e-6,
    )


def test_there_is_a_test_of_every_preset_of_a_schedule() -> None:
    options = {path.stem for path in (ROOT / "conf" / "schedule").glob("*.yaml")}
    assert options == {"linear", "cosine", "warmup", "warmup_cosine"}


@pytest.mark.parametrize("group", sorted(GROUPS))
def test_every_registered_name_composes(group: str) -> None:
    for name in GROUPS[group].names():
        if group in ("loss", "reg", "data", "model", "optimizer"):
            node = composed(f"{group}={name}")[group]
        else:
            node = composed("loss=mix", f"+{group}@loss.r={name}").loss.r
        assert node["name"] == name


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.hidden_units=0", "model.hidden_units: .*, not 0"),
        ("model.activation=sigmod", "Did you mean 'sigmoid'"),
        ("model.dropout=1.0", "model.dropout: .*, not 1.0"),
        ("optimizer.learning_rate=0", "optimizer.learning_rate: 0.0 is not accepted; it must be a positive number"),
        ("optimizer.learning_rate=abc", "optimizer.learning_rate: .*, not 'abc'"),
        ("optimizer.learning_rate=true", "optimizer.learning_rate: .*, not True"),
        ("optimizer.learning_rate=nan", "optimizer.learning_rate: nan"),
        ("optimizer.name=adma", "Did you mean 'adam"),
        ("epochs=0", "epochs: 0"),
        ("batch_size=0", "batch_size: 0"),
        ("seed=-1", "seed: -1"),
        ("verbose=2", "verbose: 2"),
        ("objective=brie", "Did you mean 'brier'?"),
        ("data.targets=[[0],[1],[1]]", "data.targets: .* it must be 4 rows"),
        (
            "loss=bce data.targets=[[0],[1],[1],[0.5]]",
            "loss: .*bce.* is not made for the task regression of data=xor",
        ),
        ("data.inputs=xor", "data.inputs: .*, not 'xor'"),
        ("data.inputs=[[0],[1],[1],[0,1]]", "data.inputs: .* it must be rows of one length"),
    ],
)
def test_a_value_out_of_range_is_refused_by_its_key(override: str, message: str) -> None:
    def read() -> None:
        config = read_config(composed(*override.split()))
        require_fit(config, load_data(config), lossreg.losses.parse(config.loss, key="loss"))

    with pytest.raises((ConfigError, lossreg.RegistryError), match=message):
        read()


def test_the_config_is_typed() -> None:
    assert isinstance(read_config(composed()), Config)
    with pytest.raises(ConfigCompositionException):
        composed("epochs=abc")


@contextmanager
def serving(**groups: Registry) -> Iterator[RegistryConfigSource]:
    yield type("Source", (RegistryConfigSource,), {"groups": groups})("test", "lossreg://")


def test_the_source_lists_and_loads(losses: Registry) -> None:
    with serving(loss=losses) as source:
        assert source.list(config_path="", results_filter=ObjectType.GROUP) == ["loss"]
        assert source.list(config_path="loss", results_filter=ObjectType.CONFIG) == losses.names()
        assert source.load_config("loss/focal").config == {"name": "focal", "gamma": 2.0, "alpha": 0.5}
        assert source.load_config("loss/with_parameters.yaml").config == {
            **{"name": "with_parameters", "scale": "???", "power": 2, "mode": "mean"}
        }
        assert source.load_config("loss/pack-a/twin").config == {"name": "pack-a/twin", "own": "a"}
        assert source.is_config("loss/twin")
        with pytest.raises(ConfigCompositionException, match="'pack-a/twin' or 'pack-b/twin'"):
            source.load_config("loss/twin")


def in_process(**names: dict[str, str]) -> Registry:
    """A registry of functions that take the given parameters."""
    found = Registry(dataclasses.replace(lossreg.losses.kind, group="nothing.installed"))
    for name, parameters in names.items():
        arguments = ", ".join(f"{key}={value!r}" for key, value in parameters.items())
        found.register(name)(eval(f"lambda y_true, y_pred, {arguments}: 0"))
    return found


class Served(RegistryConfigSource):
    """Serves names like those of the files that Hydra's suite expects."""

    groups = {  # noqa: RUF012
        "dataset": in_process(imagenet={"path": "/datasets/imagenet"}, cifar10={"path": "/datasets/cifar10"}),
        "optimizer": in_process(adam={}, nesterov={}),
    }


@pytest.mark.parametrize(("type_", "path"), [(Served, "lossreg://")])
class TestHydraSuite(ConfigSourceTestSuite):
    """Hydra's own suite, as far as it applies: a registry has groups of named configs, and nothing else."""

    DOES_NOT_APPLY = {  # noqa: RUF012
        "level1": "a registry has no groups inside of groups",
        "configs_with_defaults_list": "the config of a name has no defaults list",
        "config_with_defaults_list": "the config of a name has no defaults list",
        "config_without_group": "every name of a registry is in a group",
        "config_with_unicode": "every name of a registry is in a group",
        "package_test": "the config of a name says nothing about its package",
        "primary_config": "a registry has no primary config",
    }

    @pytest.fixture(autouse=True)
    def only_what_applies(self, request: pytest.FixtureRequest) -> None:
        values = request.node.callspec.params.values()
        named = [
            request.node.name,
            *(text for value in values for text in (value if isinstance(value, list) else [value])),
        ]
        for name, reason in self.DOES_NOT_APPLY.items():
            if any(name in str(text) for text in named):
                pytest.skip(reason)

    def skip_overlap_config_path_name(self) -> bool:
        return True  # no name of a registry is a group too


class TestSource:
    @pytest.mark.parametrize(
        ("path", "expected"),
        [("", True), ("loss", True), ("loss/", True), ("reg", True), ("loss/mix", False), ("not_found", False)],
    )
    def test_is_group(self, path: str, expected: bool) -> None:
        assert RegistryConfigSource("test", "lossreg://").is_group(config_path=path) is expected

    @pytest.mark.parametrize(
        ("path", "expected"),
        [
            *[("", False), ("loss", False), ("loss/mix", True), ("loss/mix.yaml", True), ("loss/mix.foobar", False)],
            *[("loss/lossreg/mix", True), ("reg/l2custom", True), ("reg/mix", False), ("not_found", False)],
        ],
    )
    def test_is_config_and_exists(self, path: str, expected: bool) -> None:
        source = RegistryConfigSource("test", "lossreg://")
        assert source.is_config(config_path=path) is expected
        assert source.exists(path) is (expected or source.is_group(path))

    def test_not_available(self) -> None:
        assert RegistryConfigSource("test", "lossreg://").available()
        assert not RegistryConfigSource("test", "lossreg://___NOT_FOUND___").available()

    @pytest.mark.parametrize(
        ("path", "kind", "expected"),
        [
            ("", ObjectType.GROUP, sorted(GROUPS)),
            ("", ObjectType.CONFIG, []),
            ("", None, sorted(GROUPS)),
            ("loss", ObjectType.GROUP, []),
            ("loss", ObjectType.CONFIG, lossreg.losses.names()),
            ("loss", None, lossreg.losses.names()),
            ("not_found", None, []),
        ],
    )
    def test_list(self, path: str, kind: ObjectType | None, expected: list[str]) -> None:
        assert RegistryConfigSource("test", "lossreg://").list(config_path=path, results_filter=kind) == expected

    def test_load(self) -> None:
        source = RegistryConfigSource("test", "lossreg://")
        result = source.load_config("loss/mix")
        assert result.config == {"name": "mix", "r": 0.5}
        assert result.header == {"package": None}
        assert (result.provider, result.path) == ("test", "lossreg://")
        with pytest.raises(ConfigLoadError):
            source.load_config("not_found/mix")

    def test_the_scheme_is_known_to_hydra(self) -> None:
        from hydra._internal.sources_registry import SourcesRegistry

        Plugins.instance()  # scans hydra_plugins
        assert SourcesRegistry.instance().resolve("lossreg").__name__ == "RegistryConfigSource"


def test_help_lists_the_options(run: Run, packages: Path, no_tensorflow: Path) -> None:
    result = run("--help", path=(no_tensorflow, packages))
    assert result.returncode == 0, result.stderr
    (line,) = (line for line in result.stdout.splitlines() if line.startswith("loss: "))
    assert {"bce", "mix", "focal", "pack-a/twin", "shatter"} <= set(
        line.removeprefix("loss:").replace(" ", "").split(",")
    )


def test_the_study_s_defaults_are_its_own_whatever_others_register(
    run: Run, squatter: Path, neighbours: Path, no_tensorflow: Path
) -> None:
    assert run("--help", path=(no_tensorflow, squatter, neighbours)).returncode == 0
    refused = run("loss=bce", path=(no_tensorflow, squatter, neighbours))
    assert refused.returncode == 1
    assert refused.stderr.startswith(
        "loss=bce: Several packages register a loss 'bce'. Say which one: 'lossreg/bce' or 'squatter/bce' "
        "(loss=lossreg/bce)."
    )
    result = run("epochs=1", "hydra.run.dir=out", path=(squatter, neighbours))
    assert result.returncode == 0, result.stderr
    assert not result.stderr


def test_shell_completion_knows_options_and_parameters(run: Run, packages: Path, no_tensorflow: Path) -> None:
    path = (no_tensorflow, packages)
    options = run("-sc", "query=bash", path=path, COMP_LINE="python train.py loss=", COMP_POINT="21")
    assert {"loss=mix", "loss=focal"} <= set(options.stdout.split()), options.stderr
    parameters = run("-sc", "query=bash", path=path, COMP_LINE="python train.py loss=focal loss.", COMP_POINT="32")
    assert "loss.gamma=" in parameters.stdout.split(), parameters.stderr


def test_another_app_gets_the_groups_by_one_line(run: Run, packages: Path) -> None:
    app = ROOT / "examples" / "hydra_app" / "app.py"
    result = run("loss=focal", "loss.gamma=3", "reg.r=0.01", program=app, path=(packages,))
    assert result.returncode == 0, result.stderr
    assert (
        "compiled with <loss focal-hoyer/focal(gamma=3.0, alpha=0.5)> and <regularizer lossreg/l2custom(r=0.01)>"
        in (result.stdout)
    )


def test_an_app_that_did_not_ask_has_no_groups_of_ours(run: Run, tmp_path: Path) -> None:
    program = tmp_path / "app.py"
    program.write_text(
        "import hydra\n@hydra.main(version_base='1.3', config_path=None)\ndef main(cfg): pass\n"
        "if __name__ == '__main__': main()\n"
    )
    result = run("--help", program=program)
    assert result.returncode == 0
    assert "loss:" not in result.stdout
