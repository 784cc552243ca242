"""A package whose dependency is not installed."""

import a_package_that_is_not_installed


def dependent(y_true, y_pred):
    return (y_true - y_pred) ** 2
