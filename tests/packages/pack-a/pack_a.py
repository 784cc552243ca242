"""One of two packages that choose the same name."""


def twin(y_true, y_pred, own="a"):
    return (y_true - y_pred) ** 2
