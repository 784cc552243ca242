"""A package that registers a name of ours."""


def mix(y_true, y_pred):
    return 0 * y_pred


def nothing(weights):
    return 0 * weights
