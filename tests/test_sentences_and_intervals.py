"""No sentence contradicts an interval beside it: what a reader finds on page, HTML file and terminal is parsed and compared."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from html import unescape

import numpy as np
import pytest
from conftest import PROJECT

from ilhte_lib.analysis import Analysis, analyse_trial
from ilhte_lib.data.catalogue import bundled_tables, load_bundled, table_info
from ilhte_lib.data.prepare import prepare
from ilhte_lib.model.simulate import Design, simulate_trial
from ilhte_report.pages.sections import sections

pytest.importorskip("plotly", reason="plotly is not installed (extra 'report')")
pytest.importorskip("IPython", reason="IPython is not installed (extra 'report')")

TABLES = bundled_tables(PROJECT / "data")
ALIKE = {
    "caffeine_positive", "caffeine_tension", "film_comedy_energy", "film_comedy_positive", "film_horror_negative", "film_horror_positive",
    "film_horror_tension", "film_sad_energy", "film_sad_positive",
}  # fmt: skip
"""Tables of ratings of which the same is concluded as of another one that is read here: these are read in the soak."""
SHOWN = r"(−?[\d.]+)(?: \[95% interval (−?[\d.]+) to (−?[\d.]+)\])?"


@dataclass(frozen=True)
class Read:
    """What a reader finds in one medium: sentences, and tables as title -> rows -> cells, by name of the row."""

    sentences: list[str]
    tables: dict[str, dict[str, list[str]]]

    def sentence(self, pattern: str) -> str:
        """The one sentence with this in it, or ""."""
        found = [s for s in self.sentences if re.search(pattern, s)]
        assert len(found) <= 1, found
        return found[0] if found else ""

    def interval(self, table: str, row: str) -> tuple[float, float] | None:
        """The interval of a row that starts so; None where there is no such row or no interval."""
        for name, cells in self.tables[table].items():
            if name.startswith(row):
                ends = [re.fullmatch(r"(−?[\d.]+) to (−?[\d.]+)", cell) for cell in cells]
                return next(((_number(m[1]), _number(m[2])) for m in ends if m), None)
        return None


def _number(text: str) -> float:
    return float(text.replace("−", "-"))


# -- the three media, each read from what it writes ---------------------------------------------------------------------


def _of_html(html: str) -> Read:
    html = re.sub(r"<script.*?</script>", "", html, flags=re.S)
    html = re.sub(r"<sub>(.*?)</sub>", r"_\1", html)
    said, tables = [], {}
    for part in re.split(r"<h2[^>]*>", html)[1:]:
        title = unescape(part.partition("</h2>")[0])
        said += [unescape(s) for s in re.findall(r"<li>(.*?)</li>", part, flags=re.S)]
        rows = re.findall(r"<tr>(.*?)</tr>", part)[1:]
        cells = [
            [unescape(re.sub(r"<.*?>", "", cell)) for cell in re.findall(r"<td.*?>(.*?)</td>", row)] for row in rows
        ]
        tables[title] = {row[0]: row[1:] for row in cells}
    return Read(said, tables)


def _of_page(shown: list[object]) -> Read:
    said, tables, title = [], {}, ""
    for thing in shown:
        text = re.sub(r"~(\w)~", r"_\1", thing.data)
        if text.startswith("| "):
            rows = [re.split(r"(?<!\\) \| ", line[2:-2]) for line in text.splitlines()[2:]]
            cells = [[re.sub(r"\\(.)", r"\1", cell) for cell in row] for row in rows]
            tables[title] = {row[0]: row[1:] for row in cells}
            continue
        plain = re.sub(r"\\(.)", r"\1", text)
        heading = re.search(r"^## (.*)$", plain, flags=re.M)
        title = heading[1] if heading else title
        said += re.findall(r"^- (.*)$", plain, flags=re.M)
    return Read(said, tables)


def _of_terminal(text: str, titles: list[str]) -> Read:
    said, tables, title = [], {}, ""
    for line in text.splitlines():
        if line in titles:
            title = line
        if line in titles or "─" in line:  # above the rule stand the columns
            tables[title] = {}
        elif line.startswith(("• ", "! ")):
            said.append(line[2:].rstrip())
        elif line.startswith(" ") and line.strip():
            cells = re.split(r" {2,}", line.strip())
            tables[title][cells[0]] = cells[1:]
    return Read(said, tables)


def read_everywhere(analysis: Analysis, monkeypatch: pytest.MonkeyPatch) -> list[Read]:
    """What page, HTML file and terminal say, each parsed from what it wrote."""
    from ilhte_report.pages import notebook, single

    listed = [replace(section, figure=None) for section in sections(analysis)]
    displayed: list[object] = []
    monkeypatch.setattr("IPython.display.display", lambda *things, **_: displayed.extend(things))
    notebook.show_sections(listed)
    html = single.single_page(analysis.trial.tab, listed)
    terminal = analysis.report(width=5000)
    return [_of_page(displayed), _of_html(html), _of_terminal(terminal, [section.title for section in listed])]


# -- what must agree -----------------------------------------------------------------------------------------------------


def _same(sentence: str, pattern: str, beside: tuple[float, float] | None) -> None:
    """The interval in the sentence, at that place, is the table's."""
    found = re.search(pattern + SHOWN, sentence)
    assert found, (pattern, sentence)
    told = None if found[2] is None else (_number(found[2]), _number(found[3]))
    assert told == beside, sentence


def _average(read: Read) -> None:
    said, ends = read.sentence("^Average (effect|difference).*: "), read.interval("Estimates", "Average ")
    _same(said, "^Average [^:]*: ", ends)
    assert read.interval("What sum scores would say", "Model, average effect") in (ends, None)
    if "give more responses" in said or "have higher scores" in said:
        assert ends and ends[0] > 0, said
    elif "give fewer responses" in said or "have lower scores" in said:
        assert ends and ends[1] < 0, said
    elif "not distinguishable from zero" in said:
        assert ends and ends[0] <= 0 <= ends[1], said
    else:
        assert "nothing is concluded" in said or "not known" in said, said


def _spread(read: Read) -> None:
    ends = read.interval("Estimates", "σ_ζ")
    _same(read.sentence(" vary around it with "), "standard deviation of ", ends)
    said = read.sentence("^Test of (equal effects|an equal difference)")
    halved, mixture = (read.tables["One effect for all items?"][name][-1] for name in ("halved", "mixture"))
    p = halved if "(p halved)" in said else mixture
    assert re.search(r"p [=<] \.?[\d.]+", said), said
    assert (p == "<0.001") == ("p < .001" in said) and (p == "<0.001" or f"p = {p}" in said), said
    if "there is evidence" in said:
        assert ends is None or ends[0] > 0, said
    elif "compatible with one " in said:
        assert ends is None or ends[0] == 0, said
    else:
        assert "nothing is concluded" in said or "by this rule alone" in said, said


def _easiness(read: Read) -> None:
    said, ends = read.sentence("easiness: |easiness is|easier an? "), read.interval("Estimates", "ρ")
    if not said or "is not defined" in said:
        return
    _same(said, "ρ = ", ends)
    if "more positive (or" in said:
        assert ends and ends[0] > 0, said
    elif "more negative (or" in said:
        assert ends and ends[1] < 0, said
    elif "no clear relation" in said:
        assert not ends or ends[0] <= 0 <= ends[1], said
    else:
        assert "nothing is concluded" in said, said


def _items(read: Read) -> None:
    said = read.sentence("^After Holm's correction")
    p = {name: cells[-1] for name, cells in read.tables["Items"].items()}
    small = {name for name, value in p.items() if value == "<0.001" or (value != "–" and float(value) < 0.05)}
    if "none differs" in said:
        assert not small, said
    elif said:
        named = re.search(r"at 5%: (.*?)(?: and (\d+) more)?; after", said)
        names = set(named[1].split(", "))
        assert names <= small and len(names) + int(named[2] or 0) == len(small), said


def _interactions(read: Read) -> None:
    said = read.sentence("^(Treatment|Group) by ")
    constant, flexible = (read.interval("Estimates", f"β₃ of {model}") for model in ("M_B", "M_C"))
    if not said:
        assert constant is flexible is None
        return
    _same(said, "covariate: ", constant)
    _same(said, "in the model, ", flexible)
    table, verdict = "Who benefits?", read.sentence("^(Person-level|Item-level|Masked|Cannot tell): ")
    of_c, bias = read.interval(table, "M_C"), read.interval(table, "Bias of M_B")
    assert np.allclose(read.interval(table, "M_B, all"), constant, atol=0.0051) and np.allclose(
        of_c, flexible, atol=0.0051
    )
    excluded: Callable[[tuple[float, float]], bool] = lambda ends: ends[0] > 0 or ends[1] < 0  # noqa: E731
    if verdict.startswith(("Person-level", "Masked")):
        assert excluded(of_c) and (of_c[0] > 0) == (" rises with " in verdict), verdict
        freed = read.interval(table, "M_D")
        assert freed is None or (excluded(freed) and (freed[0] > 0) == (of_c[0] > 0)), verdict
    elif verdict.startswith("Item-level"):
        assert not excluded(of_c) and excluded(bias), verdict
    elif "may rise or fall" in verdict or "its interval includes 0" in verdict:
        assert not excluded(of_c), verdict
    elif verdict.startswith("Cannot tell: ") and " by M_C, but " in verdict:
        assert excluded(of_c) == ("item-level" not in verdict) and read.interval(table, "M_D") is not None, verdict
    else:
        assert re.match(r"Cannot tell: .*(fewer than|not certified|differ too much|may rest on)", verdict), verdict


def agree(analysis: Analysis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every sentence in every medium holds beside the intervals and p-values of the same medium."""
    for read in read_everywhere(analysis, monkeypatch):
        for check in (_average, _spread, _easiness, _items, _interactions):
            check(read)
        if not analysis.lower_is_better:
            assert not re.search(r"\b(better|worse)\b", " ".join(read.sentences).replace("no better", ""))


@cache
def _of(table: str) -> Analysis:
    trial = prepare(load_bundled(table, PROJECT / "data"), table)
    return analyse_trial(trial, info=table_info(table, PROJECT / "data"))


@pytest.mark.parametrize(
    "table", [pytest.param(name, marks=pytest.mark.soak) if name in ALIKE else name for name in TABLES]
)
def test_of_a_bundled_table(table, monkeypatch):
    agree(_of(table), monkeypatch)


@pytest.mark.parametrize(("ate", "seed"), [(-0.5, 0), (0.0, 1), (0.5, 2)])
def test_of_simulated_trials_with_clusters_drawn(ate, seed, monkeypatch):
    table, _ = simulate_trial(Design(160, 5, 40 + seed, ate=ate, sigma_zeta=0.4, gamma=0.3))
    trial = prepare(table, "clusters")
    of_clusters = replace(trial, cluster=np.arange(trial.n_persons) % 20)
    analysis = analyse_trial(of_clusters, replicates=15)
    assert analysis.inference.knows_clusters
    agree(analysis, monkeypatch)


@pytest.mark.parametrize("ate", [-0.6, 0.6])
def test_of_ratings(ate, monkeypatch):
    table, _ = simulate_trial(Design(300, 6, 50, ate=ate, sigma_zeta=0.4, gamma=0.3, steps=(-1.0, 0.0, 1.0)))
    analysis = analyse_trial(prepare(table, "ratings"))
    assert "scores" in sections(analysis)[0].sentences[0]
    agree(analysis, monkeypatch)


def test_the_vignette_s_rule_is_told_with_its_own_p(monkeypatch):
    trial = prepare(load_bundled("toenail_visits", PROJECT / "data"), "toenail_visits", profile="vignette")
    agree(analyse_trial(trial), monkeypatch)


def test_a_contradiction_is_found(monkeypatch):
    """The test tests: with another interval in the table the same sentences fail."""
    analysis = _of("verbagg_gender")
    read = read_everywhere(analysis, monkeypatch)[0]
    rows = read.tables["Estimates"]
    name = next(row for row in rows if row.startswith("Average "))
    with pytest.raises(AssertionError):
        _average(Read(read.sentences, read.tables | {"Estimates": rows | {name: ["0.223", "0.160", "0.09 to 0.54"]}}))
    turned = [
        s.replace("not distinguishable from zero", "treated persons give more responses of 1") for s in read.sentences
    ]
    with pytest.raises(AssertionError):
        _average(Read(turned, read.tables))


@pytest.mark.parametrize(
    "table",
    [name for name in TABLES if not table_info(name, PROJECT / "data").is_trial and not name.startswith("sim_")],
)
def test_claims_of_visits_and_of_groups_that_nobody_assigned_say_so(table):
    """Every claim speaks of visits, or of a difference between groups, and nothing is said of new items."""
    info, shown = table_info(table, PROJECT / "data"), {section.title: section for section in sections(_of(table))}
    said = [s for section in shown.values() for s in section.sentences if section.title != "The data"]
    claims = [
        s for s in said if re.search(r"^Average|vary around|easiness|^Test of|Holm|^With each |level:|^Cannot", s)
    ]
    assert len(claims) >= 6
    for claim in claims:
        if info.randomised:
            assert "visit" in claim or "Who" in claim or "per SD" in claim, claim
        else:
            assert "Average difference" in claim or "difference" in claim or "from the average" in claim, claim
            assert not re.search(r"treated persons|treatment|[Ii]tem effects", claim), claim
    assert not {"Items that are not on the test", "Other numbers of items"} & set(shown)
    assert {"Items that are not on the test", "Other numbers of items"} <= {
        s.title for s in sections(_of("film_sad_negative"))
    }
