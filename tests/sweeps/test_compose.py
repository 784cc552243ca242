"""The config of each job of a sweep is what Hydra composes for it. No TensorFlow."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Optional, Union

import pytest
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import BooleanNode, DictConfig, EnumNode, FloatNode, OmegaConf, PathNode, StringNode, open_dict

from lossreg.sweeps import CannotBatch
from lossreg.sweeps._compose import Composed, SweepLoader

CONFIGS = Path(__file__).parent / "sweep_app" / "compose"


class Color(Enum):
    red = 1
    blue = 2


@dataclass
class Deep:
    x: float = 0.0
    y: str = ""
    z: Optional[int] = None  # noqa: UP045


@dataclass
class Nested:
    a: int = 0
    b: Any = None
    deep: Deep = field(default_factory=Deep)
    either: Union[int, str] = 3  # noqa: UP007


SCHEMA = {
    "rate": FloatNode("???", is_optional=False),
    "name": StringNode("???"),
    "flag": BooleanNode("???", is_optional=False),
    "choice": EnumNode(Color, "???"),
    "path": PathNode("somewhere"),
    "nested": Nested,
    "table": DictConfig({}, key_type=str, element_type=float),
}


class Counting:
    """Hydra's loader, with a note of what it was asked to compose."""

    def __init__(self, loader: Any) -> None:
        self.loader = loader
        self.calls: list[list[str]] = []

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        self.calls.append(list(sweep_overrides))
        found: DictConfig = self.loader.load_sweep_config(master_config, sweep_overrides)
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)


class House:
    """A multirun's config, Hydra's loader and ours."""

    def __init__(self, name: str = "config", *overrides: str) -> None:
        self.hydra = Counting(GlobalHydra.instance().config_loader())
        self.loader = SweepLoader(self.hydra)
        self.master = self.hydra.load_configuration(name, list(overrides), RunMode.MULTIRUN)
        if name == "config":
            _ = self.master.stamp  # so that jobs have a resolved value to keep

    def _of_hydra(self, overrides: list[str]) -> DictConfig | Exception:
        try:
            config: DictConfig = self.hydra.loader.load_sweep_config(self.master, list(overrides))
        except Exception as error:
            return error
        return config

    def check(self, overrides: list[str], number: int = 7) -> Composed | None:
        """Compare a job of ours with Hydra's own; `None` if both refuse it, for the same reason."""
        expected = self._of_hydra(overrides)
        if isinstance(expected, Exception):
            with pytest.raises(type(expected)) as refused:
                self.loader.load_sweep_config(self.master, overrides)
            assert str(refused.value) == str(expected)
            return None
        with open_dict(expected):
            expected.hydra.job.num, expected.hydra.job.id = number, str(number)
        found = self.loader.load_sweep_config(self.master, overrides)
        config = found.config(number)
        assert OmegaConf.to_yaml(config) == OmegaConf.to_yaml(expected)
        assert types(config) == types(expected)
        assert OmegaConf.get_cache(config) == OmegaConf.get_cache(expected)
        assert OmegaConf.is_struct(config) == OmegaConf.is_struct(expected)
        assert found.overrides == OmegaConf.to_container(expected.hydra.overrides.task, resolve=False)
        assert found.files["overrides.yaml"] == OmegaConf.to_yaml(expected.hydra.overrides.task)
        with open_dict(expected):
            del expected["hydra"]
        assert found.files["config.yaml"] == OmegaConf.to_yaml(expected)
        try:
            plain = OmegaConf.to_container(expected, resolve=True)
        except Exception:
            with pytest.raises(CannotBatch, match="cannot be resolved"):
                _ = found.plain
        else:
            assert repr(found.plain) == repr(plain)
        return found


def types(config: Any) -> Any:
    """The type of each node of a config, as far as values may be set in it."""
    if not OmegaConf.is_dict(config):
        return type(config)
    return {
        key: "???"
        if OmegaConf.is_missing(config, key)
        # What is refused tells the types of nodes: a float there takes no word.
        else "${}"
        if OmegaConf.is_interpolation(config, key)
        else (OmegaConf.get_type(config, key), types(config[key]))
        for key in config
        if key != "hydra"
    }


@pytest.fixture
def house(hydra_restore_singletons: None) -> Iterator[type[House]]:
    ConfigStore.instance().store("schema", SCHEMA)
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        yield House


SAMPLES = {
    "seed": ["0", "1", "7", "abc", "'3'", "null", "1.5", "${nested.a}"],
    "rate": ["0.1", "1", "1e-5", "inf", "nan", "no", "${seed}"],
    "name": ["x", "'a b'", "'a,b'", '"q\\"q"', "${oc.env:NOT_SET,none}", "5", "true", "a:b", "''", "null", "1e5"],
    "flag": ["true", "off", "0", "maybe"],
    "choice": ["red", "blue", "2", "green"],
    "nothing": ["1", "null", "{a:1}", "[1,2]", "x"],
    "tags": ["[]", "[x,y]", "c"],
    "tags.0": ["z"],
    "nested": ["{a:5}", "3", "null"],
    "nested.a": ["4", "x", "5"],
    "nested.b": ["4", "${rate}", "[1]", "null"],
    "nested.either": ["4", "word", "1.5"],
    "nested.deep": ["{x:2}", "null"],
    "nested.deep.x": ["2.5", "3", "${rate}", "y"],
    "nested.deep.z": ["1", "null"],
    "nested.deep.w": ["1"],
    "there.x": ["9"],
    "table.k": ["1", "2.5", "x"],
    "path": ["elsewhere", "a/b"],
    "twice": ["once", "null"],
    "db": ["mysql", "pg", "oracle", "{driver:x}", "1"],
    "db.port": ["1", "2"],
    "db.timeout": ["1"],
    "db@other": ["pg"],
    "opt": ["adam", "sgd"],
    "extra": ["one"],
    "extra.k": ["2"],
    "momentum": ["0.5"],
    "new": ["1", "{a:{b:2}}", "[1,{x:2}]", "text"],
    "new.a": ["1"],
    "new.a.b": ["2", "3"],
    "fresh": ["1", "${seed}"],
    "hydra.job.name": ["other"],
}


@pytest.mark.parametrize("seed", range(2))
def test_composes_what_hydra_composes(house: type[House], seed: int) -> None:
    """Sweeps over a few keys each, of every kind, with any values."""
    generator = random.Random(seed)
    at = house("config", "+hydra.job.env_set.SOME=thing")
    jobs = []
    for _ in range(6):
        keys = generator.sample(list(SAMPLES), generator.randint(0, 3))
        prefixes = [generator.choices(["", "+", "++", "~"], [12, 3, 3, 1])[0] for _ in keys]
        for _ in range(4):
            lines = [f"{p}{key}={generator.choice(SAMPLES[key])}" for p, key in zip(prefixes, keys, strict=True)]
            jobs.append(
                [line.partition("=")[0] if line[0] == "~" and generator.random() < 0.7 else line for line in lines]
            )
    generator.shuffle(jobs)
    for overrides in jobs:
        try:
            at.check(overrides)
        except AssertionError as error:
            raise AssertionError(f"{overrides}: {error}") from error


AWKWARD = [
    [["seed=3", "rate=${seed}", "nested.b=[1]", "name='a b'"], ["seed=4", "rate=0.5", "nested.b=[1]", "name=c"]],
    [["+late.a=1", "+late.b=2"], ["+late.a=3", "+late.b=4"]],  # the second is added to what the first made
    [["+fresh=1", "+new={a:1}", "+last=2"], ["+fresh=2", "+new={a:1}", "+last=3"]],  # keys are added in this order
    [["nested.a=1", "nested={a:2}"], ["nested.a=3", "nested={a:2}"]],
    [["nested={a:2}", "nested.a=1"], ["nested={a:2}", "nested.a=3"]],
    [["db=pg", "db.timeout=7", "db.port=1"], ["db=pg", "db.timeout=8", "db.port=2"]],
    [["nothing=3", "~tags", "seed=2"], ["nothing=null", "~tags", "seed=3"]],
    [["stamp=null", "~twice"], ["stamp=1", "~twice"]],
    [["nested.a=3"], ["nested.a=null"]],  # refused: it is an int
    [["twice=null", "~there"], ["twice=1", "~there"]],
    [["seed=0", "~nested.b=0"], ["seed=1", "~nested.b=0"]],  # whether it is refused depends on what it points to
    [["seed=1", "~twice"], ["seed=null", "~twice"]],
    [["nested.b=1", "+twice=2"], ["nested.b=2", "+twice=3"]],  # refused: it is there
    [["seed=null", "+nested.b=2"], ["seed=1", "+nested.b=2"]],  # refused where what it points to is there
    [["nested.deep.x=1", "there.x=9"], ["nested.deep.x=2", "there.x=9"]],  # the same key by another name
    [["there.x=9", "nested.deep.x=1"], ["there.x=9", "nested.deep.x=2"]],
    [["nested=3", "seed=1"], ["nested=null", "seed=2"], ["nested={a:7}", "seed=2"]],
    [["nothing=1"], ["nothing={a:1}"], ["nothing=2"], ["nothing=[1]"], ["nothing=null"]],
    [["choice=red", "path=a/b"], ["choice=blue", "path=c"], ["choice=2", "path=d"], ["choice=mauve", "path=d"]],
    [["hydra.job.name=x", "seed=1"], ["hydra.job.name=x", "seed=2"]],
    [["seed=1,2"], ["seed=range(0,3)"]],  # refused: a job sweeps over nothing
    [["name=${hydra:job.num}x", "seed=1"], ["name=y", "seed=2"]][1:],
    [["db={port:5}", "seed=1"], ["db={port:5}", "seed=2"]],
    [["~db", "seed=1"], ["~db", "seed=2"]],
    [["seed="], ["seed=1"], ["seed='='"]],
    [["name=???"], ["name=x"]],
]


@pytest.mark.parametrize("jobs", AWKWARD)
def test_awkward_combinations(house: type[House], jobs: list[list[str]]) -> None:
    at = house()
    for overrides in [*jobs, *jobs]:
        at.check(overrides)
    at = house()
    for overrides in reversed(jobs):
        at.check(overrides)


def test_the_directory_s_name_that_overrides_make(house: type[House]) -> None:
    at = house(
        *("config", "hydra.sweep.subdir=${hydra.job.override_dirname}/${seed}-${hydra:job.num}"),
        *("hydra.job.config.override_dirname.exclude_keys=[seed]", "hydra.job.config.override_dirname.kv_sep=:"),
    )
    for number in (3, 4):
        overrides = [f"seed={number}", "rate=0.5", "db=pg"]
        found = at.check(overrides, number)
        assert found is not None
        assert found.subdir(number) == f"db:pg,rate:0.5/{number}-{number}"


def test_plain_data_of_a_config_without_interpolations(house: type[House]) -> None:
    at = house("plain")
    for more in (["db.port=1"], ["db.port=2", "nested.deep.y=w"], ["db.port=3"]):
        at.check(more)
        at.check([*more, "seed=3", "nested.deep.x=2", "nested.a=7", "+new=null"])
        at.check([*more, "name='${seed}'"])


def test_jobs_of_one_group_choice_are_composed_once(house: type[House]) -> None:
    at = house()
    for db in ("mysql", "pg"):
        for seed in range(50):
            config = at.loader.load_sweep_config(at.master, [f"db={db}", f"seed={seed}", f"++rate={seed}"]).plain
            assert (config["db"]["driver"] == "pg") == (db == "pg")
            assert config["twice"] == f"{seed}-1"
            assert config["rate"] == seed
    assert at.hydra.calls == [[f"db={db}", "seed=0", "++rate=0"] for db in ("mysql", "pg")]


def test_a_sweeper_that_looks_at_what_it_validates(house: type[House]) -> None:
    at = house()
    whole = SweepLoader(at.hydra, whole=True)
    configs = [whole.load_sweep_config(at.master, [f"seed={seed}"]) for seed in range(3)]
    assert all(OmegaConf.is_config(config) for config in configs)
    assert [(config.seed, config["twice"], config.hydra.overrides.task) for config in configs] == [
        (seed, f"{seed}-1", [f"seed={seed}"]) for seed in range(3)
    ]


def test_jobs_share_nothing(house: type[House]) -> None:
    at = house()
    first, second = (at.loader.load_sweep_config(at.master, [f"seed={seed}"]) for seed in (1, 2))
    config = first.config(1)
    config.nested.deep.x = 99.0
    config.tags.append("c")
    config.hydra.job.env_set = {"A": "b"}
    assert second.plain["nested"]["deep"]["x"] == 1.5
    assert second.config(2).tags == ["a", "b"]
    at.check(["seed=1"])


def test_an_error_of_a_config_in_hydra_s_words(house: type[House]) -> None:
    at = house()
    at.check(["seed=1"])
    assert at.check(["sede=1"]) is None
    assert at.check(["nested.a=1"]) is not None
    assert at.check(["nested.a=word"]) is None
    assert at.check(["db=oracle"]) is None
    assert at.check(["a b"]) is None
