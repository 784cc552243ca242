"""Composing from templates gives exactly what Hydra composes. No TensorFlow."""

from __future__ import annotations

import copy
import pickle
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Optional, Union

import pytest
from hydra import version
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import (
    BooleanNode,
    DictConfig,
    EnumNode,
    FloatNode,
    ListConfig,
    Node,
    OmegaConf,
    PathNode,
    StringNode,
)

from lossreg.sweeps.clone import clone, late
from lossreg.sweeps.compose import SweepLoader

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


@pytest.fixture
def hydra(hydra_restore_singletons: None) -> Iterator[Hydra]:
    version.setbase("1.3")
    ConfigStore.instance().store("schema", SCHEMA)
    yield Hydra.create_main_hydra2("app", create_config_search_path(str(CONFIGS)))
    GlobalHydra.instance().clear()


def master_of(hydra: Hydra, *overrides: str) -> DictConfig:
    return hydra.compose_config("config", list(overrides), RunMode.MULTIRUN)


def anatomy(node: Any) -> Any:
    """Everything that a node is: kind, type, flags, key, cached values, and its children's anatomy in order."""
    metadata = node._metadata
    kind = (type(node), metadata.ref_type, metadata.object_type, metadata.optional, metadata.key, dict(metadata.flags))
    content = node.__dict__.get("_content")
    if isinstance(content, Node):
        return kind, anatomy(content)
    if isinstance(node, (DictConfig, ListConfig)) and not isinstance(content, (str, type(None))):
        children = content.items() if isinstance(node, DictConfig) else enumerate(content)
        for _, child in content.items() if isinstance(node, DictConfig) else enumerate(content):
            assert child._get_parent() is node
        return kind, metadata.element_type, metadata.key_type, [(key, anatomy(child)) for key, child in children]
    return kind, repr(node._value()), type(node._value())  # NaN equals nothing but its text


def composed(loader: Any, master: DictConfig, overrides: list[str]) -> Any:
    """The anatomy of a composed config and its text, or the error that it ends with."""
    try:
        config = loader.load_sweep_config(master, list(overrides))
    except Exception as error:
        cause = error.__cause__
        return type(error), str(error), type(cause), str(cause).split("reference_type")[0]
    return anatomy(config), OmegaConf.to_yaml(config), OmegaConf.get_cache(config)


SAMPLES = {
    "seed": ["0", "1", "7", "abc", "'3'", "null", "1.5", "${nested.a}"],
    "rate": ["0.1", "1", "1e-5", "inf", "nan", "no", "${seed}"],
    "name": ["x", "'a b'", "'a,b'", '"q\\"q"', "${oc.env:NOT_SET,none}", "5", "true", "a:b", "''", "null"],
    "flag": ["true", "off", "0", "maybe"],
    "choice": ["red", "blue", "2", "green"],
    "nothing": ["1", "null", "{a:1}", "[1,2]", "x"],
    "tags": ["[]", "[x,y]", "c"],
    "tags.0": ["z"],
    "nested": ["{a:5}", "3", "null"],
    "nested.a": ["4", "x"],
    "nested.b": ["4", "${rate}", "[1]"],
    "nested.either": ["4", "word", "1.5"],
    "nested.deep": ["{x:2}", "null"],
    "nested.deep.x": ["2.5", "3", "${rate}", "y"],
    "nested.deep.z": ["1", "null"],
    "nested.deep.w": ["1"],
    "there.x": ["9"],
    "table.k": ["1", "2.5", "x"],
    "path": ["elsewhere", "a/b"],
    "twice": ["once"],
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
    "new.a.b": ["2"],
    "fresh": ["1", "${seed}"],
    "hydra.job.num": ["3"],
}


def draw(generator: random.Random) -> str:
    key = generator.choice(list(SAMPLES))
    prefix = generator.choices(["", "+", "++", "~"], [12, 3, 3, 1])[0]
    if prefix == "~" and generator.random() < 0.7:
        return f"~{key}"
    return f"{prefix}{key}={generator.choice(SAMPLES[key])}"


@pytest.mark.parametrize("seed", range(2))
def test_composes_what_hydra_composes(hydra: Hydra, seed: int) -> None:
    generator = random.Random(seed)
    master = master_of(hydra, "+hydra.job.env_set.SOME=thing")
    _ = master.stamp  # so that jobs have a resolved value to keep
    loader = SweepLoader(hydra.config_loader)
    fast, whole = 0, 0
    for _ in range(20):
        overrides = [draw(generator) for _ in range(generator.randint(0, 3))]
        expected = composed(hydra.config_loader, master, overrides)
        assert composed(loader, master, overrides) == expected, overrides
        assert composed(loader, master, overrides) == expected, f"the second time: {overrides}"
        if not isinstance(expected[0], type):
            check_plain(loader, master, overrides)
        fast += loader.compose(master, overrides) is not None
        whole += not isinstance(expected[0], type)
    assert fast > whole * 0.5 > 3


def check_plain(loader: SweepLoader, master: DictConfig, overrides: list[str]) -> Any:
    """The plain data of a job is what OmegaConf makes of its config."""
    found = loader.compose(master, overrides) or loader.compose_whole(master, overrides)
    try:
        expected = OmegaConf.to_container(found.task(), resolve=True)
    except Exception as error:
        with pytest.raises(type(error)):
            found.plain()
    else:
        assert repr(found.plain()) == repr(expected)
    return found


@pytest.mark.parametrize(
    "overrides", [["seed=3", "nested.deep.x=2", "nested.deep.y=z", "nested.a=7", "+new=null"], ["name='${seed}'"], []]
)
def test_plain_data_of_a_config_without_interpolations(hydra: Hydra, overrides: list[str]) -> None:
    master = hydra.compose_config("plain", [], RunMode.MULTIRUN)
    loader = SweepLoader(hydra.config_loader)
    for more in (["db.port=1"], ["db.port=2", "nested.deep.y=w"], ["db.port=3"]):
        found = check_plain(loader, master, [*more, *(overrides if len(more) == 1 else [])])
        assert found.template.plain is not None
        assert len(found.patches) >= len(more)


@pytest.mark.parametrize(
    "overrides",
    [
        ["seed=3", "rate=${seed}", "nested.b=[1]", "name='a b'"],
        ["+late.a=1", "+late.b=2"],  # the second is added to what the first made
        ["+fresh=1", "+new={a:1}", "+last=2"],  # keys are added in this order
        ["nested.a=1", "nested={a:2}"],
        ["nested={a:2}", "nested.a=1"],
        ["db=pg", "db.timeout=7", "db.port=1"],
        ["nothing=3", "~tags", "seed=2"],
        ["stamp=null", "~twice"],
        ["nested.a=null"],  # refused: it is an int
        ["twice=null", "~there"],
    ],
)
def test_awkward_combinations(hydra: Hydra, overrides: list[str]) -> None:
    master = master_of(hydra)
    loader = SweepLoader(hydra.config_loader)
    assert composed(loader, master, overrides) == composed(hydra.config_loader, master, overrides)


def test_a_deletion_that_depends_on_another_value(hydra: Hydra) -> None:
    """Whether `~there=…` is refused depends on what it points to, so it cannot be done once for all jobs."""
    master = master_of(hydra)
    loader = SweepLoader(hydra.config_loader)
    for seed in ("0", "1"):
        overrides = [f"seed={seed}", "~nested.b=0"]
        assert composed(loader, master, overrides) == composed(hydra.config_loader, master, overrides)


def test_jobs_of_one_group_choice_are_composed_once(hydra: Hydra, monkeypatch: pytest.MonkeyPatch) -> None:
    master = master_of(hydra)
    loader = SweepLoader(hydra.config_loader)
    calls: list[list[str]] = []
    compose = hydra.config_loader.load_sweep_config

    def count(master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        calls.append(sweep_overrides)
        return compose(master_config, sweep_overrides)

    monkeypatch.setattr(hydra.config_loader, "load_sweep_config", count)
    for db in ("mysql", "pg"):
        for seed in range(50):
            config = loader.load_sweep_config(master, [f"db={db}", f"seed={seed}", f"+new={seed}"])
            assert (config.db.driver == "pg") == (db == "pg")
            assert config.twice == f"{seed}-1"
            assert config.new == seed
            assert config.hydra.overrides.task == [f"db={db}", f"seed={seed}", f"+new={seed}"]
    assert calls == [["db=mysql"], ["db=pg"]]


def test_jobs_share_nothing(hydra: Hydra) -> None:
    master = master_of(hydra)
    loader = SweepLoader(hydra.config_loader)
    first, second = (loader.load_sweep_config(master, ["seed=1"]) for _ in range(2))
    first.nested.deep.x = 99
    first.tags.append("c")
    first.hydra.job.env_set = {"A": "b"}
    OmegaConf.set_readonly(first.nested, True)
    assert composed(loader, master, ["seed=1"]) == composed(hydra.config_loader, master, ["seed=1"])
    assert second.nested.deep.x == 1.5
    assert second.tags == ["a", "b"]
    second.nested.a = 4


def test_a_clone_is_a_deep_copy(hydra: Hydra) -> None:
    config = hydra.compose_config("config", ["nested.either=word", "path=a/b", "choice=blue"], RunMode.RUN)
    _ = config.stamp
    assert anatomy(clone(config)) == anatomy(copy.deepcopy(config))
    assert OmegaConf.get_cache(clone(config)) == OmegaConf.get_cache(config) != {}


def test_an_object_in_a_config_is_copied() -> None:
    config = OmegaConf.create({"a": {"b": {1, 2}}}, flags={"allow_objects": True})
    clone(config).a.b.add(3)
    assert config.a.b == {1, 2}


@pytest.mark.parametrize(
    "look",
    [
        lambda config: config.a,
        lambda config: config["a"],
        lambda config: OmegaConf.select(config, "a"),
        lambda config: dict(config)["a"],
        lambda config: OmegaConf.to_object(config)["a"],  # type: ignore[index, call-overload]
        lambda config: OmegaConf.to_yaml(config)[3:4] == "2" and 2,
        lambda config: copy.deepcopy(config).a,
        lambda config: copy.copy(config).a,
        lambda config: pickle.loads(pickle.dumps(config)).a,
        lambda config: next(value for key, value in config.items() if key == "a"),
        lambda config: 2 if len(config) == 2 and "a" in config and list(config) == ["a", "b"] else None,
        lambda config: 2 if config == {"a": 2, "b": 2} else None,
        lambda config: 2 if str(config) == "{'a': 2, 'b': '${a}'}" else None,
        lambda config: OmegaConf.merge(config, {"c": 1}).a,
        lambda config: clone(config).a,
        lambda config: config.pop("a"),
    ],
)
def test_a_late_config_is_there_for_whoever_looks(look: Callable[[DictConfig], Any]) -> None:
    made = []

    def fill(config: DictConfig) -> None:
        made.append(config)
        config.a = 2

    config = late(OmegaConf.create({"a": 1, "b": "${a}"}), fill)
    assert not made
    assert look(config) == 2
    config.b = 7
    assert config.b == 7
    assert len(made) == 1
