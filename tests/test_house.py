"""The house: a folder is a stage of the way, imports go to the left only, nothing goes in circles and few storeys deep."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from importlib.util import resolve_name

import pytest
from conftest import PROJECT

STAGES = {
    "ilhte_lib": (
        ("errors", "messages", "files", "manifest", "progress"),
        ("model",),
        ("data",),
        ("engine",),
        ("inference",),
        ("figures",),
        ("tidy", "r_code", "analysis"),
        ("__init__",),
    ),
    "ilhte_report": (
        ("__init__",),
        ("project",),
        ("words",),
        ("intake",),
        ("run",),
        ("site",),
        ("studies",),
        ("pages",),
        ("outputs",),
        ("papers",),
        ("terminal", "drawing", "mistakes", "options"),
        ("app",),
        ("cli",),
    ),
}
"""From left to right; a stage imports from itself and from what is left of it. ``ilhte_lib`` is left of ``ilhte_report``."""
DEEPEST = 7
SHOWN_BY = {
    ("ilhte_lib.analysis", f"ilhte_report.{writer}")
    for writer in ("terminal", "pages.single", "pages.sections", "papers.tables", "papers.figures", "words.paper")
}
"""The exceptions: an analysis shows itself as text and HTML, which the writers around the library do when asked."""


def modules(package: str) -> dict[str, str]:
    """Dotted names of a package's modules, with their source."""
    found = {}
    for file in sorted((PROJECT / package).rglob("*.py")):
        parts = file.relative_to(PROJECT).with_suffix("").parts
        found[".".join(parts)] = file.read_text(encoding="utf-8")
    return found


def imported(name: str, source: str, *, only_when_loaded: bool) -> Iterator[str]:
    """Modules of the two packages that a module imports; without those inside functions if ``only_when_loaded``."""
    package = name.rpartition(".")[0]

    def visit(node: ast.AST, lazy: bool) -> Iterator[str]:
        for child in ast.iter_child_nodes(node):
            typing_only = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
            if isinstance(child, ast.ImportFrom) and not (lazy and only_when_loaded):
                base = (
                    resolve_name("." * child.level + (child.module or ""), package)
                    if child.level
                    else child.module or ""
                )
                yield from (f"{base}.{alias.name}" for alias in child.names)
            if not typing_only:
                yield from visit(child, lazy or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef))

    yield from visit(ast.parse(source), False)


@cache
def graph(package: str, only_when_loaded: bool) -> dict[str, set[str]]:
    """Module -> modules of the same package it imports. A name taken from a package is the module it is, if it is one."""
    sources = modules(package)
    arrows: dict[str, set[str]] = {name: set() for name in sources}
    for name, source in sources.items():
        for target in imported(name, source, only_when_loaded=only_when_loaded):
            # the face of a package holds its version, which anyone may ask for
            for candidate in (target, target.rpartition(".")[0]):
                if candidate in sources and candidate != name:
                    arrows[name].add(candidate)
                    break
    return arrows


def stage_of(module: str) -> int:
    package, room = module.split(".")[:2]
    return next(k for k, rooms in enumerate(STAGES[package]) if room in rooms)


@pytest.mark.parametrize("package", STAGES)
def test_every_module_stands_in_a_stage(package):
    known = {room for rooms in STAGES[package] for room in rooms}
    assert {name.split(".")[1] for name in modules(package)} <= known


@pytest.mark.parametrize("package", STAGES)
def test_no_import_goes_to_the_right(package):
    wrong = [
        f"{name} imports {target}"
        for name, targets in graph(package, False).items()
        for target in targets
        if stage_of(target) > stage_of(name)
    ]
    assert not wrong


def test_the_library_knows_nothing_of_what_is_around_it():
    wrong = [
        name
        for name, source in modules("ilhte_lib").items()
        for target in imported(name, source, only_when_loaded=False)
        if target.startswith("ilhte_report") and (name, target.rpartition(".")[0]) not in SHOWN_BY
    ]
    assert not wrong


def test_the_preview_is_a_leaf_with_one_door():
    """What Quarto's render needs stands outside it."""
    preview = "ilhte_report.site.preview"
    arrows = {name: targets for name, targets in graph("ilhte_report", False).items() if not name.startswith(preview)}
    doors = {(name, target) for name, targets in arrows.items() for target in targets if target.startswith(preview)}
    assert doors == {("ilhte_report.site.render", f"{preview}.site")}
    assert not any(preview in target for target in graph("ilhte_report", True)["ilhte_report.site.render"])


@pytest.mark.parametrize("package", STAGES)
def test_no_circle_and_few_storeys(package):
    """Depth: modules on the longest way of imports, those inside functions included."""
    arrows = graph(package, False)
    depth: dict[str, int] = {}

    def storeys(name: str, above: tuple[str, ...]) -> int:
        assert name not in above, f"a circle: {' -> '.join((*above, name))}"
        if name not in depth:
            depth[name] = 1 + max((storeys(target, (*above, name)) for target in arrows[name]), default=0)
        return depth[name]

    deepest = max(arrows, key=lambda name: storeys(name, ()))
    assert depth[deepest] <= DEEPEST, f"{deepest} stands on {depth[deepest]} storeys"
