"""What a paper takes: tables, figures, paragraphs and reports, each read back from its file by a reader of its kind."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import struct
import subprocess
import zipfile
from html import unescape
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from command_line import call, refusal

from ilhte_lib import InputError, analyse
from ilhte_lib.figures.behind import figure_rows
from ilhte_lib.inference.interval import average_interval, rho_interval
from ilhte_lib.manifest import MANIFEST
from ilhte_lib.model.simulate import Design, simulate_trial
from ilhte_report.intake.source import source
from ilhte_report.pages.markdown import sections_markdown
from ilhte_report.pages.origin import origin_sentences
from ilhte_report.pages.section import Section
from ilhte_report.pages.sections import ESTIMATES, FINDINGS, FITTED, ITEMS, first_screen, sections
from ilhte_report.words.numbers import ends, number
from ilhte_report.words.paper import methods_paragraph, results_paragraph
from ilhte_report.words.sentences import average_conclusion, test_conclusion

pytest.importorskip("plotly", reason="plotly is not installed (extra 'report')")
pypandoc = pytest.importorskip("pypandoc", reason="pypandoc is not installed (extra 'report')")

HOSTILE = r"<b>&$x$ \input{q} 50% #1_a^~ {*} | `=1+1`"
TABLES = {"estimates": ESTIMATES, "items": ITEMS, "models": FITTED}


def trial(**more) -> pd.DataFrame:
    return simulate_trial(
        Design(**{"n_persons": 200, "n_items": 6, "seed": 3, "sigma_zeta": 0.5, "gamma": 0.5, **more})
    )[0]


@pytest.fixture(scope="module")
def analysis():
    table = trial()
    table["item"] = table["item"].replace("i01", HOSTILE)
    return analyse(table, tab="a_b & <i>c</i>", curves=True)


@pytest.fixture(scope="module")
def strong():
    """A trial with a large, equal effect, where lower is better."""
    return analyse(trial(ate=0.9, sigma_zeta=0.0, n_persons=300, gamma=0.0), lower_is_better=True)


def by_pandoc(path, to: str = "json", of: str | None = None) -> str:
    """What pandoc reads in a file."""
    arguments = [pypandoc.get_pandoc_path(), str(path), "--to", to, *(("--from", of) if of else ()), "--wrap=none"]
    return subprocess.run(arguments, capture_output=True, encoding="utf-8", check=True).stdout


# -- tables -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tables(analysis, tmp_path_factory):
    pytest.importorskip("great_tables", reason="great_tables is not installed (extra 'papers')")
    folder = tmp_path_factory.mktemp("tables")
    analysis.to_tables(folder)
    return folder


def test_a_table_is_an_object_of_great_tables(analysis):
    great_tables = pytest.importorskip("great_tables", reason="great_tables is not installed (extra 'papers')")
    for name, title in TABLES.items():
        table = analysis.table(name)
        assert isinstance(table, great_tables.GT) and title in table.as_raw_html()
    with pytest.raises(InputError, match="no table 'item'"):
        analysis.table("item")


@pytest.mark.parametrize("name", TABLES)
def test_word_and_html_hold_the_rows_of_the_page(name, analysis, tables):
    section = next(s for s in sections(analysis) if s.title == TABLES[name])
    rows = [[*section.rows[0]], *([*row.values()] for row in section.rows)]
    for file in (tables / f"{name}.docx", tables / f"{name}.html"):
        read = json.loads(by_pandoc(file))
        (table,) = [block for block in _all(read, "Table") if _rows(block)]
        found = [row for row in _rows(table) if len(row) == len(rows[0]) and any(row)]
        assert found[: len(rows)] == [[" ".join(cell.split()) for cell in row] for row in rows], file.name


def _all(tree, kind: str):
    if isinstance(tree, dict):
        if tree.get("t") == kind:
            yield tree
        for value in tree.values():
            yield from _all(value, kind)
    elif isinstance(tree, list):
        for value in tree:
            yield from _all(value, kind)


def _text(tree) -> str:
    words = []

    def visit(node) -> None:
        if isinstance(node, dict):
            if node.get("t") == "Subscript":
                words.append("_")
            if node.get("t") in ("Str", "Code"):
                words.append(node["c"] if isinstance(node["c"], str) else node["c"][-1])
            elif node.get("t") in ("Space", "SoftBreak", "LineBreak"):
                words.append(" ")
            else:
                visit(node.get("c"))
        elif isinstance(node, list):
            for value in node:
                visit(value)

    visit(tree)
    return "".join(words)


def _rows(table: dict) -> list[list[str]]:
    """The cells of a table of pandoc, head first; rows that one cell fills are titles."""
    _, _, _, head, bodies, _ = table["c"]
    rows = [*head[1], *(row for body in bodies for row in (*body[2], *body[3]))]
    return [[_text(cell[4]) for cell in row[1]] for row in rows if len(row[1]) > 1 or cell_alone(row)]


def cell_alone(row) -> bool:
    return row[1][0][3] == 1


def test_csv_holds_the_numbers_unrounded_and_no_formula(analysis, tables):
    estimates = pd.read_csv(tables / "estimates.csv").set_index("term")
    told = average_interval(analysis.effects, analysis.inference)
    row = estimates.loc["Average effect, β₁"]
    assert (row["estimate"], row["conf.low"], row["conf.high"]) == pytest.approx(
        (told.estimate, told.low, told.high), rel=1e-12
    )
    items = pd.read_csv(tables / "items.csv")
    assert items["effect"].tolist() == [item.effect for item in analysis.effects.shown_items]
    models = pd.read_csv(tables / "models.csv")
    assert models["estimate"].tolist() == analysis.tidy()["estimate"].tolist()
    formula = analyse(trial().replace({"item": {"i02": "=HYPERLINK(1)"}}))
    from ilhte_report.papers.tables import _numbers

    assert "'=HYPERLINK(1)" in _numbers(formula, "items")["item"].tolist()


def test_latex_compiles_with_any_name(tables, tmp_path):
    for name in TABLES:
        text = (tables / f"{name}.tex").read_text(encoding="utf-8")
        assert text.startswith("% written by ilhte") and r"\toprule" in text and r"\bottomrule" in text
        assert text.isascii() and "|" not in text.split(r"\toprule")[0]
        assert r"\input{q}" not in text and "$x$" not in text
    if (
        shutil.which("pdflatex") is None
        or subprocess.run(["kpsewhich", "booktabs.sty"], capture_output=True).returncode
    ):
        pytest.skip("there is no LaTeX with booktabs")
    document = "\n".join([
        r"\documentclass{article}\usepackage{booktabs,caption,longtable,array}\usepackage[margin=1in]{geometry}\begin{document}",
        *(rf"\input{{{tables}/{name}}}" for name in TABLES), r"\end{document}",
    ])  # fmt: skip
    (tmp_path / "document.tex").write_text(document, encoding="utf-8")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "document.tex"], cwd=tmp_path, capture_output=True, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "document.pdf").read_bytes().startswith(b"%PDF")


def test_greek_letters_and_signs_are_mathematics():
    from ilhte_report.papers.latex import latex_text

    assert latex_text(r"β₁ of M\_A: −0.2 ± σ\_ζ × χ²₂ – ≤") == (
        r"$\beta_{1}$ of $M_{A}$: $-$0.2 $\pm$ $\sigma_{\zeta}$ $\times$ $\chi^2_{2}$ -- $\leq$"
    )


def test_nothing_of_a_users_is_replaced(analysis, tables, tmp_path):
    assert (tables / MANIFEST).is_file()
    edited = tables / "models.csv"
    before = edited.read_text()
    edited.write_text("mine")
    analysis.to_tables(tables)
    assert edited.read_text() == before and (tables / "models.csv.edited-1").read_text() == "mine"
    (tmp_path / "notes.txt").write_text("mine")
    for write in (analysis.to_tables, analysis.to_figures):
        with pytest.raises(InputError, match="not written by ilhte"):
            write(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


# -- figures ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def figures(analysis, tmp_path_factory):
    """All figures as matplotlib draws them."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra 'papers')")
    from ilhte_report.papers.figures import write_figures

    folder = tmp_path_factory.mktemp("figures")
    write_figures(analysis, folder, browser=False)
    return folder


NAMES = ("curves", "items-in-one-figure", "other-numbers-of-items", "profiles-of-the-likelihood", "who-benefits")


def test_figures_are_as_wide_as_a_column_in_every_format(analysis, figures):
    assert sorted(p.stem for p in figures.glob("*.svg")) == list(NAMES)
    shown = {re.sub(r"[^a-z]+", "-", s.title.lower()).strip("-"): s for s in sections(analysis) if s.figure}
    for name in NAMES:
        svg = ElementTree.parse(figures / f"{name}.svg").getroot()
        assert float(svg.get("width").removesuffix("pt")) * 25.4 / 72 == pytest.approx(85, abs=0.2)
        assert svg.get("role") == "img" and shown[name].alt in svg.get("aria-label")
        assert next(e.text for e in svg if e.tag.endswith("desc")) == shown[name].alt
        box = re.search(rb"/MediaBox \[ ?0 0 ([\d.]+)", (figures / f"{name}.pdf").read_bytes())
        assert float(box[1]) * 25.4 / 72 == pytest.approx(85, abs=0.2)
        width = struct.unpack(">I", (figures / f"{name}.png").read_bytes()[16:20])[0]
        assert width / 300 * 25.4 == pytest.approx(85, abs=0.2)
        assert shown[name].alt in (figures / f"{name}.txt").read_text(encoding="utf-8")


def test_a_static_figure_shows_every_series_and_point(analysis, figures):
    """Paths of the SVG beside the traces of the page's figure: each marker is drawn once."""
    figure = analysis.plot("items")
    svg = (figures / "items-in-one-figure.svg").read_text(encoding="utf-8")
    assert len(figure.data) == 2
    assert len(re.findall(r'<use [^>]*style="fill: #2166ac', svg)) == sum(len(trace.x) for trace in figure.data)
    text = " ".join(" ".join(e.itertext()) for e in ElementTree.fromstring(svg).iter() if e.tag.endswith("}text"))
    for words in ("i02", "Item-specific treatment effect (SDs)", "Easiness (SDs)", "ρ = "):
        assert words in text
    assert HOSTILE[:20] in text, "a name is not taken for mathematics or markup"


@pytest.mark.browser
def test_a_browser_draws_them_too(analysis, tmp_path):
    pytest.importorskip("kaleido", reason="kaleido is not installed (extra 'papers')")
    from ilhte_report.papers.figures import _drawn_by_browser, for_print

    drawn = _drawn_by_browser({"who": for_print(analysis.plot("items"), 85)}, ("svg",))
    if drawn is None:
        pytest.skip("there is no browser that kaleido could start")
    svg = ElementTree.fromstring(drawn["who", "svg"])
    assert float(svg.get("width")) / 96 * 25.4 == pytest.approx(85, abs=0.3)
    assert "Easiness (SDs)" in "".join(svg.itertext())


# -- paragraphs ---------------------------------------------------------------------------------------------------------


def test_the_paragraph_says_what_sentences_say_with_their_intervals(analysis, strong):
    for found in (analysis, strong):
        text = results_paragraph(found)
        result, inference = found.effects, found.inference
        told = average_interval(result, inference)
        low, high = ends(told.low, told.high)
        assert f"The average effect was {number(told.estimate, 2)} SDs of the persons, 95% CI [{low}, {high}]" in text
        assert f"; {average_conclusion(result, inference, lower_is_better=found.lower_is_better)}." in text
        assert test_conclusion(result, inference) in text
        assert not re.search(r"[pρ] [=<] −?0", text), "APA: no zero before the point of p and ρ"
        assert not re.search(r"p = \.000|\d\.\d+\.\d", text)
    assert "which is worse (lower is better here)" in results_paragraph(strong)
    rho = rho_interval(analysis.effects, analysis.inference)
    assert f"ρ = {number(rho.estimate, 2).replace('0.', '.')}, 95% CI" in results_paragraph(analysis)
    assert "worse" not in results_paragraph(analysis)


def test_a_weak_table_concludes_nothing_in_the_paragraph():
    table = trial(n_persons=24, ate=2.0)
    few = table[
        table["id"].isin([*table[table["treat"] == 0]["id"].unique()[:6], *table[table["treat"] == 1]["id"].unique()])
    ]
    found = analyse(few)
    assert found.effects.weak.forbids_conclusions
    text = results_paragraph(found)
    assert text.count("nothing is concluded from it") >= 2 and "evidence" not in text


def test_methods_cite_what_the_bibliography_has(analysis, project, tmp_path):
    keys = set(re.findall(r"@\w+{(\w+),", (project / "references.bib").read_text(encoding="utf-8")))
    drawn = analyse(trial(n_persons=120).assign(cluster=lambda t: t["id"] % 10), replicates=3, seed=1)
    for found in (analysis, drawn):
        cited = set(re.findall(r"@(\w+)", methods_paragraph(found)))
        assert (
            {"gilbert2025estimating", "bates2015fitting", "selfliang1987asymptotic", "holm1979simple"} <= cited <= keys
        )
    assert "10 clusters" in methods_paragraph(drawn) and "A bootstrap drew" in methods_paragraph(drawn)
    from ilhte_report.papers.paragraphs import write_paragraphs

    write_paragraphs(analysis, tmp_path)
    word = by_pandoc(tmp_path / "paper.docx", "plain")
    assert "(Holm 1979)" in word and "Scandinavian Journal of Statistics" in word
    assert " ".join(results_paragraph(analysis).split()) in " ".join(word.split())
    latex = (tmp_path / "paper.tex").read_text(encoding="utf-8")
    assert r"\citep{holm1979simple}" in latex and r"$\rho$" in latex


# -- the report, and the command line -----------------------------------------------------------------------------------


def test_markdown_is_read_back_as_it_was_said(analysis):
    shown = sections(analysis)
    named = Section(
        "A",
        sentences=(HOSTILE,),
        rows=({"Item": HOSTILE, "n": "1"},),
        left=("Item",),
        alt=f'"{HOSTILE}\\"',
        figure=lambda: None,
    )
    text = sections_markdown("a_b & <i>c</i>", [*shown, named], {"A": "a.png"})
    read = json.loads(
        subprocess.run(
            [pypandoc.get_pandoc_path(), "--from", "markdown", "--to", "json"], input=text, capture_output=True, encoding="utf-8", check=True
        ).stdout
    )  # fmt: skip
    said = {" ".join(_text(item).split()) for block in _all(read, "BulletList") for item in block["c"]}
    for section in [*shown, named]:
        for sentence in (*section.sentences, *section.warnings):
            assert " ".join(sentence.split()) in said
    (image,) = _all(read, "Image")
    assert dict(image["c"][0][2])["fig-alt"] == f'"{HOSTILE}\\"'
    assert not list(_all(read, "RawInline")) and not list(_all(read, "Math"))


def test_the_report_in_word_is_read_back(analysis, monkeypatch):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra 'papers')")
    from ilhte_report.papers import document, figures

    monkeypatch.setattr(document.shutil, "which", lambda name: None)  # neither Quarto nor LaTeX
    monkeypatch.setattr(figures, "_drawn_by_browser", lambda *_: None)
    content = document.report_document(analysis, sections(analysis), "x.docx")
    with zipfile.ZipFile(io.BytesIO(content)) as parts:
        core = parts.read("docProps/core.xml").decode()
        described = [
            unescape(text)
            for text in re.findall(r'<wp:docPr [^>]*descr="([^"]*)"', parts.read("word/document.xml").decode())
        ]
        media = [name for name in parts.namelist() if name.startswith("word/media/")]
    assert ">written by ilhte<" in core and "a_b &amp; &lt;i&gt;c&lt;/i&gt;" in core and len(media) == len(NAMES)
    words = [" ".join(section.alt.split()) for section in sections(analysis) if section.figure]
    assert [" ".join(text.split()) for text in described] == words
    with pytest.raises(InputError, match="Quarto or XeLaTeX"):
        document.report_document(analysis, sections(analysis), "x.pdf")
    with pytest.raises(InputError, match=r"\.docx \(Word\)"):
        document.report_document(analysis, sections(analysis), "x.odt")


def test_findings_and_items_come_first_and_the_rest_with_full(tmp_path, analysis):
    first = first_screen(sections(analysis), analysis)
    assert [section.title for section in first][:2] == [FINDINGS, ITEMS]
    table = tmp_path / "trial.csv"
    trial(n_items=14).to_csv(table, index=False)
    short, full = call("fit", table), call("fit", table, "--full")
    assert short.code == full.code == 0
    assert "4 rows between these are shown by --full" in short.out and "Nothing was left out." in short.out
    assert "Log-likelihood" in full.out and "Log-likelihood" not in short.out
    for line in short.out.splitlines():
        if line.startswith(("• Average", "• Test of")):
            assert line in full.out
    assert max(map(len, short.out.splitlines())) <= 200
    marked = call("fit", table, "--format", "markdown", "--full")
    assert marked.out.startswith("# trial\n\n## What the trial shows\n") and "| Log\\-likelihood" in marked.out.replace(
        "Log-", "Log\\-"
    )
    document = call("fit", table, "--quick", "--json", "-")
    assert json.loads(document.out)["tab"] == "trial" and "What the trial shows" in document.err


def test_the_command_writes_what_a_paper_takes(tmp_path, monkeypatch):
    pytest.importorskip("great_tables", reason="great_tables is not installed (extra 'papers')")
    monkeypatch.setenv("PATH", os.defpath)
    table = tmp_path / "trial.csv"
    trial(n_items=14).to_csv(table, index=False)
    tables, code = tmp_path / "tables", tmp_path / "r"
    done = call("fit", table, "--method", "laplace", "--tables", tables, "--r-code", code)
    assert done.code == 0, done.err
    written = {p.name for p in tables.iterdir()}
    assert {f"{name}.{ending}" for name in TABLES for ending in ("html", "tex", "docx", "csv")} <= written
    assert {"paper.md", "paper.docx", "paper.tex", "references.bib"} <= written
    assert {"models.R", "rows.csv"} <= {p.name for p in code.iterdir()}
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "x").write_text("x")
    assert "not written by ilhte" in refusal(call("fit", table, "--figures", tmp_path / "theirs"))
    assert ".docx (Word)" in refusal(call("fit", table, "--report", tmp_path / "x.odt"))
    (tmp_path / "x.docx").write_bytes(b"mine")
    assert "was not written by ilhte" in refusal(call("fit", table, "--report", tmp_path / "x.docx"))
    assert (tmp_path / "x.docx").read_bytes() == b"mine"


def test_the_table_behind_a_figure_has_every_point(analysis):
    for kind in ("items", "profiles", "form"):
        figure = analysis.plot(kind)
        points = sum(sum(x is not None and y is not None for x, y in zip(t.x, t.y, strict=True)) for t in figure.data)
        rows = figure_rows(figure)
        assert len(rows) == points and all(len(row) >= 3 for row in rows)
    rows = figure_rows(analysis.plot("items"))
    names = [row["name"] for row in rows if "name" in row]
    assert {name[:20] for name in names} == {item.name[:20] for item in analysis.effects.shown_items} and len(
        names
    ) == 6
    assert all(np.isfinite([row["low"], row["high"]]).all() for row in rows if "low" in row)


@pytest.mark.parametrize("width", [85, 150])
def test_the_lower_edge_of_a_wide_figure_is_on_the_page_of_its_pdf(analysis, width):
    """Kaleido's PDF draws a figure smaller by a margin of 8 pixels, and leaves white what falls into the lower one."""
    from ilhte_report.papers.figures import _with_lower_edge, for_print

    figure = analysis.plot("items")
    figure.update_layout(height=260, showlegend=True)
    plain = for_print(figure, width)
    drawn = _with_lower_edge(plain)
    w, h, page = plain.layout.width, plain.layout.height, drawn.layout.height
    legend = page * (1 - (drawn.layout.legend.y or 0))  # its lower edge, from above
    assert 8 + legend * (w - 16) / w <= page - 8
    assert page - drawn.layout.margin.b == h - plain.layout.margin.b  # the plot itself is as before
    tall = for_print(analysis.plot("items"), width).update_layout(height=w + 1)
    assert _with_lower_edge(tall) is tall


def test_a_report_names_its_file_and_not_where_it_lay(tmp_path):
    where = tmp_path / "mine.csv"
    where.write_text("id,item,treat,resp\n", encoding="utf-8")
    assert origin_sentences(None, source(str(where))) == ("Read from the file mine.csv.",)
    assert origin_sentences(None, source("s3://bucket/mine")) == ("Read from s3://bucket/mine.",)
