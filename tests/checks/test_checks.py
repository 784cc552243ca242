"""The checks: silent about what is right, exact about what is wrong."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import lossreg
from lossreg import checks
from lossreg.__main__ import main
from tests.checks import faults
from tests.conftest import ROOT, install

pytest_plugins = ["pytester"]


def classes_of_keras(module: Any, base: type) -> list[type]:
    """Return every public class of a module of Keras, once, without its base class."""
    found = {value for value in vars(module).values() if isinstance(value, type) and issubclass(value, base)}
    return sorted(found - {base}, key=lambda value: value.__name__)


KERAS_LOSSES = classes_of_keras(keras.losses, keras.losses.Loss)
KERAS_REGULARIZERS = classes_of_keras(keras.regularizers, keras.regularizers.Regularizer)


def verdicts(target: Any, kind: str = "loss", **options: Any) -> dict[str, checks.Result]:
    return {result.check: result for result in checks.check(target, kind=kind, **options)}


def only(*names: str) -> dict[str, str]:
    """Skip every other check of a loss."""
    return dict.fromkeys(set(checks.CHECKS["loss"]) - set(names), "another is asked for")


def failed(target: Any, kind: str = "loss", **options: Any) -> dict[str, str]:
    results = verdicts(target, kind, **options)
    return {name: str(result) for name, result in results.items() if result.verdict is checks.Verdict.FAIL}


@pytest.mark.parametrize("target", KERAS_LOSSES, ids=lambda target: target.__name__)
def test_no_false_alarm_on_a_loss_of_keras(target):
    assert failed(target, "loss") == {}


@pytest.mark.parametrize("target", KERAS_REGULARIZERS, ids=lambda target: target.__name__)
def test_no_false_alarm_on_a_regularizer_of_keras(target):
    assert failed(target, "regularizer") == {}


PLANTED = [("loss", name) for name in faults.LOSSES] + [("regularizer", name) for name in faults.REGULARIZERS]


@pytest.mark.parametrize(("kind", "name"), PLANTED, ids=[name for _, name in PLANTED])
def test_a_planted_fault_is_found_by_exactly_its_check(kind, name):
    target, expected = {"loss": faults.LOSSES, "regularizer": faults.REGULARIZERS}[kind][name]
    # What compiles and saves takes most of the time, and is done for every sound loss.
    skip = dict.fromkeys({"compiled", "saved_model"} & set(checks.CHECKS[kind]) - expected, "it takes long")
    results = verdicts(target, kind, skip=skip)
    found = {check for check, result in results.items() if result.verdict is checks.Verdict.FAIL}
    assert found == expected, [str(results[check]) for check in found ^ expected]
    assert all(results[check].seen and results[check].advice for check in found)


@pytest.mark.parametrize("kind", ["loss", "regularizer"])
def test_every_check_has_a_planted_fault(kind):
    planted = {"loss": faults.LOSSES, "regularizer": faults.REGULARIZERS}[kind]
    # A model that does not load needs an installed package: see the test of a package below.
    assert set().union(*(checks for _, checks in planted.values())) == set(checks.CHECKS[kind]) - {"saved_model"}


# What is right is left alone.


def elementwise(y_true, y_pred, scale=1.0):
    return scale * abs(y_true - y_pred)


def focal(y_true, y_pred, gamma: float = 2.0, alpha: float = 0.25):
    p = ops.clip(y_pred, 1e-7, 1 - 1e-7)
    right = -alpha * y_true * (1 - p) ** gamma * ops.log(p)
    return ops.mean(right - (1 - alpha) * (1 - y_true) * p**gamma * ops.log(1 - p), axis=-1)


def pinball(tau=0.7):
    def value(y_true, y_pred):
        error = y_true - y_pred
        return ops.mean(ops.maximum(tau * error, (tau - 1) * error), axis=-1)

    return value


def logistic_margin(y_true, y_pred):
    return ops.mean(ops.softplus(-y_true * y_pred), axis=-1)


def softmax_crossentropy(y_true, y_pred):
    return -ops.sum(y_true * ops.log_softmax(y_pred), axis=-1)


def sparse_softmax_crossentropy(y_true, y_pred):
    labels = ops.reshape(ops.cast(y_true, "int32"), (-1,))
    return -ops.sum(ops.one_hot(labels, y_pred.shape[-1], dtype=y_pred.dtype) * ops.log_softmax(y_pred), axis=-1)


def sigmoid_crossentropy(y_true, y_pred):
    return ops.mean(ops.softplus(y_pred) - y_true * y_pred, axis=-1)


def tukey(y_true, y_pred, c=4.685):
    inside = 1 - (1 - ops.square(ops.clip((y_true - y_pred) / c, -1, 1))) ** 3
    return ops.mean(inside * c**2 / 6, axis=-1)


def dice_per_sample(y_true, y_pred):
    overlap = ops.sum(y_true * y_pred, axis=-1)
    return 1 - (2 * overlap + 1e-6) / (ops.sum(y_true, axis=-1) + ops.sum(y_pred, axis=-1) + 1e-6)


def thresholds(y_true, y_pred):
    labels = ops.reshape(y_true, (-1, 1))
    above = ops.cast(labels > ops.arange(y_pred.shape[-1], dtype=y_pred.dtype), y_pred.dtype)
    return ops.sum(ops.softplus(y_pred) - above * y_pred, axis=-1)


def declared_scalar(y_true, y_pred):
    """Mean absolute error.

    Returns:
        A scalar, the mean over the batch.
    """
    return ops.mean(ops.abs(y_true - y_pred))


class CallableClass:
    def __init__(self, power: float = 2.0):
        self.power = power

    def __call__(self, y_true, y_pred):
        return ops.mean(ops.power(ops.abs(y_true - y_pred) + 1e-6, self.power), axis=-1)


GOOD: list[tuple[Any, str]] = [
    (elementwise, "real targets"),
    (focal, "probabilities for targets 0 and 1"),
    (pinball, ""),
    (logistic_margin, "margins"),
    (softmax_crossentropy, "logits of classes for one-hot"),
    (sparse_softmax_crossentropy, "logits of classes for integer labels"),
    (sigmoid_crossentropy, "logits for targets 0 and 1"),
    (tukey, ""),
    (dice_per_sample, ""),
    (thresholds, "one logit per threshold"),
    (declared_scalar, ""),
    (CallableClass, ""),
]


@pytest.mark.parametrize(("target", "words"), GOOD, ids=[target.__name__ for target, _ in GOOD])
def test_no_false_alarm_on_a_sound_loss_and_its_data_are_found_by_trying(target, words):
    results = verdicts(target)
    assert [str(result) for result in results.values() if result.verdict is checks.Verdict.FAIL] == []
    assert words in results["data"].seen


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (keras.losses.Circle, "embeddings"),
        (keras.losses.CTC, "label sequences"),
        (keras.losses.Hinge, "margins"),
        (keras.losses.LogCosh, "real targets"),
        (keras.losses.CosineSimilarity, "unit vectors"),
        (keras.losses.Poisson, "positive"),
        (keras.losses.KLDivergence, "probabilities of classes for one-hot"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_data_that_a_loss_of_keras_takes_is_found_by_trying(target, words):
    assert words in verdicts(target, skip=only("data"))["data"].seen


# No kind of data fits, which is said once.


def triplet(y_true, y_pred, margin=0.2):
    anchor, near, far = ops.split(y_pred, 3, axis=-1)
    distance = ops.sum(ops.square(anchor - near), axis=-1) - ops.sum(ops.square(anchor - far), axis=-1)
    return ops.maximum(distance + margin, 0)


def critic(y_true, y_pred):
    return ops.mean(y_true * y_pred, axis=-1)


def generator(y_true, y_pred):
    return -ops.mean(y_pred, axis=-1)


def contrastive(y_true, y_pred):
    far = ops.square(ops.maximum(1 - y_pred, 0))
    return ops.mean(y_true * ops.square(y_pred) + (1 - y_true) * far, axis=-1)


def five_quantiles(y_true, y_pred):
    levels = ops.cast(ops.convert_to_tensor([0.05, 0.25, 0.5, 0.75, 0.95]), y_pred.dtype)
    error = y_true - y_pred
    return ops.mean(ops.maximum(levels * error, (levels - 1) * error), axis=-1)


def first_two(y_true, y_pred):
    return 0.5 * (y_pred[..., 1] + ops.square(y_true[..., 0] - y_pred[..., 0]) * ops.exp(-y_pred[..., 1]))


def boxes(y_true, y_pred):
    areas = [(x[..., 2] - x[..., 0]) * (x[..., 3] - x[..., 1]) for x in (y_true, y_pred)]
    low, high = ops.maximum(y_true[..., :2], y_pred[..., :2]), ops.minimum(y_true[..., 2:4], y_pred[..., 2:4])
    overlap = ops.prod(ops.maximum(high - low, 0), axis=-1)
    return 1 - overlap / (ops.abs(sum(areas) - overlap) + 1e-3)


def partial_likelihood(y_true, y_pred):
    time, event, risk = y_true[:, 0], y_true[:, 1], ops.squeeze(y_pred, -1)
    at_risk = ops.cast(time[None, :] >= time[:, None], risk.dtype)
    return ops.sum(event * (ops.log(ops.sum(at_risk * ops.exp(risk)[None, :], axis=-1)) - risk))


def decorrelation(y_true, y_pred):
    a, b = ((x - ops.mean(x, axis=0)) / (ops.std(x, axis=0) + 1e-3) for x in (y_true, y_pred))
    product = ops.matmul(ops.transpose(a), b) / ops.cast(ops.shape(a)[0], a.dtype)
    return ops.sum(ops.square(product - ops.eye(product.shape[0], dtype=product.dtype)))


def structural_similarity(y_true, y_pred):
    return 1 - tf.image.ssim(y_true, y_pred, 1.0)


NO_KIND = [triplet, critic, generator, contrastive, five_quantiles, first_two, boxes, partial_likelihood, decorrelation]
NO_KIND += [structural_similarity, faults.mixture, faults.gaussian]


@pytest.mark.parametrize("target", NO_KIND, ids=lambda target: target.__name__)
def test_that_no_kind_fits_is_said_once_and_nothing_else_is_held_against_it(target):
    results = verdicts(target)
    assert [str(result) for result in results.values() if result.verdict is checks.Verdict.FAIL] == []
    assert [name for name, result in results.items() if "no kind of data" in result.seen] == ["data"]
    assert results["data"].verdict is checks.Verdict.SKIP
    assert "lossreg_domain" in results["data"].advice
    if target is faults.mixture:  # what holds for every kind is checked without one
        checked = ("per_sample", "batch_size", "batch_order", "finite", "gradient", "dtypes", "compiled", "state")
        assert {name: results[name].verdict for name in checked} == dict.fromkeys(checked, checks.Verdict.PASS)


class Power(keras.regularizers.Regularizer):
    """A class without get_config, which Keras calls optional."""

    def __init__(self, strength: float = 0.01):
        self.strength = strength

    def __call__(self, weights):
        return self.strength * ops.sum(ops.abs(weights) ** 3)


def towards_one(weights, r=0.1):
    """Pull every weight to one; zero weights cost r each."""
    return r * ops.sum(ops.square(weights - 1))


def of_matrices(weights, r=0.1):
    if len(weights.shape) != 2:
        raise ValueError(f"weights must be a matrix, not of rank {len(weights.shape)}")
    return r * ops.sum(ops.square(ops.matmul(ops.transpose(weights), weights)))


@pytest.mark.parametrize("target", [Power, towards_one, of_matrices], ids=lambda target: target.__name__)
def test_no_false_alarm_on_a_sound_regularizer(target):
    assert failed(target, "regularizer") == {}


# Skips say why.


def test_a_python_branch_on_a_parameter_is_a_skip_and_no_fault():
    def branching(y_true, y_pred, gamma=2.0):
        return faults.squared(y_true, y_pred) * (gamma if gamma > 0 else 0.0)

    result = verdicts(branching, skip=only("tensor_parameters"))["tensor_parameters"]
    assert result.verdict is checks.Verdict.SKIP
    assert "one model at a time" in result.seen


def test_a_declared_scalar_skips_sample_weights_and_says_why():
    results = verdicts(declared_scalar, skip=only("per_sample", "sample_weights"))
    assert "declared" in results["per_sample"].seen
    assert results["sample_weights"].verdict is checks.Verdict.SKIP
    assert "one scalar for the batch" in results["sample_weights"].seen


def test_a_scalar_may_be_declared_by_an_attribute():
    def declared(y_true, y_pred):
        return ops.mean(ops.abs(y_true - y_pred))

    assert "per_sample" in failed(declared, skip=only("per_sample"))
    vars(declared)["lossreg_per_sample"] = False
    assert failed(declared, skip=only("per_sample", "sample_weights")) == {}


def test_a_plugin_may_name_its_data():
    def negative_log_likelihood(y_true, y_pred):
        mean, log_scale = y_pred[..., :1], y_pred[..., 1:]
        return ops.mean(log_scale + 0.5 * ops.square(y_true - mean) * ops.exp(-2 * log_scale), axis=-1)

    def draw(generator, n):
        return generator.normal(size=(n, 1)), generator.normal(size=(n, 2))

    vars(negative_log_likelihood)["lossreg_domain"] = draw
    results = verdicts(negative_log_likelihood)
    assert [str(result) for result in results.values() if result.verdict is checks.Verdict.FAIL] == []
    assert "the plugin's own data (named by the plugin" in results["data"].seen
    assert "ideal prediction is not known" in results["minimum"].seen


def pairs(generator, n):
    return generator.normal(size=(n, 1)), generator.normal(size=(n, 2))


class Drawn:
    def __call__(self, generator, n):
        return pairs(generator, n)


@pytest.mark.parametrize(
    "domain", [pairs, Drawn(), f"{__name__}:pairs", "outputs"], ids=["function", "object", "path", "name"]
)
def test_a_run_may_name_the_data(domain):
    results = verdicts(faults.gaussian, domain=domain, skip=only("data", "batch_size"))
    assert results["data"].seen.endswith("(named by the plugin; predictions of shape (n, 2))")
    assert results["batch_size"].verdict is checks.Verdict.PASS


def boxes_and_classes(generator, n):
    data = {"box": generator.normal(size=(n, 2, 2)), "class": generator.normal(size=(n, 1))}
    return data, {key: generator.normal(size=value.shape) for key, value in data.items()}


def of_a_dictionary(y_true, y_pred, weight=0.5):
    far = ops.mean(ops.square(y_true["box"] - y_pred["box"]), axis=(1, 2))
    return far + weight * ops.mean(ops.square(y_true["class"] - y_pred["class"]), axis=-1)


def of_a_dictionary_and_the_batch(y_true, y_pred):
    return of_a_dictionary(y_true, y_pred) / (1 + ops.mean(ops.square(y_pred["box"])))


def test_data_may_be_structures_of_arrays():
    results = verdicts(of_a_dictionary, domain=boxes_and_classes)
    assert [str(result) for result in results.values() if result.verdict is checks.Verdict.FAIL] == []
    assert results["parameters"].verdict is results["compiled"].verdict is checks.Verdict.PASS
    batch = failed(of_a_dictionary_and_the_batch, domain=boxes_and_classes, skip=only("data", "batch_size"))
    assert set(batch) == {"batch_size"}


def test_an_unknown_kind_of_data_is_reported_once():
    def lost(y_true, y_pred):
        return faults.squared(y_true, y_pred)

    vars(lost)["lossreg_domain"] = "categroical"
    results = verdicts(lost)
    assert "categroical" in results["data"].seen
    assert {result.verdict for name, result in results.items() if name != "data"} == {checks.Verdict.SKIP}


def test_a_subclass_of_a_keras_class_is_not_excused():
    class Own(keras.losses.Huber):
        pass

    assert set(failed(Own, skip=only("config"))) == {"config"}
    assert "known of Keras itself" in verdicts(keras.losses.Huber, skip=only("config"))["config"].seen


def test_random_generators_are_left_as_they_were():
    np.random.seed(5)  # noqa: NPY002
    checks.check("mse", skip=only("state"))
    np.testing.assert_array_equal(np.random.random(3), np.random.RandomState(5).random_sample(3))  # noqa: NPY002


# pytest.


def test_three_lines_give_one_test_per_check(pytester):
    pytester.makepyfile(
        """
        from lossreg import checks
        @checks.parametrize("mix", r=0.8, skip={"minimum": "told so", "saved_model": "slow", "compiled": "slow"})
        def test_mix(check):
            check()
        """
    )
    result = pytester.runpytest_inprocess("-v", "-rs", "-p", "no:cacheprovider")
    names = checks.CHECKS["loss"]
    result.assert_outcomes(passed=len(names) - 3, skipped=3)
    result.stdout.fnmatch_lines(["*test_mix?mix(r=0.8)-per_sample? PASSED*", "*told so*"])


def test_a_fault_fails_the_test_with_what_was_seen_and_what_to_do(pytester):
    pytester.makepyfile(
        """
        from keras import ops
        from lossreg import checks
        def flipped(y_true, y_pred):
            return -ops.mean(ops.square(y_true - y_pred), axis=-1)
        @checks.parametrize(flipped, "l2custom")
        def test_both(check):
            check()
        """
    )
    result = pytester.runpytest_inprocess("-k", "flipped-minimum or l2custom-zero", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*loss flipped: minimum: fail: *flipped sign*"])


def test_a_check_that_does_not_exist_cannot_be_skipped():
    with pytest.raises(lossreg.ParameterError, match="Did you mean 'gradient'"):
        checks.parametrize("mix", skip={"gradeint": "typo"})


def test_collecting_imports_neither_tensorflow_nor_keras():
    code = "import sys; from lossreg import checks; checks.parametrize('mix', 'l2custom', r=0.8)"
    code += "; sys.exit(bool({'tensorflow', 'keras', 'lossreg_plugins.losses'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


# The command line.


def test_check_prints_a_table_and_returns_0(capsys):
    assert main(["check", "mix", "r=0.8"]) == 0
    out = capsys.readouterr().out
    assert "loss mix(r=0.8)" in out
    assert re.fullmatch(r"no fault found \(\d+ passed, 0 failed, \d+ skipped\)", out.splitlines()[-1])
    assert all(re.search(rf"^ *{name} +(pass|skip) ", out, re.MULTILINE) for name in checks.CHECKS["loss"])


def test_check_returns_1_on_a_fault_and_says_what_to_do(capsys):
    lossreg.losses.register("faulty")(faults.flipped_squared)
    try:
        assert main(["check", "faulty", "--json"]) == 1
    finally:
        lossreg.losses.unregister("faulty")
    results = {result["check"]: result for result in json.loads(capsys.readouterr().out)}
    assert results["minimum"]["verdict"] == "fail"
    assert "sign" in results["minimum"]["advice"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "mxi"], "Did you mean 'mix'?"),
        (["check", "mix", "rr=1"], "Did you mean 'r'?"),
        (["check", "mix", "r=big"], "takes float for 'r'"),
        (["check", "mix", "0.8"], "Write it as <name>=<value>"),
        (["check"], "check --all"),
        (["check", "mix", "--domain", "reel"], "Choose one of: real"),
        (["check", "mix", "--domain", "no.such:thing"], "'no.such:thing' cannot be imported: ModuleNotFoundError"),
        (["check", "mix", "--domain", "math:pi"], "There is no kind of data 'math:pi'"),
        (["check", "mix", "--kind", "regularizer"], "There is no regularizer 'mix'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_usage_error_returns_2_and_one_short_message(arguments, message, capsys):
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert "Traceback" not in captured.err
    assert not captured.out


def test_a_name_of_both_kinds_needs_the_kind(capsys):
    lossreg.regularizers.register("mse")(Power)
    try:
        assert main(["check", "mse"]) == 2
        assert "a loss and a regularizer" in capsys.readouterr().err
        assert main(["check", "mse", "--kind", "regularizer"]) == 0
    finally:
        lossreg.regularizers.unregister("mse")


def test_a_required_parameter_is_asked_for_by_name_and_tried_by_all(capsys, monkeypatch):
    def weighted(y_true, y_pred, factor):
        return factor * faults.squared(y_true, y_pred)

    lossreg.losses.register("weighted_error")(weighted)
    monkeypatch.setattr(lossreg.losses, "names", lambda: ["weighted_error"])
    try:
        assert main(["check", "weighted_error"]) == 2
        assert "needs a value for 'factor'" in capsys.readouterr().err
        results = list(checks.check_all(kind="loss"))
    finally:
        lossreg.losses.unregister("weighted_error")
    assert {result.plugin for result in results} == {"weighted_error(factor=0.5)"}


def test_check_all_prints_the_counts_of_each_and_every_fault_in_full(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    lossreg.losses.register("faulty")(faults.flipped_squared)
    monkeypatch.setattr(lossreg.losses, "names", lambda: ["faulty", "mix"])
    monkeypatch.setattr(lossreg.regularizers, "names", lambda: ["l2custom"])
    try:
        assert main(["check", "--all"]) == 1
    finally:
        lossreg.losses.unregister("faulty")
    out = capsys.readouterr().out
    assert re.search(rf"loss +mix +{len(checks.CHECKS['loss'])} +0 +0", out)
    assert re.search(rf"regularizer +l2custom +{len(checks.CHECKS['regularizer'])} +0 +0", out)
    assert re.search(r"minimum +fail .*flipped sign", out)
    assert re.fullmatch(r"faulty: faulty \(\d+ passed, 1 failed, \d+ skipped\)", out.splitlines()[-1])


# All but `mix` and `l2custom`, which pass every check above.
FIRST_PARTY = [
    (kind, plugin.name)
    for kind, registry_ in (("loss", lossreg.losses), ("regularizer", lossreg.regularizers))
    for plugin in registry_.plugins()
    if plugin.target.startswith("lossreg_plugins.")
    and plugin.name not in ("mix", "l2custom")
    and not any(p.required for p in registry_.describe(plugin.name).parameters)
]


@pytest.mark.parametrize(("kind", "name"), FIRST_PARTY, ids=[f"{kind}-{name}" for kind, name in FIRST_PARTY])
def test_every_first_party_name_passes(kind, name):
    assert failed(name, kind) == {}


# Models that load.


SCRIPT = """
import json
from lossreg import checks

with open("runs", "a") as file:
    file.write("run\\n")
checked = {
    "absolute": checks.check("absolute", kind="loss", scale=3.0),
    "cubic": checks.check("cubic"),
    "another_elsewhere": checks.check("another_elsewhere"),
}
print(json.dumps({name: {r.check: r.verdict for r in results} for name, results in checked.items()}))
"""


def test_saved_models_of_an_installed_package_are_loaded_in_a_fresh_process(tmp_path):
    site = install(tmp_path / "site", ROOT / "tests" / "packages" / "elsewhere")
    # A script without `if __name__ == "__main__"`, in a session of its own.
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(site)},
        stdout=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    found = json.loads(process.communicate()[0])
    assert found["absolute"]["saved_model"] == found["cubic"]["saved_model"] == "pass"
    faulty = {
        name: [check for check, verdict in verdicts.items() if verdict == "fail"] for name, verdicts in found.items()
    }
    assert faulty == {"absolute": [], "cubic": [], "another_elsewhere": ["saved_model"]}
    assert (tmp_path / "runs").read_text() == "run\n"
    with pytest.raises(ProcessLookupError):  # nothing is left of the session
        os.killpg(process.pid, 0)


# The page about it.


def test_the_page_states_what_is_checked_and_the_counts():
    page = (ROOT / "docs" / "checks.md").read_text()
    for kind, held in checks.CHECKS.items():
        section = page.split(f"## A {kind}")[1].split("\n## ")[0]
        assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == list(held)
    assert re.findall(r"^\| `(\w+)` \|", page.split("## Which data")[1].split("\n## ")[0], re.MULTILINE) == list(
        checks.DOMAINS
    )
    assert f"| classes of `keras.losses` | {len(KERAS_LOSSES)} | 0 |" in page
    assert f"| classes of `keras.regularizers` | {len(KERAS_REGULARIZERS)} | 0 |" in page
    assert f"| faulty losses, planted | {len(faults.LOSSES)} | {len(faults.LOSSES)} |" in page
    assert f"| faulty regularizers, planted | {len(faults.REGULARIZERS)} | {len(faults.REGULARIZERS)} |" in page
