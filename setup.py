"""What pyproject.toml cannot say: ``configs/`` is installed as ``ganimation_jax/configs``."""

from setuptools import find_packages, setup

CONFIGS = "ganimation_jax.configs"
setup(
    packages=[*find_packages(include=["ganimation_jax*"]), CONFIGS],
    package_dir={CONFIGS: "configs"},
)
