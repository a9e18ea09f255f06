"""Maps the shipped probe declarations (``probes/``) into the wheel; everything else is in setup.cfg."""

from setuptools import find_packages, setup

setup(
    packages=[
        *find_packages(include=["collapse_probe", "collapse_probe.*"]),
        "collapse_probe.shipped_probes",
    ],
    package_dir={"collapse_probe.shipped_probes": "probes"},
)
