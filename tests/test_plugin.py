"""What a plugin does at its import stays the plugin's own affair."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from lossreg import BrokenPluginError, Plugin
from lossreg._errors import is_ctrl_c


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import sys; sys.exit(0)", "SystemExit: 0"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("raise GeneratorExit('x')", "GeneratorExit: x"),
        ("def f(): f()\nf()", "RecursionError: "),
        (
            "class E(Exception):\n    def __str__(self): raise SystemExit(0)\nraise E",
            "E: (what it says raises SystemExit",
        ),
        ("raise ValueError('\\x1b[31m [/red]')", "ValueError: \\x1b[31m [/red]"),
    ],
)
def test_whatever_ends_an_import_names_the_package(
    code: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "ends_at_import.py").write_text(code, encoding="utf-8")
    with pytest.raises(BrokenPluginError) as caught:
        Plugin("odd", "ends_at_import:loss", "odd-pack", "1.0").load()
    assert "'odd' of package odd-pack 1.0" in str(caught.value)
    assert said in str(caught.value)


def test_the_ctrl_c_of_the_user_is_no_error_of_a_plugin() -> None:
    import _thread

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever a test before left there
    try:
        with pytest.raises(KeyboardInterrupt) as caught:  # noqa: PT012 - Python raises it some instructions later
            _thread.interrupt_main()
            for _ in range(1_000_000):
                pass
    finally:
        signal.signal(signal.SIGINT, before)
    assert is_ctrl_c(caught.value)


SETS = """
import logging, os, sys, warnings
import keras, numpy, tensorflow
keras.config.set_floatx("float64")
keras.config.set_epsilon(1e-3)
keras.config.set_image_data_format("channels_first")
keras.config.set_dtype_policy("mixed_float16")
tensorflow.config.run_functions_eagerly(True)
numpy.seterr(all="raise")
os.chdir("/")
sys.setrecursionlimit(500)
sys.stdout = sys.stderr = None
logging.disable()
warnings.simplefilter("error")
def loss(y_true, y_pred):
    return keras.ops.mean(y_pred, axis=-1)
"""


def test_what_an_import_sets_for_all_is_set_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import keras
    import numpy as np
    import tensorflow as tf

    def settings() -> list[object]:
        config = keras.config
        of_keras = [config.floatx(), config.epsilon(), config.image_data_format(), config.dtype_policy().name]
        of_python = [Path.cwd(), sys.getrecursionlimit(), sys.stdout, sys.stderr, logging.root.manager.disable]
        return [*of_keras, tf.config.functions_run_eagerly(), np.geterr(), *of_python, list(warnings.filters)]

    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "sets_for_all.py").write_text(SETS, encoding="utf-8")
    before = settings()
    Plugin("odd", "sets_for_all:loss", "odd-pack", "1.0").load()
    assert settings() == before


def test_eight_threads_create_losses_in_a_fresh_process() -> None:
    code = (
        "import lossreg, concurrent.futures as f\n"
        "with f.ThreadPoolExecutor(8) as pool:\n"
        "    print(len(list(pool.map(lossreg.losses.create, ['mix', 'bce', 'mse', 'huber'] * 2))))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.stdout.strip() == "8", result.stderr
