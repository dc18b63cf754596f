"""Who benefits? The answer for one table: in words, as rows of numbers, and as a section of its page."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ilhte_lib.inference.weak import FEWEST_CLUSTERS
from ilhte_lib.inference.who_benefits import Estimate, WhoBenefits, who_benefits

from ..words.comparison import comparison_rows, interval_of
from ..words.markdown import escape_markdown
from ..words.numbers import number
from ..words.printable import printable
from ..words.sentences import caveat

if TYPE_CHECKING:
    from rich.console import Console

    from ilhte_lib.data.trial import Trial
    from ilhte_lib.inference.bootstrap import Bootstrap
    from ilhte_lib.model.fit_result import Fit

    from ..intake.source import Source

_RULE = (
    "The verdict is *person-level* if the 95% interval under $M_C$ excludes 0; *item-level* if it does not, the "
    "interval of the predicted bias excludes 0, and that bias and the difference between $M_B$ and $M_C$ each make up "
    "at least half of what $M_B$ finds; else *cannot tell*."
)
_CAPTION = (
    "*The interaction with all items alike, with items that differ, and the bias that the items' effects give the first, "
    "with 95% intervals.*"
)


def compared(trial: Trial, fits: dict[str, Fit], bootstrap: Bootstrap | None) -> WhoBenefits:
    """The comparison of a table's page.

    Where clusters were drawn every interval is the resampling's. Elsewhere only that of the difference is, which has
    none otherwise: the verdict is then the one of ``ilhte who-benefits`` and does not hang on a seed.
    """
    if bootstrap is not None and 0 < bootstrap.n_clusters < FEWEST_CLUSTERS:
        bootstrap = None  # so few say nothing of how clusters vary
    drawn = bootstrap is not None and bootstrap.of_clusters
    found = who_benefits(trial, fits, bootstrap if drawn else None)
    if bootstrap is None or drawn:
        return found
    value = found.difference.value
    return replace(found, difference=Estimate(value, *bootstrap.interval("delta_beta3", value)))


def who_benefits_section(trial: Trial, fits: dict[str, Fit], bootstrap: Bootstrap | None = None) -> None:
    """Display the section of a table's page; nothing for a table without covariate."""
    if "M_C" not in fits:
        return
    from IPython.display import Markdown, display

    from ..site.embed import show
    from ..studies.identification_figures import who_benefits_figure

    result = compared(trial, fits, bootstrap)
    word, reason = verdict_sentence(result).split(": ", 1)
    lines = ["## Who benefits?", "", f"**{word}:** {escape_markdown(reason)} Brackets hold 95% intervals.", ""]
    lines += ["| Interaction | Estimate | 95% interval |", "|:--|--:|:--|"]
    lines += [
        f"| {escape_markdown(name)} | {value} | {interval} |" for name, value, interval, _ in comparison_rows(result)
    ]
    unit = f"In logits per SD of {result.covariate}, the sum score's in SDs of the score within arm."
    lines += ["", f"{escape_markdown(unit)} {_RULE} {escape_markdown(clustering_sentence(result))}"]
    display(Markdown("\n".join(lines)))
    show(who_benefits_figure(result), alt=figure_words(result))
    display(Markdown(_CAPTION))


def verdict_sentence(result: WhoBenefits) -> str:
    """The verdict in one sentence, plain text; brackets hold 95% intervals."""
    name, word = result.covariate, result.verdict.capitalize()
    kept, shown, bias = (_words(e) for e in (result.flexible, result.constant, result.predicted))
    alike = f"{word}: with all items alike the effect"
    if result.reason:
        return f"{word}: {result.reason}."
    if result.verdict == "person-level":
        way = "rises" if result.flexible.value > 0 else "falls"
        return f"{word}: the effect {way} with {name} also when items may differ, {kept} logits per SD."
    if result.verdict == "item-level":
        way = "rise" if result.constant.value > 0 else "fall"
        unsure = "" if result.constant.excludes_zero else ", itself not distinguishable from 0"
        return (
            f"{alike} seems to {way} with {name} ({shown}{unsure}), which the items' own effects would produce by "
            f"themselves ({bias}); when items may differ, {kept} logits per SD is left."
        )
    if result.constant.excludes_zero:
        way = "rises" if result.constant.value > 0 else "falls"
        return (
            f"{alike} {way} with {name} ({shown}); when items may differ its interval includes 0 ({kept}), but how "
            f"much of it the items make is not clear ({bias} predicted)."
        )
    return f"{word}: the effect may rise or fall with {name}, {kept} logits per SD when items may differ."


def _words(estimate: Estimate) -> str:
    value = number(estimate.value, 2)
    if interval_of(estimate) == "–":
        return value
    return f"{value} [{number(estimate.low, 2)} to {number(estimate.high, 2)}]"


def clustering_sentence(result: WhoBenefits) -> str:
    """A warning where the intervals take clustered persons as independent, else nothing."""
    if not result.clustered:
        return ""
    text = "Persons come in clusters here; these intervals treat them as independent and may be too narrow"
    if result.clusters is not None and result.clusters < FEWEST_CLUSTERS:
        return f"{text}; with {result.clusters} clusters resampling gives no better ones."
    return f"{text}; those of `ilhte fit --bootstrap N` do not."


def figure_words(result: WhoBenefits) -> str:
    """The figure of the section in words."""
    return (
        f"Interaction of treatment and {result.covariate} with 95% intervals, logits per SD: {_words(result.constant)} "
        f"under M_B, {_words(result.flexible)} under M_C; predicted bias of M_B {_words(result.predicted)}."
    )


def print_who_benefits(console: Console, where: Source, trial: Trial, result: WhoBenefits) -> None:
    """Print the verdict and the interactions side by side."""
    from rich.box import SIMPLE
    from rich.table import Table

    size = f"{result.n_persons} persons with {printable(result.covariate)}, {trial.n_items} items"
    console.print(f"[bold]{printable(trial.tab)}[/bold]  {size}", highlight=False)
    console.print(printable(verdict_sentence(result), most=1000), highlight=False)
    console.print("Brackets hold 95% intervals.", style="dim")
    for warning in (caveat(where.info), clustering_sentence(result), *trial.flags):
        if warning:
            console.print(f"! {printable(warning, most=1000)}", style="yellow", highlight=False)
    table = Table(title="Interaction of treatment and covariate", title_justify="left", box=SIMPLE)
    for column, side in (("", "left"), ("estimate", "right"), ("95% interval", "left"), ("unit", "left")):
        table.add_column(column, justify=side)
    for row in comparison_rows(result):
        table.add_row(*map(printable, row))
    console.print(table)
