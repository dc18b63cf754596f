"""The settings in `_quarto.yml` that are used here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from .front_matter import PageError


@dataclass(frozen=True)
class SiteConfig:
    """`pages` maps each source to its page, `resources` lists files to copy; all are paths in the project, with `/`."""

    project: Path
    title: str
    output: Path
    pages: Mapping[str, str]
    resources: tuple[str, ...]
    navigation: tuple[dict, ...]
    defaults: Mapping

    def options(self, front_matter: Mapping) -> dict:
        """The options of one page: the site's defaults, overridden by its front matter."""
        own = _flat(front_matter)
        execute = {**(self.defaults.get("execute") or {}), **(own.get("execute") or {})}
        return {**self.defaults, **own, "execute": execute}

    def files(self, named) -> list[Path]:
        """The project files that an option names: one name or several, plain or as `file: name`."""
        names = [entry.get("file") if isinstance(entry, dict) else entry for entry in listed(named)]
        paths = [self.project / name for name in names if name]
        for path in paths:
            if not path.is_file():
                raise PageError(f"_quarto.yml or a page names the file {path.name}, which does not exist.")
        return paths


def read_config(project: Path) -> SiteConfig:
    """Read `_quarto.yml` and find the existing pages and resources; raises `PageError` if it cannot be read."""
    try:
        content = yaml.safe_load((project / "_quarto.yml").read_text(encoding="utf-8"))
        settings, website = content.get("project") or {}, content.get("website") or {}
    except (OSError, yaml.YAMLError, AttributeError) as error:
        raise PageError(f"_quarto.yml cannot be read: {' '.join(str(error).split())}") from None
    output = project / settings.get("output-dir", "_site")
    sources = _sources(project, settings.get("render", ["**/*.qmd", "**/*.ipynb"]))
    resources = [name for pattern in listed(settings.get("resources")) for name in _matches(project, pattern)]
    navbar = website.get("navbar") or {}
    return SiteConfig(
        project=project,
        title=str(website.get("title", "")),
        output=output,
        pages={source: str(Path(source).with_suffix(".html").as_posix()) for source in sources},
        resources=tuple(dict.fromkeys(resources)),
        navigation=tuple(_link(item) for side in ("left", "right") for item in navbar.get(side) or []),
        defaults=_flat({key: value for key, value in content.items() if key not in ("project", "website")}),
    )


def _sources(project: Path, patterns: list[str]) -> list[str]:
    chosen: dict[str, None] = {}
    for pattern in patterns:
        if pattern.startswith("!"):
            for name in _matches(project, pattern[1:]):
                chosen.pop(name, None)
            continue
        for name in _matches(project, pattern):
            hidden = any(part.startswith((".", "_")) for part in name.split("/"))
            if name.endswith((".qmd", ".ipynb")) and not hidden:
                chosen[name] = None
    return list(chosen)


def _matches(project: Path, pattern: str) -> list[str]:
    pattern = pattern.lstrip("/")
    if pattern.endswith("/") or (project / pattern).is_dir():
        pattern = pattern.rstrip("/") + "/**/*"
    found = sorted(path for path in project.glob(pattern) if path.is_file() and not path.name.startswith("."))
    return [path.relative_to(project).as_posix() for path in found]


def _link(item) -> dict:
    """A navigation entry as `text`, `href` and, for a menu, `menu`."""
    if isinstance(item, str):
        item = {"href": item}
    href = item.get("href") or item.get("file")
    menu = [_link(entry) for entry in item.get("menu") or []]
    return {"text": item.get("text") or href or "", "href": href, "menu": menu}


def _flat(metadata: Mapping) -> dict:
    """Metadata with the options under `format: html:` moved to the top level, where they take precedence."""
    own = {key: value for key, value in metadata.items() if key != "format"}
    html = metadata["format"].get("html") if isinstance(metadata.get("format"), dict) else None
    return {**own, **html} if isinstance(html, dict) else own


def listed(value) -> list:
    """The value of an option as a list, whether it is a single value or a list."""
    return value if isinstance(value, list) else [] if value is None else [value]
