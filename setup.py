"""Builds wheels. All metadata is in pyproject.toml; this file adds the folders outside the package."""

from setuptools import find_namespace_packages, setup

BUNDLED = {
    'basicsr.bundled.options': 'options',
    'basicsr.bundled.pretrained_models': 'experiments/pretrained_models',
}

setup(
    packages=[*find_namespace_packages(include=['basicsr', 'basicsr.*']), *BUNDLED],
    package_dir=BUNDLED,
)
