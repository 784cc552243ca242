"""`python -m lossreg list`, `show` and `new`, and the sample package, which is what `new` writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

import lossreg
from lossreg import Registry
from lossreg.checks import Result, Verdict
from lossreg.cli import _list, main
from lossreg.cli._check import _verdict
from lossreg.cli._new import template
from tests.conftest import ROOT, Run, install, with_packages

SAMPLE = ROOT / "examples" / "third_party_plugin"


@pytest.fixture
def installed(losses: Registry, regularizers: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """The strangers' packages are installed where the commands look."""
    found = (losses, regularizers, *losses.kind.numbers)
    for kind, registry_ in zip(("loss", "regularizer", "schedule", "learned"), found, strict=True):
        monkeypatch.setitem(_list.KINDS, kind, registry_)


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.delenv("COLUMNS", raising=False)

    def call(*arguments: str) -> tuple[int, str, str]:
        code = main(list(arguments))
        return code, *capsys.readouterr()

    return call


def rows(output: str) -> dict[str, list[str]]:
    """Return the rows of the printed tables by their first cell, cells told apart by two spaces."""
    lines = [line.split("  ") for line in output.splitlines() if line.strip()]
    return {cells[0].strip(): [cell.strip() for cell in cells if cell.strip()] for cells in lines}


class TestList:
    @pytest.fixture
    def listed(self, run: Run, packages: Path, tmp_path: Path) -> dict[str, dict[str, Any]]:
        program = tmp_path / "list.py"
        program.write_text(
            "import sys\n"
            "from lossreg.cli import main\n"
            "assert main(['list', '--json']) == 0\n"
            "sys.exit(bool({'tensorflow', 'keras', 'hydra', 'every_kind', 'lossreg_plugins'} & set(sys.modules)))\n"
        )
        result = run(program=program, path=(packages, ROOT))
        assert result.returncode == 0, result.stderr
        return {f"{entry['kind']} {entry['qualified_name']}": entry for entry in json.loads(result.stdout)}

    def test_it_lists_everything_without_importing_tensorflow_or_a_plugin(
        self, listed: dict[str, dict[str, Any]]
    ) -> None:
        states = {
            name: (entry["state"], entry["reason"])
            for name, entry in listed.items()
            if entry["distribution"] != "lossreg"
        }
        assert {name for name, (state, _) in states.items() if state == "ok"} >= {
            *("loss focal-hoyer/focal", "regularizer focal-hoyer/hoyer", "loss every-kind/factory"),
            *("loss every-kind/keras_class", "regularizer every-kind/keras_class", "regularizer every-kind/penalty"),
            *("schedule every-kind/staircase", "learned every-kind/tanh"),
        }
        unknown = "only importing it tells; see: python -m lossreg show"
        assert {name: found for name, found in states.items() if found[0] != "ok"} == {
            "loss every-kind/constant": ("unknown", f"{unknown} constant"),
            "loss every-kind/gone": ("unknown", f"{unknown} gone"),
            "loss pack-a/twin": ("ambiguous", "several packages register 'twin'"),
            "loss pack-b/twin": ("ambiguous", "several packages register 'twin'"),
        }
        assert listed["loss every-kind/gone"]["parameters"] is None
        assert {entry["version"] for entry in listed.values() if entry["distribution"] == "pack-a"} == {"1.2.3"}
        assert listed["loss every-kind/with_parameters"]["parameters"] == [
            {"name": "scale", "type": "float", "required": True},
            {"name": "power", "type": "int | float", "required": False, "default": 2},
            {"name": "mode", "type": "Literal['mean', 'max']", "required": False, "default": "mean"},
        ]
        assert listed["loss lossreg/huber"]["parameters"][0]["default"] == 1.0
        assert listed["loss lossreg/mse"]["summary"] == "Mean squared error."

    def test_a_plugin_without_a_module_is_broken(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Any
    ) -> None:
        site = install(tmp_path, ROOT / "tests" / "packages" / "vanished")
        monkeypatch.setitem(_list.KINDS, "loss", with_packages(site, monkeypatch, lossreg.losses))
        code, output, _ = call("list", "--kind", "loss")
        assert code == 0
        assert rows(output)["vanished"] == [
            "vanished",
            "vanished 1.0",
            "?",
            "broken: No module named 'vanished_module'",
        ]
        code, output, _ = call("show", "vanished")
        assert code == 1
        assert "No module named 'vanished_module'" in output

    def test_a_broken_package_has_a_row_and_nothing_steers_the_terminal(
        self, neighbours: Path, packages: Path, monkeypatch: pytest.MonkeyPatch, call: Any
    ) -> None:
        monkeypatch.syspath_prepend(str(packages))
        monkeypatch.setitem(_list.KINDS, "loss", with_packages(neighbours, monkeypatch, lossreg.losses))
        code, output, _ = call("list")
        assert code == 0
        table = rows(output)
        assert table["no_equals-1.0"][1].startswith("broken: its metadata cannot be read: 'focal' in entry_points.txt")
        assert "broken: it registers 'lost' in 'lossreg.loss', which nobody reads." in output
        assert table["neighbour/a/b"][-1].startswith("broken: a name has letters")
        assert table["neighbour/\\x1b[2Jred"][-1].startswith("broken: a name has letters")
        assert table["mix"][-1] == table["focal"][-1] == table["spaced"][-1] == "ok"
        listed = json.loads(call("list", "--json")[1])
        assert {"no_equals-1.0", "binary-1.0"} <= {e["distribution"] for e in listed if e["kind"] is None}
        assert "\x1b" not in output + call("list", "--json")[1] + call("show", "neighbour/\x1b[2Jred")[1]
        assert call("show", "focal")[0] == 0

    def test_a_docstring_does_not_steer_the_terminal(self, call: Any) -> None:
        def loud(y_true: Any, y_pred: Any, mode: str = "\x9b2J") -> Any: ...

        loud.__doc__ = "A \x1b[31mred\x1b[0m loss.\n\n\x1b]0;title\x07"
        lossreg.losses.register("loud")(loud)
        try:
            for command in (["list"], ["show", "loud"], ["list", "--json"], ["show", "loud", "--json"]):
                output = call(*command)[1]
                assert "31mred" in output
                assert not {"\x1b", "\x9b", "\x07"} & set(output)
        finally:
            lossreg.losses.unregister("loud")

    def test_one_row_says_all_of_one_plugin(self, installed: None, call: Any) -> None:
        code, output, _ = call("list")
        table = rows(output)
        assert code == 0
        assert table["focal"] == [
            *("focal", "focal-hoyer 1.0.0", "gamma=2.0, alpha=0.5"),
            *("Binary focal loss: crossentropy that looks away from what is already right.", "ok"),
        ]
        assert table["pack-a/twin"][-1] == "ambiguous: several packages register 'twin'"
        assert table["gone"][2:] == ["?", "unknown: only importing it tells; see: python -m lossreg show gone"]
        assert {"penalty", "hoyer", "mse", "staircase", "tanh"} <= set(table)
        assert table["bounded"] == [
            *("bounded", f"lossreg {metadata.version('lossreg')}", "initial=0.5, lower=0.0, upper=1.0"),
            *("A learned number between two bounds, by a sigmoid.", "ok"),
        ]

    @pytest.mark.parametrize("kind", _list.KINDS)
    def test_one_kind_alone(self, installed: None, call: Any, kind: str) -> None:
        _, output, _ = call("list", "--kind", kind, "--json")
        assert {entry["kind"] for entry in json.loads(output)} == {kind}

    @pytest.mark.parametrize(
        ("name", "kind"),
        [(kind, kind) for kind in _list.KINDS]
        + [("losses", "loss"), ("regularizers", "regularizer"), ("Datasets", "dataset"), ("variables", "learned")],
    )
    def test_a_kind_may_stand_alone_in_singular_and_plural(self, call: Any, name: str, kind: str) -> None:
        code, output, _ = call("list", name, "--json")
        assert (code, {entry["kind"] for entry in json.loads(output)}) == (0, {kind})

    def test_a_kind_that_there_is_not_is_one_line(self, call: Any) -> None:
        assert call("list", "lossse") == (2, "", "There is no kind 'lossse'. Did you mean 'losses'?\n")

    @pytest.mark.parametrize("columns", ["80", "100"])
    def test_a_terminal_cuts_no_name(
        self, installed: None, call: Any, monkeypatch: pytest.MonkeyPatch, columns: str
    ) -> None:
        monkeypatch.setenv("COLUMNS", columns)
        code, output, _ = call("list")
        assert code == 0
        lines = output.splitlines()
        assert max(map(len, lines)) <= int(columns)
        words = set(output.split())
        assert words >= {name for registry in _list.KINDS.values() for name in registry.names()} | {"pack-a/twin"}
        assert words >= {"gamma=2.0,", "focal-hoyer", "ambiguous:", "initial=0.5,"}

    def test_a_table_is_called_by_what_it_holds(self, installed: None, call: Any) -> None:
        titles = [line for line in call("list")[1].splitlines() if line[:1].isdigit()]
        counts = [len(found.plugins()) for found in _list.KINDS.values()]
        nouns = [
            "losses",
            "regularizers",
            "schedules",
            "learned numbers",
            "data sets",
            "models",
            "optimizers",
            "loggers",
        ]
        expected = [f"{count} {noun}" for count, noun in zip(counts, nouns, strict=True)]
        assert [title.rstrip() for title in titles] == expected


class TestShow:
    def test_it_shows_all_of_a_plugin_and_how_to_use_it(self, installed: None, call: Any) -> None:
        code, output, _ = call("show", "focal")
        assert code == 0
        for expected in (
            "loss focal-hoyer/focal\n  package: focal-hoyer 1.0.0\n  target: focal_hoyer:focal\n",
            "parameters\n  gamma: float = 2.0\n  alpha: float = 0.5\n",
            "config\n  name: focal\n  gamma: 2.0\n  alpha: 0.5\n",
            "command\n  python train.py loss=focal loss.gamma=2.0\n  python -m lossreg check focal\n",
            "\n  Source: Lin, Goyal, Girshick, He, Dollár",
        ):
            assert expected in output

    def test_what_has_no_default_is_to_be_filled_in(self, installed: None, call: Any) -> None:
        (shown,) = json.loads(call("show", "with_parameters", "--json")[1])
        assert shown["config"] == {"name": "with_parameters", "scale": "???", "power": 2, "mode": "mean"}
        assert shown["command"] == "python train.py loss=with_parameters loss.scale=<float>"
        assert shown["docstring"] == "Scaled error; scale has no default."

    @pytest.mark.parametrize(
        ("name", "command"),
        [
            ("mlp", "model=mlp model.activation=sigmoid"),
            ("breast_cancer", "data=breast_cancer data.seed=0"),
            ("csv", "data=csv data.path=<str> data.target=<str>"),
            ("wine", "data=wine loss=categorical_crossentropy"),
            ("diabetes", "data=diabetes loss=mse"),
            ("adam", "optimizer=adam optimizer.learning_rate=0.001"),
            ("quantile", "loss=quantile data=diabetes loss.tau=0.5"),
            ("categorical_crossentropy", "loss=categorical_crossentropy data=wine loss.from_logits=false"),
        ],
    )
    def test_its_command_is_of_its_group_and_for_its_task(self, name: str, command: str, call: Any) -> None:
        assert json.loads(call("show", name, "--json")[1])[0]["command"] == f"python train.py {command}"

    def test_a_name_of_both_kinds_shows_both(self, installed: None, call: Any) -> None:
        _, output, _ = call("show", "keras_class")
        assert "loss every-kind/keras_class" in output
        assert "regularizer every-kind/keras_class" in output
        assert "check keras_class --kind regularizer" in output
        shown = json.loads(call("show", "keras_class", "--kind", "loss", "--json")[1])
        assert [entry["kind"] for entry in shown] == ["loss"]

    def test_a_sum_s_terms_are_options_of_their_own(self, call: Any) -> None:
        (shown,) = json.loads(call("show", "weighted", "--kind", "regularizer", "--json")[1])
        assert shown["command"] == "python train.py reg=weighted +reg@reg.terms.<name>=<regularizer>"

    @pytest.mark.parametrize(
        ("name", "command"),
        [
            (
                "cosine_decay",
                "loss=mix +schedule@loss.r=cosine_decay loss.r.initial_learning_rate=<float> loss.r.decay_steps=<int>",
            ),
            ("staircase", "loss=mix +schedule@loss.r=staircase loss.r.height=0.1"),
            ("bounded", "loss=mix +learned@loss.r=bounded loss.r.initial=0.5"),
        ],
    )
    def test_what_stands_for_a_number_is_used_in_a_loss_and_has_no_checks(
        self, installed: None, call: Any, name: str, command: str
    ) -> None:
        code, output, _ = call("show", name)
        assert code == 0
        assert f"command\n  python train.py {command}\n\ndocstring\n" in output

    @pytest.mark.parametrize(("name", "reason"), [("gone", "has no attribute 'gone'"), ("shatter", "the plugin fell")])
    def test_a_broken_plugin_says_why(self, installed: None, call: Any, name: str, reason: str) -> None:
        code, output, _ = call("show", name)
        assert code == 1
        assert "  state: broken: " in output
        assert reason in output

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("fcoal", "There is no plugin 'fcoal'. Did you mean 'focal'?"),
            ("twin", "Say which one: 'pack-a/twin' or 'pack-b/twin'."),
        ],
    )
    def test_a_name_that_means_nothing_is_one_short_message(
        self, installed: None, call: Any, name: str, message: str
    ) -> None:
        code, output, errors = call("show", name)
        assert (code, output) == (2, "")
        assert message in errors
        assert errors.count("\n") == 1

    def test_an_ambiguous_plugin_is_shown_by_its_qualified_name(self, installed: None, call: Any) -> None:
        (shown,) = json.loads(call("show", "pack-b/twin", "--json")[1])
        assert shown["state"] == "ambiguous"
        assert shown["command"] == "python train.py loss=pack-b/twin loss.own=b"


def test_a_loss_that_takes_no_targets_is_told_by_every_command(call: Any) -> None:
    @lossreg.losses.register("one")
    def one(y_pred: Any) -> Any:
        return y_pred

    try:
        for command, code in (("list",), 0), (("show", "one"), 1), (("check", "one"), 2):
            found, *texts = call(*command)
            assert found == code
            assert "it takes (y_pred" in " ".join("".join(texts).split())
    finally:
        lossreg.losses.unregister("one")


def test_a_schedule_or_a_variable_cannot_be_checked(call: Any) -> None:
    for name in ("cosine_decay", "bounded"):
        code, output, errors = call("check", name)
        assert (code, output, errors.count("\n")) == (2, "", 1)
        assert errors.startswith(f"There is no loss or regularizer '{name}'.")


@pytest.mark.parametrize(
    ("verdicts", "line"),
    [
        ({"shape": "pass", "dtype": "pass", "xla": "skip"}, "no fault found (2 passed, 0 failed, 1 skipped)"),
        ({"shape": "pass", "dtype": "fail"}, "faulty: a/one (1 passed, 1 failed, 0 skipped)"),
        ({"shape": "skip"}, "nothing could be checked (0 passed, 0 failed, 1 skipped)"),
    ],
)
def test_the_last_line_of_a_check_is_its_verdict(verdicts: dict[str, str], line: str) -> None:
    results = [Result("a/one", "loss", name, Verdict(verdict), "seen") for name, verdict in verdicts.items()]
    assert _verdict(results) == line


class TestNew:
    @pytest.fixture
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.chdir(tmp_path)
        return tmp_path

    def test_the_package_passes_its_own_tests_as_it_is_made(self, folder: Path, call: Any) -> None:
        code, output, _ = call("new", "my-losses")
        assert code == 0
        assert "pip install -e my-losses" in output
        install(folder / "site", folder / "my-losses")
        result = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "my-losses"],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(folder / "site")},
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, result.stdout
        passed = int(result.stdout.rpartition(" passed")[0].rpartition("\n")[2])
        assert passed > 20

    def test_it_overwrites_nothing(self, folder: Path, call: Any) -> None:
        (folder / "my-losses").mkdir()
        code, _, errors = call("new", "my-losses")
        assert (code, errors) == (2, "my-losses is there already. Nothing was written.\n")
        assert list((folder / "my-losses").iterdir()) == []

    @pytest.mark.parametrize(
        "name", ["my losses", "../my-losses", ".losses", "losses-", "1loss", "class", "verlust-ü", ""]
    )
    def test_a_name_that_no_package_can_have_is_refused(self, folder: Path, call: Any, name: str) -> None:
        code, _, errors = call("new", name)
        assert code == 2
        assert errors.startswith(f"'{name}' cannot be the name of a package.")
        assert list(folder.iterdir()) == []

    @pytest.mark.parametrize("name", ["keras", "json", "Hydra.Core", "lossreg"])
    def test_a_module_that_is_there_is_not_hidden(self, folder: Path, call: Any, name: str) -> None:
        code, _, errors = call("new", name)
        assert (code, list(folder.iterdir())) == ((2, []) if name != "Hydra.Core" else (0, [folder / name]))
        assert ("already" in errors) == (name != "Hydra.Core")

    def test_the_sample_is_what_it_writes_plus_the_loss_and_the_regularizer(self) -> None:
        def as_sample(text: str) -> str:
            names = {"my-losses": "focal-hoyer", "my_losses": "focal_hoyer", "scaled_error": "focal"}
            for new, sample in (names | {"Ridge": "Hoyer", "ridge": "hoyer"}).items():
                text = text.replace(new, sample)
            return text

        written = {as_sample(name): as_sample(text) for name, text in template("my-losses").items()}
        listed = subprocess.run(["git", "ls-files"], cwd=SAMPLE, capture_output=True, text=True).stdout.split()
        found = listed or [path.name for path in SAMPLE.iterdir() if path.is_file()]
        assert sorted(found) == sorted(written)
        module = "focal_hoyer.py"
        for name in set(written) - {module}:
            assert (SAMPLE / name).read_text(encoding="utf-8") == written[name], name
        heads = [
            text.partition("\n\n\n")[0] for text in (written[module], (SAMPLE / module).read_text(encoding="utf-8"))
        ]
        assert heads[0] == heads[1]


def test_without_a_command_it_says_which_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([])
    assert end.value.code == 2
    assert "{list,show,check,new,results}" in capsys.readouterr().err
