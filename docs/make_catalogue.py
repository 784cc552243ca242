"""Writes docs/catalogue.md and its pictures: every first-party plugin, and Keras's own.

python docs/make_catalogue.py
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import lossreg
from lossreg import Description, Registry

DOCS = Path(__file__).parent
IMAGES = {"lossreg": DOCS / "images" / "losses.png", "keras": DOCS / "images" / "keras_losses.png"}

# Why a loss is not drawn, and for which data the others are; what is not named takes one output.
NOT_DRAWN = {
    "circle": "it compares embeddings",
    "ctc": "it compares sequences",
    "weighted": "its terms decide",
}
TWO_CLASSES = {
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "categorical_generalized_cross_entropy",
    "categorical_hinge",
    "cosine_similarity",
    "kl_divergence",
    "sparse_categorical_crossentropy",
}

INTEGER_LABELS = {"categorical_generalized_cross_entropy", "sparse_categorical_crossentropy"}

NUMBERS = {
    "Schedules": (
        lossreg.schedules,
        "A function of the training step; stands in the place of any number: `+schedule@loss.r=cosine_decay`.",
    ),
    "Learned numbers": (
        lossreg.learned,
        "A number that is learned with the weights; stands in the place of any number: `+learned@loss.r=bounded`.",
    ),
}

HEAD = """\
# The catalogue

Every loss, regularizer, schedule and learned number that lossreg registers: those of its own, and those of Keras.
`python -m lossreg list` lists what is installed on your machine, third-party packages included, and
`python -m lossreg show <name>` says all of one.

This page is written by `python docs/make_catalogue.py` from the docstrings.
"""


def describe(kind: Registry, origin: str) -> list[Description]:
    """Describe what lossreg registers of a kind, from `"lossreg"` itself or from `"keras"`, sorted by name."""
    plugins = [plugin for plugin in kind.plugins() if plugin.distribution == "lossreg"]
    return [
        kind.describe(plugin.qualified_name)
        for plugin in plugins
        if plugin.target.startswith("keras.") == (origin == "keras")
    ]


def page() -> str:
    """Return the text of docs/catalogue.md; needs neither Keras nor TensorFlow."""
    return "\n".join([HEAD, *section("lossreg"), *section("keras")]).rstrip() + "\n"


def section(origin: str) -> Iterator[str]:
    """Yield the blocks about the plugins of one origin."""
    owner = "Keras" if origin == "keras" else "lossreg"
    losses = describe(lossreg.losses, origin)
    yield f"## Losses of {owner}\n"
    if origin == "keras":
        yield f"From the docstrings of Keras {metadata.version('keras')}; another version may know more.\n"
        yield "Each takes `reduction`: `sum_over_batch_size`, `sum`, `mean`, `mean_with_sample_weight`, `none`.\n"
    image = IMAGES[origin]
    yield f"![Each loss over the prediction ŷ, for the targets 0 and 1]({image.relative_to(DOCS).as_posix()})\n"
    drawn = [loss.name for loss in losses if loss.name not in NOT_DRAWN]
    two = [name for name in drawn if name in TWO_CLASSES]
    caption = f"With its default parameters, row by row: {', '.join(drawn)}."
    if two:
        caption += f" For two classes, of probabilities 1 - ŷ and ŷ: {', '.join(two)}."
    caption += "".join(f" Not drawn: {loss.name}, {NOT_DRAWN[loss.name]}." for loss in losses if loss.name in NOT_DRAWN)
    yield textwrap.fill(caption, 118, break_on_hyphens=False) + "\n"
    yield from map(entry, losses)
    yield f"## Regularizers of {owner}\n"
    yield from map(entry, describe(lossreg.regularizers, origin))
    for title, (kind, intro) in NUMBERS.items():
        if found := describe(kind, origin):
            yield f"## {title} of {owner}\n"
            yield f"{intro}\n"
            yield from map(entry, found)


def entry(description: Description) -> str:
    """Return the block about one plugin: summary, parameters, formula, source."""
    shown = (f"`{parameter}`" for parameter in description.parameters if parameter.name != "reduction")
    parameters = ", ".join(shown) or "none"
    blocks = [f"### {description.name}", description.summary, f"Parameters: {parameters}."]
    blocks += [found for label in ("Formula", "Source") if (found := paragraph(description.docstring, label))]
    if description.target.startswith("keras."):
        blocks.append(f"Source: `{description.target.replace(':', '.')}`.")
    return "\n\n".join(blocks) + "\n"


def paragraph(docstring: str, label: str) -> str:
    r"""Return the paragraph of a docstring that begins with `label:`, with the block of code that it may introduce.

    Example:

    >>> paragraph("Squares.\n\nFormula: `x²`,\nelementwise.\n\nSource: a book.", "Formula")
    'Formula: `x²`,\nelementwise.'
    """
    lines = docstring.splitlines()
    start = next((number for number, line in enumerate(lines) if line.startswith(f"{label}:")), None)
    if start is None:
        return ""
    found: list[str] = []
    in_code = False
    for line in lines[start:]:
        in_code ^= line.lstrip().startswith("```")
        only_label = "".join(found).strip() == f"{label}:"
        if not line.strip() and not in_code and found and not only_label:
            break
        found.append(line)
    return "\n".join(found)


def draw(origin: str) -> Any:
    """Draw each loss over ŷ for y = 0 and y = 1 on one sheet, and return the figure."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = [loss.name for loss in describe(lossreg.losses, origin) if loss.name not in NOT_DRAWN]
    columns = 5
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(2.3 * columns, 1.9 * rows), layout="constrained", dpi=100)
    FigureCanvasAgg(figure)
    for position, name in enumerate(names):
        axes = figure.add_subplot(rows, columns, position + 1)
        grid, curves = values(name)
        for target, curve, style in zip((0, 1), curves, ("-", "--"), strict=True):
            axes.plot(grid, curve, style, label=f"y = {target}", color=("tab:blue", "tab:red")[target])
        inner = curves[:, 4:-4]  # the poles at 0 and 1 would flatten the rest
        margin = 0.05 * (inner.max() - inner.min() or 1.0)
        axes.set_ylim(inner.min() - margin, inner.max() + margin)
        axes.set_xlim(0, 1)
        axes.set_xticks([0, 0.5, 1])
        axes.tick_params(labelsize=7)
        axes.set_title(name.replace("categorical_generalized", "categorical_generalized\n"), fontsize=8)
        axes.grid(alpha=0.3)
        if position + columns >= len(names):
            axes.set_xlabel("ŷ", fontsize=8)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=8)
    return figure


def values(name: str) -> tuple[Any, Any]:
    """Return predictions ŷ in [0, 1], and the values of a loss there: one row for y = 0, one for y = 1."""
    import numpy as np

    loss = lossreg.losses.create(f"lossreg/{name}")
    grid = np.linspace(0, 1, 101, dtype=np.float32)
    curves = np.empty((2, len(grid)), np.float32)
    for target in (0, 1):
        for position, p in enumerate(grid):
            y_true, y_pred = np.array([[target]], np.float32), np.array([[p]], np.float32)
            if name in TWO_CLASSES:
                y_pred = np.array([[1 - p, p]], np.float32)
                if name not in INTEGER_LABELS:
                    y_true = np.array([[1 - target, target]], np.float32)
            curves[target, position] = float(loss(y_true, y_pred))
    return grid, curves


def save(figure: Any, path: Path) -> None:
    """Write a figure as a PNG of few colours, a third of the size."""
    import numpy as np
    from PIL import Image

    figure.canvas.draw()
    image = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB")
    image.quantize(64).save(path, optimize=True)


def main() -> None:
    """Write the page and its pictures."""
    (DOCS / "catalogue.md").write_text(page(), encoding="utf-8")
    for origin, path in IMAGES.items():
        save(draw(origin), path)


if __name__ == "__main__":
    main()
