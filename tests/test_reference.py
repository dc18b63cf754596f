"""The page of reference: every public name is on it, and links to its modules lead somewhere."""

from __future__ import annotations

import ast
import re

import pytest
from conftest import PROJECT

import ilhte_lib

pytest.importorskip("IPython", reason="IPython is not installed (extra 'report')")

from ilhte_report.pages.reference import reference


def test_the_face_and_every_module_are_on_the_page():
    page = reference().data
    modules = {
        ".".join(file.relative_to(PROJECT / "ilhte_lib").with_suffix("").parts)
        for room in ("model", "data", "engine", "inference", "figures")
        for file in (PROJECT / "ilhte_lib" / room).glob("[!_]*.py")
    }
    anchors = set(re.findall(r"{#([a-z0-9-]+)}", page))
    assert {module.replace(".", "-").replace("_", "-") for module in modules} <= anchors
    functions = {
        name for name in ilhte_lib.__all__ if callable(getattr(ilhte_lib, name)) and not name.endswith("Error")
    }
    assert all(re.search(rf"^(class )?{name}\b", page, flags=re.M) for name in functions), functions
    assert "``" not in re.sub(r"^~~~.*?^~~~", "", page, flags=re.S | re.M)


def test_links_to_modules_lead_to_them():
    anchors = set(re.findall(r"{#([a-z0-9-]+)}", reference().data))
    links = [
        link
        for file in (*PROJECT.glob("*.qmd"), *PROJECT.glob("notebooks/*.ipynb"))
        for link in re.findall(r"reference\.qmd#([\w-]+)", file.read_text(encoding="utf-8"))
    ]
    assert len(links) >= 5 and set(links) <= anchors


def test_signatures_are_python_and_fit_beside_the_list_of_contents():
    blocks = re.findall(r"^~~~+ *{?\.?python}?\n(.*?)\n~~~", reference().data, flags=re.S | re.M)
    signatures = [re.sub(r"^\w+\.", "", block) for block in blocks if "(" in block]
    assert len(signatures) > 50
    for signature in signatures:
        ast.parse(f"def {signature}: ...")
        assert max(map(len, signature.split("\n"))) <= 100, signature
