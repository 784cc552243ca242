"""A person's own Hydra app, which knows nothing of lossreg."""

import hydra
import sweeps
import trainer

import plugins
import registry


@hydra.main(version_base="1.3", config_path="settings", config_name="config")
def main(cfg):
    print(cfg.greeting, *(package.OWNER for package in (registry, plugins, sweeps, trainer)), sep="\n")


if __name__ == "__main__":
    main()
