"""Starting a Hydra app whose config groups come from the registry, with errors for people."""

from __future__ import annotations

import itertools
import os
import re
import sys
import traceback
from collections.abc import Callable
from concurrent.futures import BrokenExecutor
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf import errors as refused

# Hydra scans this module at every start of every app: what costs time is imported where it is needed.

FULL_ERROR = "HYDRA_FULL_ERROR"


def run(main: Callable[[], Any], *mistakes: type[Exception]) -> None:
    """Run a `@hydra.main` function as a program.

    The registered names are config groups of the app, listed by `--help` and shell completion. A user's mistake (a
    misspelt option, key or parameter, a wrong type, a broken plugin) ends the program with exit code 1 and one short
    message on stderr; `HYDRA_FULL_ERROR=1` gives the traceback instead.

    Arguments:
        main: the decorated function.
        *mistakes: the app's own exceptions whose message is enough.
    """
    from hydra_plugins.lossreg._search_path import RegistrySearchPath
    from lossreg import RegistryError
    from lossreg._errors import print_anything, printable
    from lossreg.sweeps._batch import JobFailed, Outcome

    print_anything()
    for place, (word, folder) in enumerate(itertools.pairwise(sys.argv), start=1):
        if word in ("--config-path", "-cp") and os.path.isdir(folder):  # noqa: PTH112
            sys.argv[place] = os.path.abspath(folder)  # noqa: PTH100 - Hydra takes it as relative to the app's file
    Plugins.instance().register(RegistrySearchPath)
    # Hydra copies this store for every group that --help lists, which doubles its time; nothing changes it once filled.
    store: Any = ConfigStore.instance()
    store.__deepcopy__ = lambda memo: store
    if os.environ.get(FULL_ERROR, "0") not in ("", "0"):
        main()
        return
    os.environ[FULL_ERROR] = "1"  # Hydra then raises errors instead of printing them itself
    try:
        main()
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        ours = HydraException, RegistryError, JobFailed, BrokenExecutor, *mistakes, OSError
        of_a_job = isinstance(error, JobFailed) or _ended_a_job_of_a_sweep(error)  # its traceback is in the job's log
        if not isinstance(error, ours) and not of_a_job and not _raised_by_hydra(error):
            raise
        # In one line as in the row, so that a resumed sweep ends with the same.
        message = " ".join(Outcome(error=error).message.split()) if of_a_job else explain(error)
        sys.exit(f"{printable(message)}\n({FULL_ERROR}=1 shows the traceback.)")
    finally:
        del os.environ[FULL_ERROR]


def _ended_a_job_of_a_sweep(error: BaseException) -> bool:
    frames = {frame.f_code.co_name for frame, _ in traceback.walk_tb(error.__traceback__)}
    return {"multirun", "return_value"} <= frames


def _raised_by_hydra(error: BaseException) -> bool:
    """Whether Hydra or OmegaConf refused something; not all that they refuse has an exception of its own."""
    modules = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    return modules[-1].startswith(("hydra.", "omegaconf.")) or isinstance(error, refused.InterpolationResolutionError)


def explain(error: BaseException) -> str:
    """Say in one short message what was wrong, where, and what would be right."""
    from lossreg import GROUPS
    from lossreg._errors import text_of

    path = getattr(error, "missing_cfg_file", None) or ""
    # Where several options were chosen, Hydra does not say which there are.
    if getattr(error, "options", None) is not None or path.partition("/")[0] in GROUPS:
        return _explain_option(path, list(getattr(error, "options", None) or ()))
    cause = error.__cause__
    if isinstance(cause, (refused.ConfigAttributeError, refused.ConfigKeyError)) and isinstance(
        cause.parent_node, DictConfig
    ):
        return _explain_key(cause.full_key or "", str(cause.key), cause.parent_node)
    message = text_of(error).strip()
    if isinstance(error, refused.OmegaConfBaseException):
        first = re.sub(r"^\w+ raised while resolving interpolation: ", "", message.partition("\n")[0])
        return f"{error.full_key}: {first}" if error.full_key else first
    lines = [f"{_culprit(message)}{message}"]
    if isinstance(cause, refused.OmegaConfBaseException):
        lines.append(str(cause).strip().partition("\n")[0])
    return "\n".join(lines)


def _culprit(message: str) -> str:
    """Name the override that Hydra refuses, where it does not: it cannot read it, or it is an option and no name."""
    from lossreg import GROUPS

    words = {word.partition("=")[0].lstrip("+~"): word for word in sys.argv[1:] if "=" in word}
    for key, word in words.items() if not any(key in message for key in words) else ():
        try:
            value = OverridesParser.create().parse_override(word).value()
        except HydraException:
            return f"{key}: "
        options = value if isinstance(value, list) else getattr(value, "list", [value])
        if key.partition("@")[0] in GROUPS and not all(isinstance(option, str) for option in options):
            return f"{word}: an option is chosen by its name. "
    return ""


def _explain_option(path: str, options: list[str]) -> str:
    from lossreg import GROUPS, RegistryError, did_you_mean

    group = next((group for group in GROUPS if path.startswith(f"{group}/")), path.rpartition("/")[0])
    name = path.removeprefix(f"{group}/")
    if group in GROUPS:
        try:
            GROUPS[group].find(name, key=f"{group}={name}")
        except RegistryError as error:
            message = str(error)
            presets = sorted(set(options) - set(GROUPS[group].names()))
            if presets and "Did you mean" not in message:
                message = message.replace(" Available:", f"{did_you_mean(name, presets)} Available:", 1)
            return f"{message}\n  this app: {', '.join(presets)}" if presets else message
    return f"{group}={name}: there is no such option.{did_you_mean(name, options)} Available: {', '.join(options)}"


def _explain_key(full_key: str, key: str, parent: DictConfig) -> str:
    from lossreg import GROUPS, RegistryError, did_you_mean

    group = full_key.removesuffix(key).rstrip(".")
    if group in GROUPS:
        try:
            GROUPS[group].parse({"name": parent.get("name"), key: "???"}, key=group)
        except RegistryError as error:
            return str(error)
    names = [str(name) for name in parent]
    if not names:
        return (
            f"{full_key}: there is no such config key, since '{group}' is no schedule or learned number here. Where "
            f"several of them are swept, write ++{full_key}=…; and {group}=<value> takes the place of one."
        )
    where = f"'{group}'" if group else "the config"
    return f"{full_key}: there is no such config key.{did_you_mean(key, names)} Keys of {where}: {', '.join(names)}"
