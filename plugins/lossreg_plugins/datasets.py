"""Data sets: functions that return inputs `x` of shape `(rows, …)`, targets `y`, and sample weights if they have any.

Targets are numbers, truth values or text, of shape `(rows,)` or `(rows, columns)`. What needs scikit-learn or pandas
says so: `pip install 'lossreg[data]'`.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Gt, Interval

Arrays = tuple[np.ndarray, np.ndarray]
Count = Annotated[int, Interval(ge=4, le=10_000_000)]
Noise = Annotated[float, Ge(0)]
Seed = Annotated[int, Interval(ge=0, lt=2**32)]
Share = Annotated[float, Interval(gt=0, lt=1)]


def xor(
    inputs: list[list[float]] = [[0, 0], [0, 1], [1, 0], [1, 1]],  # noqa: B006 - read, never changed
    targets: list[list[float]] = [[0], [1], [1], [0]],  # noqa: B006
) -> Arrays:
    """The exclusive or of two bits; or the rows that are given.

    Arguments:
        inputs: a list of rows of numbers. Defaults to the four pairs of bits.
        targets: a row for each row of inputs. Defaults to whether the bits differ.

    Raises ValueError if the rows are of several lengths, or inputs and targets of several numbers of rows.

    Example:
    >>> xor()[1].ravel()
    array([0., 1., 1., 0.])
    """
    for name, rows in (("inputs", inputs), ("targets", targets)):
        if not rows or len({len(row) for row in rows}) != 1 or not rows[0]:
            raise ValueError(f"{name}: {rows!r} is not accepted; it must be rows of one length")
    if len(inputs) != len(targets):
        raise ValueError(f"targets: {targets!r} is not accepted; it must be {len(inputs)} rows, as inputs has")
    return np.asarray(inputs, float), np.asarray(targets, float)


def parity(bits: Annotated[int, Interval(ge=1, le=20)] = 4) -> Arrays:
    """Whether a number of bits has an odd number of ones: all `2^bits` rows.

    Example:
    >>> parity(2)[1]
    array([0, 1, 1, 0])
    """
    x = np.array([*itertools.product((0, 1), repeat=bits)])
    return x.astype(float), x.sum(axis=1) % 2


def two_moons(n: Count = 400, noise: Noise = 0.2, seed: Seed = 0) -> Arrays:
    """Two half circles that reach into one another: `sklearn.datasets.make_moons`.

    Arguments:
        n: the number of points.
        noise: the standard deviation of the noise of both coordinates.
        seed: of the noise and of the order.
    """
    from sklearn.datasets import make_moons

    x, y = make_moons(n, noise=noise, random_state=seed)
    return x, y


def spirals(n: Count = 400, turns: Annotated[float, Gt(0)] = 1.5, noise: Noise = 0.02, seed: Seed = 0) -> Arrays:
    """Two spirals, one inside the other: `t (cos 2π t turns, sin 2π t turns)` and its mirror image, `t` in [0.1, 1].

    Arguments:
        n: the number of points, half of them on each.
        turns: how often each goes around.
        noise: the standard deviation of the noise of both coordinates.
        seed: of the points and the noise.

    Source: K. J. Lang and M. J. Witbrock, "Learning to tell two spirals apart", 1988.
    """
    random = np.random.default_rng(seed)
    y = np.arange(n) % 2
    t = random.uniform(0.1, 1, n)
    angle = 2 * np.pi * turns * t
    points = (t * (1 - 2 * y))[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return points + random.normal(0, noise, points.shape), y


def imbalanced(
    n: Count = 1000, positives: Share = 0.05, features: Annotated[int, Interval(ge=4, le=10_000)] = 10, seed: Seed = 0
) -> Arrays:
    """Two classes of which one is rare: `sklearn.datasets.make_classification`.

    Arguments:
        n: the number of rows.
        positives: the share of the rare class.
        features: the number of inputs, half of which tell something.
        seed: of everything.
    """
    from sklearn.datasets import make_classification

    x, y = make_classification(
        n, features, n_informative=max(2, features // 2), weights=[1 - positives], random_state=seed
    )
    return x, y


def csv(path: str, target: str, separator: str = ",", ignore: list[str] = []) -> Arrays:  # noqa: B006
    """A table with a header, read by `pandas.read_csv`.

    Columns of numbers are inputs as they are, gaps included; columns of text become one input for each text, by
    `sklearn.preprocessing.OneHotEncoder`, with an empty cell as a text of its own.

    Arguments:
        path: the file.
        target: the column that is to be predicted: numbers, or names of classes.
        separator: between two cells.
        ignore: columns that are left out.

    Raises FileNotFoundError, or ValueError if the file is empty or not a table, has no such column, or no other.
    """
    import pandas as pd
    from sklearn.preprocessing import OneHotEncoder

    if not Path(path).is_file():
        raise FileNotFoundError(f"path: there is no file '{path}'")
    try:
        table = pd.read_csv(path, sep=separator)
    except (ValueError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise ValueError(f"path: '{path}' is not a table: {str(error).strip()}") from None
    for key, column in (("target", target), *(("ignore", name) for name in ignore)):
        if column not in table:
            raise ValueError(f"{key}: '{path}' has no column '{column}'; its columns are {', '.join(table)}")
    if table.empty:
        raise ValueError(f"path: '{path}' has no rows")
    inputs = table.drop(columns=[target, *ignore])
    numbers = inputs.select_dtypes(["number", "bool"])
    text = inputs.drop(columns=numbers.columns).astype(object)
    parts = [numbers.to_numpy(float)]
    if len(text.columns):
        parts.append(OneHotEncoder(sparse_output=False).fit_transform(text.fillna("").astype(str)))
    x = np.concatenate(parts, axis=1)
    if not x.shape[1]:
        raise ValueError(f"path: '{path}' has no column but the target '{target}'")
    if missing := int(table[target].isna().sum()):
        raise ValueError(f"target: column '{target}' of '{path}' is empty in {missing} of {len(table)} rows")
    return x, table[target].to_numpy()


def npz(path: str, x: str = "x", y: str = "y") -> Arrays:
    """Arrays that `numpy.savez` wrote.

    Arguments:
        path: the file.
        x, y: the names of the arrays in it.

    Raises FileNotFoundError, or ValueError if it is no such file or has no such array.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"path: there is no file '{path}'")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found = dict(arrays)
    except (ValueError, OSError, TypeError, AttributeError) as error:
        raise ValueError(f"path: '{path}' is not a file of numpy.savez: {error}") from None
    for key, name in (("x", x), ("y", y)):
        if name not in found:
            raise ValueError(f"{key}: '{path}' has no array '{name}'; it has {', '.join(found)}")
    return found[x], found[y]


def breast_cancer(positives: Share | None = None, seed: Seed = 0) -> Arrays:
    """Tumours, 569 rows of 30 numbers: `sklearn.datasets.load_breast_cancer`, with malignant as 1.

    Arguments:
        positives: the share of malignant ones, by leaving out malignant rows; None leaves all.
        seed: of the choice which are left out.

    Example:
    >>> x, y = breast_cancer(positives=0.1)
    >>> len(x), round(float(y.mean()), 2)
    (397, 0.1)
    """
    from sklearn.datasets import load_breast_cancer

    x, benign = load_breast_cancer(return_X_y=True)
    y = 1 - benign
    if positives is not None:
        if not 0 < positives <= y.mean():
            raise ValueError(f"positives: {positives} is not accepted; it must be in (0, {y.mean():.3f}]")
        malignant = np.flatnonzero(y)
        kept = round(positives / (1 - positives) * (len(y) - len(malignant)))
        out = np.random.default_rng(seed).permutation(malignant)[kept:]
        x, y = np.delete(x, out, axis=0), np.delete(y, out)
    return x, y


def wine() -> Arrays:
    """Wines of three makers, 178 rows of 13 numbers: `sklearn.datasets.load_wine`."""
    from sklearn.datasets import load_wine

    x, y = load_wine(return_X_y=True)
    return x, y


def digits() -> Arrays:
    """Handwritten digits, 1,797 images of shape `(8, 8, 1)`, values 0 to 16: `sklearn.datasets.load_digits`."""
    from sklearn.datasets import load_digits

    found: Any = load_digits()
    return found.images[..., None], found.target


def diabetes() -> Arrays:
    """How far diabetes went in a year, 442 rows of 10 numbers, a regression: `sklearn.datasets.load_diabetes`."""
    from sklearn.datasets import load_diabetes

    x, y = load_diabetes(return_X_y=True)
    return x, y


# Which task a data set is for, where it is not binary: the example that `lossreg show` prints has a loss for it.
wine.lossreg_tasks = digits.lossreg_tasks = ("multiclass",)  # type: ignore[attr-defined]
diabetes.lossreg_tasks = ("regression",)  # type: ignore[attr-defined]
