"""Command lines of `train.py` that nobody should type: odd values for every key of the study, drawn by chance.

Run as a program it forks a process for each of the command lines that it reads, after what all of them import.
"""

# ruff: noqa: SIM905 - lists of a hundred words

from __future__ import annotations

import copy
import functools
import json
import os
import random
import re
import runpy
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import OverrideParseException
from omegaconf import DictConfig, OmegaConf

import lossreg
import train  # noqa: F401 - which stores the schema of its config
from hydra_plugins.lossreg.app import run
from lossreg import training

ROOT = Path(__file__).parents[1]

NUMBERS = """
    0 -1 1 2 3.5 -0.0 1e-320 1e308 1e999 nan -inf inf .nan 1_000 0x10 1e12 100000000000 2147483648
    -9223372036854775809 340282366920938463463374607431768211457 1e-9 0.1
""".split()
TEXTS = (
    *r"""
    '' "" null None true off abc a/b a:b '$x$' 'a=b' 'a,b' '한글' 한글 ß '[/x]' '[red]' '%s' '{}' \ '\' ' 'a [ ] { } (
    a) @ @x - -- ~ + ??? '???' ... '=1+1' ../.. / 1:2 # a#b !!python/none &a *a
    """.split(),
    "'a b'",
    "'\x1b[2J'",
    "'a\nb'",
    "'\ta'",
    "x" * 400,
    "a: b",
    "'a: b'",
)
NESTED = """
    [] [[]] [1] [1,2] [a,1] [nan] [null] [[0,0],[0,1]] [2000000000] [0] [-1] [1e3] [[[1]]] {} {a:1} {name:mix}
    {name:} {name:null} {name:1} {name:nothing} {a:{b:{c:1}}} {1:2} {_target_:os.system} {name:cosine_decay}
    {name:bounded,initial:2} {name:mix,r:{name:mix}} {class_name:a,config:{}}
""".split()
INTERPOLATIONS = r"""
    ${epochs} ${loss.r} ${nothing} ${steps:} ${steps:2} ${steps:a} ${steps:0.5} ${metrics:} ${objective_of:}
    ${oc.env:ODD_NUMBER} ${oc.env:ODD_TEXT} ${oc.env:ODD_MISSING} ${oc.env:ODD_MISSING,3} ${hydra:job.num}
    ${hydra:runtime.cwd} ${hydra:nothing} ${oc.decode:'{'} ${oc.select:a,1} ${nothing:1} ${ '${' ${loss} ${.}
    ${..epochs} ${oc.dict.keys:loss} \${epochs} ${oc.create:{a:1}}
""".split()
SWEEPS = """
    1,1 1,2 a, , range(5,1) range(1,3) range(0,1,0) glob(zz*) glob(*) choice(1,2) choice() interval(0,1) sort(3,1)
    shuffle(1,2) tag(a,1,2) int(1.5) float(a) str(1) json_str(a) extend_list(1) cast(1) nothing(1)
""".split()
NAMES = """
    mix bce none l2custom weighted xor adam sgd mlp huber sparse_categorical_crossentropy lossreg/mix nothing
    a/b/c lossreg/nothing /mix mix/ cosine linear bounded bce_and_mse default elastic_net two_moons parity csv npz
    wine digits spirals imbalanced categorical_crossentropy poisson
""".split()

GROUPS = """
    loss reg data model optimizer schedule@loss.r learned@loss.r schedule@optimizer.learning_rate
    reg@model.regularizers.output_kernel hydra/launcher hydra/sweeper loss@loss.terms.a learned@reg.r
""".split()
NODES = """
    loss reg data model optimizer loss.name loss.r loss.q loss.weights loss.terms reg.name reg.r reg.l2 data.name
    data.inputs data.targets data.n data.noise data.bits data.seed data.path data.target data.turns data.positives
    data.features data.separator model.name model.hidden_units model.activation model.dropout
    model.batch_normalization model.penalized model.regularizers optimizer.name optimizer.learning_rate
    optimizer.weight_decay optimizer.clipnorm optimizer.beta_1 optimizer.momentum
    optimizer.ema_overwrite_frequency optimizer.gradient_accumulation_steps
""".split()
VALUES = """
    epochs batch_size seed jit_compile verbose objective task split split.validation split.test split.seed scale
    shuffle class_weight label_noise patience precision nothing epohcs split.nothing class_weight.a
""".split()
HYDRA = """
    hydra.launcher.chunk_size hydra.launcher.n_jobs hydra.launcher.backend hydra.launcher.job_directories
    hydra.launcher.fail_fast hydra.launcher.address hydra.launcher hydra.sweep.dir hydra.sweep.subdir
    hydra.run.dir hydra.sweeper.params hydra.sweeper hydra.sweeper.max_batch_size hydra.callbacks.results.columns
    hydra.callbacks.results.objective hydra.callbacks.results.success hydra.callbacks.results.mean
    hydra.callbacks.results.maximize hydra.callbacks.results.baseline hydra.callbacks.results.replicate
    hydra.callbacks.results.retry_failed hydra.callbacks.results.nothing hydra.callbacks hydra.callbacks.results
    hydra.job.name hydra.job.chdir hydra.job.env_set hydra.output_subdir hydra.verbose hydra.mode hydra.searchpath
    hydra.job_logging hydra hydra.nothing hydra.job.num hydra.job.id hydra.env
""".split()
LAUNCHERS = ("hydra/launcher=vectorized", "hydra/launcher=joblib", "hydra/launcher=basic", "hydra/sweeper=optuna")

OWNERS = {
    **dict.fromkeys(("loss.r", "schedule@loss.r", "learned@loss.r"), "loss=mix"),
    **dict.fromkeys(("loss.weights", "loss.terms", "loss@loss.terms.a"), "loss=bce_and_mse"),
    "reg.r": "reg=l2custom",
    "reg.l2": "reg=l1l2",
    "learned@reg.r": "reg=l2custom",
    "data.bits": "data=parity",
    "data.turns": "data=spirals",
    **dict.fromkeys(("data.n", "data.noise", "data.seed"), "data=two_moons"),
    **dict.fromkeys(("data.path", "data.target", "data.separator"), "data=csv"),
    **dict.fromkeys(("data.positives", "data.features"), "data=imbalanced"),
    **dict.fromkeys(("split.test", "split.validation", "label_noise", "patience", "class_weight"), "data=two_moons"),
    "hydra.launcher.n_jobs": "hydra/launcher=joblib",
    "hydra.launcher.chunk_size": "hydra/launcher=vectorized",
    "hydra.launcher.backend": "hydra/launcher=vectorized",
    "hydra.launcher.job_directories": "hydra/launcher=vectorized",
}


KINDS = (NUMBERS, NUMBERS, TEXTS, NESTED, INTERPOLATIONS, SWEEPS, NAMES)


class Drawn:
    """Odd command lines, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def one_in(self, count: int) -> bool:
        return self.random.randrange(count) == 0

    def override(self, keys: Sequence[str], values: Sequence[str] = ()) -> str:
        start = self.random.choice(("+", "++", "~")) if self.one_in(10) else ""
        letters = "".join(chr(self.random.randrange(1, 0x3000)) for _ in range(self.random.randrange(6)))
        value = f"'{letters}'" if self.one_in(15) else self.random.choice(values or self.random.choice(KINDS))
        return f"{start}{self.random.choice(keys)}{'' if self.one_in(40) else f'={value}'}"

    def lines(self) -> list[str]:
        """The overrides of one job, or of some."""
        every = [self.override(GROUPS, NAMES) if self.one_in(8) else self.override(self.random.choice((NODES, VALUES)))]
        every += [self.override(self.random.choice((NODES, VALUES)))] if self.one_in(3) else []
        if self.one_in(4):
            every += [self.override(HYDRA)]
            every = ["-m", *([self.random.choice(LAUNCHERS)] if self.one_in(2) else []), *every]
        owners = [OWNERS[key] for line in every if (key := line.lstrip("+~").partition("=")[0]) in OWNERS]
        return every if self.one_in(8) else [*dict.fromkeys(owners), *every]


def drawn(count: int, seed: int = 0) -> list[list[str]]:
    """So many different command lines that a shell can hand on."""
    source = Drawn(seed)
    found: dict[tuple[str, ...], None] = {}
    while len(found) < count:
        found[tuple(source.lines())] = None
    return [list(lines) for lines in found]


ENVIRONMENT = {"ODD_NUMBER": "0.5", "ODD_TEXT": "abc"}


class House:
    """Holds configs against all that is known without TensorFlow, in one process."""

    def __init__(self) -> None:
        self.parser = OverridesParser.create()
        search = "hydra.searchpath=[lossreg://]"
        self.composed = functools.cache(lambda *lines: compose("config", overrides=[search, *lines]))

    def compose(self, lines: list[str]) -> DictConfig:
        """Compose a config: what only sets values is set in what Hydra composed before, as Hydra does it."""
        setting = [line for line in lines if re.match(r"\w+(\.\w+)*=", line) and line.partition("=")[0] not in GROUPS]
        config = copy.deepcopy(self.composed(*(line for line in lines if line not in setting)))
        for override in self.parser.parse_overrides(setting):
            if override.is_sweep_override():
                raise OverrideParseException("", "it is a sweep")
            OmegaConf.update(config, override.key_or_group, override.value())
        return config

    def check(self, lines: list[str]) -> None:
        """What `train.py` does before it imports TensorFlow."""
        config = self.compose(lines)
        loss = lossreg.losses.parse(config.loss, key="loss")
        lossreg.regularizers.parse(config.reg, key="reg")
        read = training.read_config(config)
        training.require_fit(read, training.load_data(read), loss)


def test_whatever_is_typed_is_taken_or_refused_in_one_message(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is no mistake of a user's, `run` would raise, and what takes all memory or time would end the test."""
    monkeypatch.chdir(tmp_path)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    messages = []
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        house = House()
        for lines in drawn(420):
            of_job = [line for line in lines if line != "-m" and not line.lstrip("+~").startswith("hydra")]
            monkeypatch.setattr(sys, "argv", ["train.py", *of_job])
            note = " ".join(of_job)
            try:
                run(lambda: house.check(of_job), training.ConfigError)  # noqa: B023 - it is called at once
            except SystemExit as refused:
                messages.append(str(refused.code))
            except Exception as error:
                error.add_note(f"python train.py {note}")
                raise
            else:
                messages.append("")
    assert not [message for message in messages if message and not short(message)]
    assert len(messages) >= 400
    assert 10 < messages.count("") < 300


def short(message: str) -> bool:
    """Whether a message is for a person."""
    return "Traceback" not in message and "\x1b" not in message and 0 < len(message.splitlines()) < 20


def test_sixty_of_them_as_real_processes(no_tensorflow: Path, tmp_path: Path) -> None:
    given = drawn(60, seed=1)
    result = subprocess.run(
        [sys.executable, "-m", "tests.test_odd"], input=json.dumps(given), cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, **ENVIRONMENT, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, no_tensorflow)))},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    ended = json.loads(result.stdout)
    assert len(ended) == 60
    for lines, (code, message) in zip(given, ended, strict=True):
        reached = "TensorFlow was imported" in message  # it is not refused; there is none here
        assert reached or (code != 0 and short(message)), f"train.py {' '.join(lines)}: {code} {message}"
    assert sum("TensorFlow was imported" not in message for _, message in ended) > 30


def _fork(lines: list[str]) -> tuple[int, str]:
    """Run `train.py` with these in a process of its own; return its exit code and what it printed on stderr."""
    with tempfile.TemporaryDirectory() as folder, Path(folder, "stderr").open("w+b") as stderr:
        if (child := os.fork()) == 0:
            os.chdir(folder)
            os.dup2(stderr.fileno(), 1)
            os.dup2(stderr.fileno(), 2)
            sys.argv = [str(ROOT / "train.py"), *lines]
            code: Any = 0
            try:
                runpy.run_path(sys.argv[0], run_name="__main__")
            except SystemExit as end:
                code = end.code
                if isinstance(code, str):
                    print(code, file=sys.stderr)
                    code = 1
            except BaseException:
                traceback.print_exc()
                code = 1
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code or 0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        stderr.seek(0)
        return code, stderr.read().decode(errors="replace")


if __name__ == "__main__":
    # What each of them would do once more, it finds done.
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        House().check(["data=two_moons", "loss=mix", "loss.r=0.5"])
    print(json.dumps([*map(_fork, json.load(sys.stdin))]))
