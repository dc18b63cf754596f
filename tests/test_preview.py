"""The preview renderer, with the real pandoc and real kernels, and what prepares a site."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("pypandoc")
pytest.importorskip("nbclient")
pytest.importorskip("plotly")

import nbformat
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output, new_raw_cell
from site_cases import chromium_running

from ilhte_lib.errors import EngineError, InputError
from ilhte_report.project import MARK
from ilhte_report.run import tables as running
from ilhte_report.site import render as rendering
from ilhte_report.site.front_matter import PageError
from ilhte_report.site.preview.site import build_site
from ilhte_report.words.markdown import escape_markdown

PROJECT = Path(__file__).resolve().parents[1]
HOSTILE = '<script>alert(1)</script> *b* $x$ @none [l](u) `c` "q"'

QUARTO = """
project:
  type: website
  render: ["*.qmd", "tables/*.ipynb", "!draft.qmd"]
  resources: [assets/, site/*.js]
website:
  title: "Items & effects"
  navbar:
    left:
      - href: index.qmd
        text: Vignette
      - text: More
        menu:
          - href: plain.qmd
            text: Plain
format:
  html:
    include-in-header: site/head.html
    code-fold: true
bibliography: references.bib
"""

BIB = "@article{key2024, title={On items}, author={Writer, Ann}, year={2024}, journal={Journal}}\n"

INDEX = (
    r"""---
title: "Some *items*"
subtitle: Sub
author: [Ann Writer, {name: Bo Reader}]
date: 2026-11-02
number-sections: true
execute:
  echo: false
---

```{python}
#| include: false
import os, sys
from IPython.display import Markdown
n = 30
hostile = """
    + repr(HOSTILE)
    + r"""
print("never shown")
```

Values: `{python} n`, `{python} n + 1`; `{python} hostile`; `{python} Markdown("**bold**")`; `{python} sys.executable`;
`{python} os.environ["ILHTE_RUN"]`. Literal: ``{python} n``.

# Model {#sec-model}

$$ \theta_p + b_i $$ {#eq-model}

See @eq-model, @fig-plot, @fig-written, @tbl-made, @tbl-written, @sec-end, [-@fig-plot], [Panel @fig-plot] and @Fig-plot.
Cited: [see @key2024, p. 3] and @key2024.

::: {.callout-warning title="Mind this"}
Only *six* are trials.
:::

::: {.callout-tip collapse="true"}
## A `title` inside
Hidden at first.
:::

```{python}
#| label: fig-plot
#| fig-cap: "A *caption* after @key2024."
#| echo: true
import plotly.graph_objects as go
from ilhte_report.site.embed import show
show(go.Figure(go.Scatter(x=[1, 2, 3], y=[1, 2, 3], mode="markers", text=[hostile] * 3)), alt="Three <points>")
```

::: {#fig-written}
![](site/dot.png)

A caption with `{python} n`.
:::

```{python}
#| label: tbl-made
#| tbl-cap: "Made."
#| echo: true
#| code-fold: false
import pandas as pd
pd.DataFrame({"table": [hostile]})
```

| a | b |
|---|---|
| 1 | 2 |

: Written {#tbl-written}

```python
not_a_cell = "`{python} n`"
```

1. In a list

   ```{python}
   print("printed <b>", hostile)
   Markdown("An address: someone@nowhere and @fig-none")
   ```

```{python}
#| output: false
print("silent")
```

```{python}
#| eval: false
raise SystemExit("not run")
```

```{python}
#| error: true
1 / 0
```

## End {#sec-end}

[A table](tables/one.ipynb#x), [the same](/tables/one.ipynb), [plain](plain.qmd), [a file](data/notes.txt), [up](#sec-model).
"""
)


def run_notebook(title: str = HOSTILE) -> nbformat.NotebookNode:
    """An executed notebook as a run leaves it: title in plain text, parameters, saved outputs."""
    hidden = new_code_cell("where = 'c:/secret'", metadata={"tags": ["injected-parameters"], "papermill": {"x": 1}})
    shown = new_code_cell(
        "#| code-fold: show\ncompute()",
        execution_count=1,
        outputs=[
            new_output("stream", name="stdout", text="\x1b[31mred\x1b[0m <script>alert(2)</script>\n"),
            new_output("display_data", {"text/html": "<table><tr><td>cell</td></tr></table>", "text/plain": "no"}),
            new_output("display_data", {"text/markdown": "```{=html}\n<p id='raw'>raw</p>\n```", "text/plain": "no"}),
            new_output("display_data", {"image/png": "iVBORw0KGgo="}),
            new_output("error", ename="ValueError", evalue="v", traceback=["Trace <i>"]),
        ],
    )
    front = new_raw_cell(f"---\ntitle: {json.dumps(title)}\nsubtitle: {json.dumps(title)}\n---")
    cells = [front, hidden, new_markdown_cell("## Results\n\nAs @key2024 says."), shown]
    return new_notebook(cells=cells, metadata={"papermill": {"input_path": "c:/secret"}})


def write_project(folder: Path, **pages: str) -> Path:
    small = {"index.qmd": "Home.\n", "plain.qmd": "Nothing computed.\n"}
    given = {"_quarto.yml": QUARTO, "references.bib": BIB, "data/notes.txt": "notes"}
    for name, text in {**given, **small, **pages}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "site").mkdir(exist_ok=True)
    for path in [PROJECT / "site" / "head.html", *(PROJECT / "site").glob("*.js")]:
        shutil.copy(path, folder / "site")
    (folder / "site" / "dot.png").write_bytes(b"png")
    (folder / MARK).touch()
    (folder / "assets").mkdir(exist_ok=True)
    (folder / "assets" / "plotly.min.js").write_text("/* plotly.js v0 */")
    return folder


def write_run(folder: Path, *names: str) -> Path:
    (folder / "tables").mkdir(parents=True, exist_ok=True)
    for name in names:
        nbformat.write(run_notebook(), folder / "tables" / f"{name}.ipynb")
    (folder / "run.json").write_text("{}")
    return folder


def build(project: Path, run: Path | None = None) -> list[str]:
    """Renders and returns the sources of the pages that were made anew."""
    made: list[str] = []
    environment = dict(os.environ) | ({"ILHTE_RUN": str(run)} if run else {})
    environment["PYTHONPATH"] = os.pathsep.join([str(PROJECT), os.environ.get("PYTHONPATH", "")])
    build_site(project, run, environment, made.append)
    return made


@pytest.fixture(scope="module")
def whole_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site with every construct; one kernel."""
    project = write_project(
        tmp_path_factory.mktemp("project"),
        **{"index.qmd": INDEX, "draft.qmd": "```{python}\nnever run\n```\n"},
    )
    run = write_run(project / "results" / "r", "one")
    rendering.prepare_site(project, run)
    assert build(project, run) == ["index.qmd", "plain.qmd", "tables/one.ipynb"]
    return project / "_site"


@pytest.fixture(scope="module")
def index(whole_site: Path) -> str:
    return (whole_site / "index.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def table_page(whole_site: Path) -> str:
    return (whole_site / "tables" / "one.html").read_text(encoding="utf-8")


def text_of(fragment: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", fragment)).split())


def links_to(page: str, target: str) -> list[str]:
    return [text_of(words) for words in re.findall(rf'<a href="{re.escape(target)}" class="reference">(.*?)</a>', page)]


def test_the_front_matter_heads_the_page(index: str):
    assert "<title>Some items – Items &amp; effects</title>" in index
    assert "<h1>Some <em>items</em></h1>" in index
    assert '<p class="subtitle">Sub</p>' in index
    assert "Ann Writer, Bo Reader · November 2, 2026" in index


def test_inline_values_are_computed_in_place_and_shown_as_plain_text(index: str):
    values = text_of(re.search(r"<p>Values: .*?</p>", index, re.DOTALL)[0])
    run = Path(values.split("; ")[-1].split(". ")[0])
    assert values.startswith(f"Values: 30, 31; {HOSTILE}; bold; {sys.executable};")
    assert run.name == "r" and run.is_dir()
    assert "<strong>bold</strong>" in index
    assert "<code>{python} n</code>" in index
    assert "not_a_cell" in index and "`{python} n`" in text_of(index)


def test_references_are_numbered_links_in_quartos_words(index: str):
    assert links_to(index, "#eq-model") == ["Equation 1"]
    assert links_to(index, "#fig-plot") == ["Figure 1", "1", "Panel 1", "Figure 1"]
    assert links_to(index, "#fig-written") == ["Figure 2"]
    assert links_to(index, "#tbl-made") == ["Table 1"]
    assert links_to(index, "#tbl-written") == ["Table 2"]
    assert links_to(index, "#sec-end") == ["Section 1.1"]


def test_what_is_labelled_carries_its_number(index: str):
    equation = re.search(r'<span id="eq-model".*?</p>', index, re.DOTALL)[0]
    assert "<math" in equation and text_of(equation).endswith("(1)")
    figure = re.search(r'<figure id="fig-plot".*?</figure>', index, re.DOTALL)[0]
    assert figure.index('class="ilhte-figure"') < figure.index("<figcaption>")
    assert text_of(figure[figure.index("<figcaption>") :]) == "Figure 1: A caption after Writer (2024)."
    written = re.search(r'<figure id="fig-written".*?</figure>', index, re.DOTALL)[0]
    assert text_of(written) == "Figure 2: A caption with 30."
    table = re.search(r'<figure id="tbl-made".*?</figure>', index, re.DOTALL)[0]
    assert table.index("Table 1: Made.".replace(" 1", "\u00a01")) < table.index("<table")
    assert "<caption>Table\u00a02: Written</caption>" in index
    heading = re.search(r'<section id="sec-end".*?<h2>(.*?)</h2>', index, re.DOTALL)[1]
    assert text_of(heading) == "1.1 End"


def test_citations_and_their_list(index: str):
    assert "(see Writer 2024, 3)" in text_of(index)
    references = index[index.index('<section id="references"') :]
    assert "<h1" in references and "On Items" in references and 'id="ref-key2024"' in references


def test_callouts(index: str):
    warning = re.search(r'<div class="callout callout-warning" role="note">.*?</p>', index, re.DOTALL)[0]
    assert text_of(warning) == "Mind this Only six are trials."
    tip = re.search(r'<div class="callout callout-tip" role="note">.*?</details>', index, re.DOTALL)[0]
    assert "<summary>" in tip and "<code>title</code>" in tip and "Hidden at first." in tip


def test_cell_options(index: str):
    text = text_of(index)
    assert "never shown" not in text and "silent" not in text and "not run" not in text
    assert len(re.findall(r'<details class="code-fold"><summary>Code</summary>', index)) == 1
    assert "import pandas" not in re.search(r"<details.*?</details>", index, re.DOTALL)[0]
    assert "import pandas" in text
    assert "ZeroDivisionError: division by zero" in text
    in_list = index[index.index("In a list") : index.index("</ol>")]
    assert "printed &lt;b&gt;" in in_list
    assert "someone@nowhere and @fig-none" in text


def test_no_text_from_the_data_becomes_markup(index: str, table_page: str):
    for page in (index, table_page):
        assert "<script>alert" not in page
        assert 'href="u"' not in page
    assert text_of(re.search(r"<h1>.*?</h1>", table_page)[0]).replace("“q”", '"q"') == HOSTILE
    figure = json.loads(re.search(r'<script type="application/json">(.*?)</script>', index)[1])
    assert figure["data"][0]["text"] == [HOSTILE] * 3


def test_a_notebook_shows_its_saved_outputs_without_running(table_page: str):
    assert "red &lt;script&gt;alert(2)&lt;/script&gt;" in table_page
    assert "<table><tr><td>cell</td></tr></table>" in table_page
    assert "<p id='raw'>raw</p>" in table_page
    assert '<img src="data:image/png;base64,iVBORw0KGgo="' in table_page
    assert "Trace &lt;i&gt;" in table_page
    assert '<details class="code-fold" open>' in table_page and "compute" in table_page
    assert "secret" not in table_page
    assert "As <span" in table_page and 'id="ref-key2024"' in table_page


def test_links_lead_to_pages_from_every_depth(index: str, table_page: str, whole_site: Path):
    for target in ("tables/one.html#x", "tables/one.html", "plain.html", "data/notes.txt", "#sec-model"):
        assert f'href="{target}"' in index
    assert 'src="site/figures.js"' in index and 'src="../site/figures.js"' in table_page
    assert 'href="../index.html">Vignette</a>' in table_page
    assert '<summary>More</summary><ul><li><a href="../plain.html">Plain</a>' in table_page
    assert '<a href="index.html" aria-current="page">Vignette</a>' in index and "aria-current" not in table_page
    assert (whole_site / "data" / "notes.txt").read_text() == "notes"
    assert (whole_site / "site" / "dot.png").is_file() and (
        whole_site / "assets" / "plotly.min.js"
    ).stat().st_size > 1e6
    pages = list(whole_site.rglob("*.html"))
    assert {page.name for page in pages} == {"index.html", "plain.html", "one.html"}
    for page in pages:
        for link in re.findall(r'(?:href|src)="([^"#?]+)', page.read_text(encoding="utf-8")):
            assert re.match(r"https://|data:", link) or (page.parent / link).resolve().is_file(), f"{page.name}: {link}"


def test_every_page_says_that_it_is_a_preview(index: str, table_page: str):
    for page in (index, table_page):
        assert "Preview render" in page and "quarto render" in page


def test_the_search_index_has_the_words_of_every_section_and_no_code(whole_site: Path):
    script = (whole_site / "site_libs" / "search-index.js").read_text(encoding="utf-8")
    entries = json.loads(script.removeprefix("window.siteSearchIndex = ").rstrip(";\n"))
    pages = {page: (title, sections) for page, title, sections in entries}
    assert set(pages) == {"index.html", "plain.html", "tables/one.html"}
    title, sections = pages["index.html"]
    assert title == "Some items"
    by_id = {anchor: (heading, text) for anchor, heading, text in sections}
    assert by_id["sec-end"][0] == "End" and "a file" in by_id["sec-end"][1]
    assert "A caption with" in by_id["sec-model"][1]
    assert "import pandas" in by_id["sec-model"][1] and "graph_objects" not in script
    assert pages["tables/one.html"][0].startswith("<script>alert(1)</script> *b*")


def test_a_full_page_says_so(tmp_path: Path):
    build(write_project(tmp_path, **{"plain.qmd": "---\npage-layout: full\ntoc: false\n---\n\nWide.\n"}))
    assert '<body class="full">' in (tmp_path / "_site" / "plain.html").read_text()
    assert "<body>" in (tmp_path / "_site" / "index.html").read_text()


def test_nothing_is_loaded_from_elsewhere(whole_site: Path):
    for page in whole_site.rglob("*.html"):
        loaded = re.findall(
            r'<(?:script|link|img|iframe)\b[^>]*(?:src|href)="([^"]*)"', page.read_text(encoding="utf-8")
        )
        assert not [address for address in loaded if re.match(r"(?:https?:)?//", address)]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("See @fig-gone.", r"page\.qmd: the reference @fig-gone points to nothing"),
        ("As @nobody2020 says.", r"page\.qmd: the citation @nobody2020 is not in the bibliography"),
        ("[see @key2024; @sec-a]\n\n# A {#sec-a}", r"@sec-a is in the same brackets as a citation"),
        ("![A](site/dot.png){#fig-a}\n\n![B](site/dot.png){#fig-a}", r"label fig-a is used twice"),
        ("# A {#sec-a}\n\n# B {#sec-a}", r"page\.qmd: .*sec-a"),
        ("Text {#eq-a}", r"label eq-a does not follow an equation"),
        ("[x](gone.qmd)", r"page\.qmd: the link to gone\.qmd is broken"),
        ("![x](../../secret.png)", r"is broken"),
        ("{{< video x.mp4 >}}", r"does not know the shortcode \{\{< video"),
        ("```{python}\n1", r"the cell that begins on line 1 is not closed"),
        ("```{python}\n#| label: [\n1\n```", r"cell 1 \(line 1\): its options cannot be read as YAML"),
        ("---\ntitle: [\n---\n", r"page\.qmd: the front matter cannot be read as YAML"),
        ("$\\frac{$", r"page\.qmd: pandoc says: .*TeX math"),
    ],
)
def test_a_wrong_page_is_one_sentence_that_names_it(tmp_path: Path, source: str, message: str):
    project = write_project(tmp_path, **{"page.qmd": source})
    with pytest.raises(PageError, match=message) as failure:
        build(project)
    assert "\n" not in str(failure.value)
    assert not (project / "_site").exists() and not (project / "_site.new").exists()


def test_a_saved_page_may_speak_of_a_table_that_this_run_has_not(tmp_path: Path):
    project = write_project(tmp_path)
    (project / "tables").mkdir()
    text = "[gone](gone.ipynb#x), [there](../index.qmd)"
    nbformat.write(new_notebook(cells=[new_markdown_cell(text)]), project / "tables" / "one.ipynb")
    build(project)
    page = (project / "_site" / "tables" / "one.html").read_text()
    assert "<a>gone</a>" in page and '<a href="../index.html">there</a>' in page
    nbformat.write(new_notebook(cells=[new_markdown_cell("[gone](gone.txt)")]), project / "tables" / "one.ipynb")
    with pytest.raises(PageError, match="is broken"):
        build(project)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("\n```{python}\n#| label: fig-x\nraise KeyError('k')\n```", r"cell 1 \(line 2\), fig-x failed: KeyError: 'k'"),
        ("A `{python} missing` value.", r"the inline value `\{python\} missing` failed: NameError: name 'missing'"),
        (
            "```{python}\n#| label: fig-x\n1;\n```",
            r"cell 1 \(line 1\), fig-x is labelled as a figure but shows nothing",
        ),
    ],
)
def test_a_failing_cell_is_one_sentence_that_names_it(tmp_path: Path, source: str, message: str):
    project = write_project(tmp_path, **{"page.qmd": source})
    with pytest.raises(PageError, match=message):
        build(project)


def test_only_what_changed_is_made_again(tmp_path: Path):
    project = write_project(tmp_path, **{"index.qmd": "Value `{python} 1 + 1`."})
    run = write_run(project / "results" / "r", "one", "two")
    rendering.prepare_site(project, run)
    assert build(project, run) == ["index.qmd", "plain.qmd", "tables/one.ipynb", "tables/two.ipynb"]
    assert build(project, run) == []
    nbformat.write(run_notebook("renamed"), run / "tables" / "two.ipynb")
    rendering.prepare_site(project, run)
    assert build(project, run) == ["index.qmd", "tables/two.ipynb"]
    (project / "plain.qmd").write_text("Changed.")
    assert build(project, run) == ["plain.qmd"]
    assert "Changed." in (project / "_site" / "plain.html").read_text()
    assert "Value 2." in (project / "_site" / "index.html").read_text()
    (run / "tables" / "one.ipynb").unlink()
    rendering.prepare_site(project, run)
    build(project, run)
    assert [page.name for page in (project / "_site" / "tables").iterdir()] == ["two.html"]


def test_a_render_that_is_cut_short_leaves_the_earlier_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    project = write_project(tmp_path, **{"a.qmd": "First.", "b.qmd": "First."})
    build(project)
    (project / "a.qmd").write_text("Second.")
    (project / "b.qmd").write_text("See @fig-gone.")
    with pytest.raises(PageError):
        build(project)
    assert "First." in (project / "_site" / "a.html").read_text()

    (project / "b.qmd").write_text("Second.")
    moved: list[Path] = []

    def killed(self: Path, target: Path) -> Path:
        if moved:
            raise KeyboardInterrupt
        moved.append(self)
        return os.rename(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            build(project)
    assert not (project / "_site").exists()
    build(project)
    assert "Second." in (project / "_site" / "b.html").read_text()
    assert sorted(path.name for path in project.glob("_site*")) == ["_site"]


def test_a_table_page_is_the_runs_notebook_without_what_concerns_the_machine(tmp_path: Path):
    run = write_run(tmp_path / "run", "one")
    stale = write_run(tmp_path / "earlier", "stale")
    rendering.prepare_site(tmp_path, stale)
    rendering.prepare_site(tmp_path, run)
    (page,) = (tmp_path / "tables").glob("[!.]*")
    notebook = nbformat.read(page, as_version=4)
    nbformat.validate(notebook)
    front = yaml.safe_load(notebook.cells[0].source.strip("-\n"))
    assert front == {"title": escape_markdown(HOSTILE), "subtitle": escape_markdown(HOSTILE)}
    assert notebook.cells[1].metadata == {"tags": ["injected-parameters", "remove-cell"]}
    assert "secret" not in json.dumps(notebook.metadata)
    assert notebook.metadata.kernelspec.name == "python3"


def test_preparing_computes_once_and_rewrites_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("ILHTE_RUN", raising=False)
    computed: list[Path] = []

    def run_collection(project: Path) -> Path:
        computed.append(project)
        run = write_run(project / "results" / "r", "one")
        (project / "results" / "latest.json").write_text('{"run": "r"}')
        return run

    monkeypatch.setattr(running, "run_collection", run_collection)
    assert rendering.prepare_site(tmp_path) == tmp_path / "results" / "r"
    written = [tmp_path / "assets" / "plotly.min.js", tmp_path / "tables" / "one.ipynb"]
    before = [path.stat().st_mtime_ns for path in written]
    assert rendering.prepare_site(tmp_path) == tmp_path / "results" / "r"
    assert computed == [tmp_path]
    assert [path.stat().st_mtime_ns for path in written] == before
    monkeypatch.setenv("ILHTE_RUN", str(tmp_path / "gone"))
    with pytest.raises(InputError):
        rendering.prepare_site(tmp_path)


def test_the_pre_render_script_prepares_the_project_it_stands_in(tmp_path: Path):
    (tmp_path / "site").mkdir()
    script = shutil.copy(PROJECT / "site" / "pre_render.py", tmp_path / "site")
    run = write_run(tmp_path / "run", "one")
    environment = dict(os.environ, ILHTE_RUN=str(run), PYTHONPATH=str(PROJECT))
    call = {"cwd": tmp_path, "capture_output": True, "text": True}
    done = subprocess.run([sys.executable, script], env=environment, check=False, **call)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "tables" / "one.ipynb").is_file() and (tmp_path / "assets" / "plotly.min.js").is_file()
    environment["ILHTE_RUN"] = str(tmp_path / "gone")
    done = subprocess.run([sys.executable, script], env=environment, check=False, **call)
    assert done.returncode == 1 and done.stderr.startswith("ILHTE_RUN names the folder")


def test_quarto_yml_names_files_that_exist_and_only_options_the_preview_knows():
    content = yaml.safe_load((PROJECT / "_quarto.yml").read_text())
    assert set(content) == {"project", "website", "format", "bibliography", "link-citations", "execute"}
    html_format = content["format"]["html"]
    themes = [name for names in html_format["theme"].values() for name in names if name != "default"]
    for name in [content["project"]["pre-render"], html_format["include-in-header"], *content["bibliography"], *themes]:
        assert (PROJECT / name).is_file(), name
    assert content["execute"]["freeze"] is False


posix_only = pytest.mark.skipif(os.name == "nt", reason="the stand-in for quarto is a POSIX script")


def stand_in_quarto(folder: Path, body: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "quarto").write_text(f"#!{sys.executable}\nimport os, pathlib, sys, time\n{body}\n")
    (folder / "quarto").chmod(0o755)


@posix_only
def test_quarto_is_used_if_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rendering, "_PATIENCE", 0.5)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    interpreter = sys.executable
    monkeypatch.setattr(rendering.sys, "executable", str(tmp_path / "venv" / "python"))
    assert rendering.find_quarto() is None
    monkeypatch.setattr(rendering.sys, "executable", interpreter)
    for body in ("sys.exit(1)", "time.sleep(60)", "print('ERROR: could not download')"):
        stand_in_quarto(tmp_path / "bin", body)
        monkeypatch.setattr(rendering.sys, "executable", str(tmp_path / "venv" / "python"))
        assert rendering.find_quarto() is None, body
        monkeypatch.setattr(rendering.sys, "executable", interpreter)
    monkeypatch.setattr(rendering, "_PATIENCE", 60)
    stand_in_quarto(tmp_path / "bin", "print('1.10.18')")
    monkeypatch.setattr(rendering.sys, "executable", str(tmp_path / "venv" / "python"))
    assert rendering.find_quarto() == str(tmp_path / "bin" / "quarto")


@posix_only
def test_with_quarto_the_same_interpreter_and_run_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    project = write_project(tmp_path / "p")
    run = write_run(tmp_path / "run", "one")
    stand_in_quarto(
        tmp_path / "bin",
        "site = pathlib.Path(sys.argv[3]); site.mkdir(parents=True)\n"
        "(site / 'index.html').write_text(os.environ['QUARTO_PYTHON'] + ' ' + os.environ['ILHTE_RUN'])\n"
        "sys.exit(0 if sys.argv[1:3] == ['render', '--output-dir'] and not pathlib.Path('broken').exists() else 1)",
    )
    monkeypatch.setattr(rendering, "find_quarto", lambda: str(tmp_path / "bin" / "quarto"))
    said: list[str] = []
    site = rendering.render(project, run=run, to=tmp_path / "public", echo=said.append)
    assert site == tmp_path / "public"
    assert (site / "index.html").read_text() == f"{sys.executable} {run}"
    assert said[-1].endswith(str(site / "index.html"))
    (project / "broken").touch()
    with pytest.raises(EngineError, match="quarto render failed"):
        rendering.render(project, run=run, echo=said.append)


QUARTOS_PAGE = '<html><head><meta name="generator" content="quarto-1.10.18"></head><body>Quarto</body></html>'


@posix_only
def test_either_renderer_takes_the_place_of_the_other_and_a_user_s_files_stay(tmp_path, monkeypatch):
    project = write_project(tmp_path / "p", **{"index.qmd": "By the preview."})
    run = write_run(tmp_path / "run", "one")
    site = project / "_site"
    write = (
        "import json\nsite = pathlib.Path(sys.argv[3] if len(sys.argv) > 3 else '_site'); (site / 'site_libs').mkdir(parents=True)\n"
        f"(site / 'index.html').write_text({QUARTOS_PAGE!r}); (site / 'search.json').write_text('[]')\n"
        "(site / 'site_libs' / 'quarto.js').write_text('quarto')"
    )
    stand_in_quarto(tmp_path / "bin", write)
    quarto = str(tmp_path / "bin" / "quarto")

    def render(by: str | None) -> set[str]:
        monkeypatch.setattr(rendering, "find_quarto", lambda: by)
        rendering.render(project, run=run, echo=lambda line: None)
        page = (site / "index.html").read_text(encoding="utf-8")
        assert ("Quarto</body>" in page) == (by is not None) and ("By the preview." in page) == (by is None)
        return {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()}

    # Quarto by itself, which leaves no manifest
    subprocess.run([quarto, "render"], cwd=project, check=True)
    (site / "CNAME").write_text("a user's", encoding="utf-8")
    for by in (None, quarto, quarto, None, None, quarto):
        files = render(by)
        assert "CNAME" in files and (site / "CNAME").read_text(encoding="utf-8") == "a user's"
        assert ("site_libs/quarto.js" in files) == (by is not None) and ("site_libs/preview.css" in files) == (
            by is None
        )
        assert not [name for name in files if ".edited" in name]

    # a folder in which no page is Quarto's is somebody else's
    shutil.rmtree(site)
    site.mkdir()
    (site / "index.html").write_text("a user's", encoding="utf-8")
    for by in (None, quarto):
        with pytest.raises(
            InputError, match=r"_site is not empty and was not written by ilhte \(it holds 'index.html'\)"
        ):
            render(by)
    assert (site / "index.html").read_text(encoding="utf-8") == "a user's"


def test_without_quarto_the_terminal_says_that_it_is_a_preview(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rendering, "find_quarto", lambda: None)
    monkeypatch.delenv("ILHTE_RUN", raising=False)
    project = write_project(tmp_path / "p", **{"index.qmd": "Text."})
    run = write_run(tmp_path / "run", "one")
    said: list[str] = []
    public = tmp_path / "public"
    assert rendering.render(project, run=run, to=public, echo=said.append) == public
    assert "preview render" in said[0]
    assert (public / "tables" / "one.html").is_file()
    assert "ILHTE_RUN" not in os.environ

    (project / "index.qmd").write_text("New text.")
    rendering.render(project, run=run, to=public, echo=said.append)
    assert "New text." in (public / "index.html").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p", "public", "run"]

    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").touch()
    with pytest.raises(InputError, match="not written by ilhte .*thesis.txt"):
        rendering.render(project, run=run, to=mine, echo=said.append)
    with pytest.raises(InputError, match="no run folder"):
        rendering.render(project, run=tmp_path / "gone", echo=said.append)


@pytest.fixture
def browse(whole_site: Path):
    """Opens a page of the site offline; a request that is not for a file, an error or a dialog fails the test."""
    trouble: list[str] = []
    with chromium_running() as browser:

        def opened(name: str, **options):
            context = browser.new_context(offline=True, **options)
            page = context.new_page()
            page.on("request", lambda r: r.url.startswith(("file:", "data:", "blob:")) or trouble.append(r.url))
            page.on("console", lambda message: message.type == "error" and trouble.append(message.text))
            page.on("pageerror", lambda error: trouble.append(str(error)))
            page.on("dialog", lambda dialog: (trouble.append(dialog.message), dialog.dismiss()))
            page.goto((whole_site / name).as_uri())
            return page

        yield opened
    assert trouble == []


@pytest.mark.browser
def test_the_figure_draws_with_the_network_cut(browse):
    page = browse("index.html", viewport={"width": 1280, "height": 900})
    page.wait_for_selector(".ilhte-figure .js-plotly-plot .point")
    assert page.locator(".ilhte-figure .point").count() == 3
    drawing = page.locator(".ilhte-figure [role=figure]")
    assert drawing.get_attribute("aria-label") == "Three <points>"
    assert page.evaluate("typeof Plotly") == "object"
    browse("tables/one.html")


@pytest.mark.browser
def test_the_figure_follows_the_theme(browse):
    page = browse("index.html", color_scheme="light")
    tick = ".ilhte-figure .xtick text"
    colour = f"getComputedStyle(document.querySelector('{tick}')).fill"
    page.wait_for_selector(tick)
    light = page.evaluate(colour)
    page.click("#theme")
    page.wait_for_function(f"{colour} !== '{light}'")
    body = page.evaluate("getComputedStyle(document.body).color")
    assert page.evaluate(colour) == body != light


SLIDER = """
```{python}
#| echo: false
import plotly.graph_objects as go
from ilhte_report.site.embed import show
figure = go.Figure([go.Scatter(x=[1], y=[k], mode="markers", visible=k == 1) for k in (1, 2)])
steps = [{"label": f"{k}", "method": "restyle", "args": [{"visible": [k == 1, k == 2]}]} for k in (1, 2)]
figure.update_layout(height=500, margin={"b": 200}, sliders=[{"active": 0, "steps": steps, "currentvalue": {"prefix": "k = "}}])
show(figure, alt="One point of two")
```
"""


@pytest.mark.browser
def test_a_figure_s_slider_takes_the_keyboard_and_keeps_its_place_when_the_theme_changes(tmp_path: Path):
    project = write_project(tmp_path, **{"index.qmd": SLIDER})
    rendering.prepare_site(project, write_run(project / "results" / "r"))
    build(project)
    drawn = "[...document.querySelector('.drawing').data].map((trace) => trace.visible)"
    with chromium_running() as browser:
        page = browser.new_page(color_scheme="light")
        page.goto((tmp_path / "_site" / "index.html").as_uri())
        slider = page.get_by_role("slider", name="k")
        slider.focus()
        assert page.evaluate(drawn) == [True, False] and page.locator(".slider-container").count() == 0
        page.keyboard.press("ArrowRight")
        assert page.evaluate(drawn) == [False, True]
        assert slider.get_attribute("aria-valuetext") == page.locator("output").text_content() == "k = 2"
        tick = "getComputedStyle(document.querySelector('.xtick text')).fill"
        light = page.evaluate(tick)
        page.click("#theme")
        page.wait_for_function(f"{tick} !== '{light}'")
        assert page.evaluate(drawn) == [False, True]


@pytest.mark.browser
def test_a_phone_shows_the_page_without_scrolling_sideways(browse):
    page = browse("index.html", viewport={"width": 390, "height": 844})
    page.wait_for_selector(".ilhte-figure .point")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator(".ilhte-figure .main-svg").first.bounding_box()["width"] <= 390
    assert not page.locator("#TOC li").first.is_visible()


def test_all_pages_are_made_by_one_pandoc(monkeypatch: pytest.MonkeyPatch):
    """Asked by two threads at a time, pypandoc names the first it finds and then the newest: it is asked once."""
    from concurrent.futures import ThreadPoolExecutor

    from ilhte_report.site.preview import pandoc

    asked: list[str] = []

    def slow() -> str:
        asked.append("asked")
        time.sleep(0.05)
        return f"pandoc {len(asked)}"

    pandoc._newest.cache_clear()
    monkeypatch.setattr("pypandoc.get_pandoc_path", slow)
    try:
        with ThreadPoolExecutor(4) as pool:
            found = set(pool.map(lambda _: pandoc._program(), range(8)))
    finally:
        pandoc._newest.cache_clear()
    assert found == {"pandoc 1"} and asked == ["asked"]
