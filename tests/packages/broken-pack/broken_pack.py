"""A package that cannot be imported."""

raise RuntimeError("the plugin fell over")


def shatter(y_true, y_pred, force=1.0):
    return force * (y_true - y_pred) ** 2
