"""Prints the lowest versions that pyproject.toml allows, as constraints for pip: python scripts/lowest_versions.py > FILE"""

import re
import tomllib
from pathlib import Path

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = ("report", "formats", "large", "irw", "test")

lowest = {}
for requirement in [
    *PROJECT["dependencies"],
    *(r for extra in EXTRAS for r in PROJECT["optional-dependencies"][extra]),
]:
    name, version = re.match(r"([A-Za-z0-9_.-]+)>=([0-9.]+)", requirement).groups()
    lowest[name] = version
print("\n".join(f"{name}=={version}" for name, version in sorted(lowest.items())))
