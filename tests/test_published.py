"""What is published: exactly the pages and files that are meant, nothing that would ask another host."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from ilhte_report.site.config import read_config
from ilhte_report.site.preview.conditions import visible_blocks
from ilhte_report.words.markdown import table_markdown

pytest.importorskip("pypandoc", reason="pypandoc is not installed (extra 'report')")

from ilhte_report.site.preview.pandoc import markdown_tree, tree_html

PROJECT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ("engines", "identification", "tests_and_intervals")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone in which a run was made, and where a user keeps data of their own."""
    config = (PROJECT / "_quarto.yml").read_text(encoding="utf-8")
    (tmp_path / "_quarto.yml").write_text(config, encoding="utf-8")
    for name in [
        *(path.name for path in PROJECT.glob("*.qmd")),
        *(f"notebooks/{name}.ipynb" for name in (*NOTEBOOKS, "fit_table", "mine")),
        *("tables/a.ipynb", "tables/a.csv", "tables/a.json", "tables/run/summary.csv", "tables/.ilhte-manifest.json"),
        *("results/bundled/tables/a.ipynb", "results/bundled/run.json", "results/bundled/tables/a.csv"),
        *(
            "mydata/tables/pupils.csv",
            "mydata/tables/run/pupils.csv",
            "mydata/letter.qmd",
            "mydata/assets/plotly.min.js",
        ),
        *("assets/plotly.min.js", "site/figures.js", "site/explorer.js", "site/scrollable.js", "docs/site/figures.js"),
    ]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def test_exactly_the_pages_and_files_that_are_meant_are_published(clone):
    config = read_config(clone)
    pages = {path.name for path in PROJECT.glob("*.qmd")} | {f"notebooks/{name}.ipynb" for name in NOTEBOOKS}
    assert set(config.pages) == pages | {"tables/a.ipynb"}
    scripts = {"assets/plotly.min.js", "site/figures.js", "site/explorer.js", "site/scrollable.js"}
    assert set(config.resources) == scripts | {"tables/a.csv", "tables/a.json", "tables/run/summary.csv"}


def test_every_pattern_is_anchored_for_quarto_matches_others_in_any_folder():
    project = yaml.safe_load((PROJECT / "_quarto.yml").read_text(encoding="utf-8"))["project"]
    assert all(pattern.startswith("/") for pattern in [*project["render"], *project["resources"]])


def test_no_notebook_holds_an_output_for_which_quarto_loads_scripts_from_elsewhere():
    for name in NOTEBOOKS:
        notebook = json.loads((PROJECT / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))
        outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
        assert outputs and not any("text/html" in output.get("data", {}) for output in outputs), name


def test_figures_offer_no_upload():
    plotly = pytest.importorskip("plotly.graph_objects")
    from ilhte_report.site.embed import _without_template

    assert _without_template(plotly.Figure())["config"]["showSendToCloud"] is False


def test_the_workflow_publishes_only_what_a_pinned_quarto_rendered():
    workflow = yaml.safe_load((PROJECT / ".github" / "workflows" / "publish.yml").read_text(encoding="utf-8"))
    steps = workflow["jobs"]["build"]["steps"]
    (setup,) = [step for step in steps if "quarto-actions/setup" in step.get("uses", "")]
    assert re.fullmatch(r"\d+\.\d+\.\d+", setup["with"]["version"])
    commands = [step.get("run", "") for step in steps]
    (check,) = [n for n, command in enumerate(commands) if 'content="quarto' in command]
    assert commands.index("ilhte render --to public") < check


def test_a_table_is_markdown_in_which_no_text_becomes_markup():
    rows = [{"Item": "<script>|*a*", "Effect": "−0.20"}, {"Item": "$x$", "Effect": "1"}]
    tree = markdown_tree(table_markdown(rows, left=("Item",)), "the table")
    page = tree_html(tree, [], "the table")
    assert page.count("<tr") == 3 and "<script>" not in page and "&lt;script&gt;|*a*" in page and "$x$" in page
    assert page.count('style="text-align: right;"') == 3


@pytest.mark.parametrize(
    ("true", "shown"),
    [({}, "B C"), ({"own": True}, "A D"), ({"own": False}, "B C"), ({"own": True, "few": True}, "A")],
)
def test_parts_of_a_page_are_shown_by_its_metadata(true, shown):
    text = """
::: {.content-visible when-meta="own"}
A

::: {.content-hidden when-meta="few"}
D
:::
:::

::: {.content-hidden when-meta="own"}
B
:::

::: {.content-visible unless-meta="own"}
C
:::
"""
    tree = markdown_tree(f"---\n{yaml.safe_dump(true)}---\n{text}", "the page")
    blocks = visible_blocks(tree["blocks"], tree["meta"])
    assert " ".join(block["c"][0]["c"] for block in blocks) == shown
