"""The command line of ilhte."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ilhte_lib import __version__
from ilhte_lib.data.options import DataOptions
from ilhte_lib.errors import InputError

from .options import takes_data_options
from .run.key import PAGE_REPLICATES

if TYPE_CHECKING:
    from .intake.source import Source
    from .outputs import Output
    from .pages.section import Section

MOST_REPLICATES = 1_000_000
LONGEST_TIME = 1e8
"""Seconds: three years."""

app = typer.Typer(
    no_args_is_help=True,
    epilog="Example: ilhte fit verbagg_gender (a bundled table). With ilhte --install-completion the tab key completes commands and options.",
    pretty_exceptions_enable=False,
    help="Item-level heterogeneous treatment effects: fit, test, plot and report trials whose outcome is measured by items.",
)


class Engine(StrEnum):
    """The engine that fits the models."""

    native = "native"
    pymer4 = "pymer4"


class Method(StrEnum):
    """How the likelihood is approximated."""

    auto = "auto"
    laplace = "laplace"
    aghq = "aghq"


MethodOption = Annotated[
    Method | None,
    typer.Option(
        help="Approximation of the likelihood: Laplace's method, as in lme4; quadrature over persons (aghq); or whichever the table "
        "needs (auto). Default: auto; laplace under profile vignette and with lme4.",
        show_default=False,
    ),
]


class EngineData(StrEnum):
    """The engine that counts a table too large for memory."""

    duckdb = "duckdb"
    spark = "spark"
    dask = "dask"


_CLUSTER = "Large tables and clusters"
EngineDataOption = Annotated[
    EngineData | None,
    typer.Option(
        help="Do not read the table into memory but have it counted by DuckDB on this machine, or by a cluster of Spark or Dask. "
        "Default: DuckDB for large files and addresses.",
        rich_help_panel=_CLUSTER,
        show_default=False,
    ),
]
SchedulerOption = Annotated[
    str | None,
    typer.Option(
        help="Address of that cluster: Dask's scheduler (tcp://host:8786) or Spark's master (spark://host:7077, yarn). Default: this "
        "machine, or the setting of Spark.",
        rich_help_panel=_CLUSTER,
        show_default=False,
    ),
]


class Format(StrEnum):
    """The format in which `ilhte fit` prints."""

    text = "text"
    markdown = "markdown"


EngineOption = Annotated[Engine, typer.Option(help="Engine that fits the models: native, or lme4 in R (pymer4).")]
TableArgument = Annotated[
    str,
    typer.Argument(
        help="A table: a file (CSV, TSV, Parquet ...), a folder of Parquet files, an address (s3://...), irw:NAME, or the name of a bundled table.",
        metavar="FILE",
        show_default=False,
    ),
]
_RESAMPLING = "Resampling"
_PAPER = "For a paper"
JsonOption = Annotated[
    str | None, typer.Option(metavar="FILE", help="Write all results as a JSON document; - for standard output.")
]
HtmlOption = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Write a report as one HTML file that works offline; - for standard output."),
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Let --json and --html replace files that ilhte did not write.")
]
SeedOption = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=2**63 - 1,
        metavar="N",
        help="Seed of the replicates. Default: a fixed seed.",
        rich_help_panel=_RESAMPLING,
    ),
]


def _tell_kept(path: Path) -> None:
    typer.echo(f"ilhte: {path} was edited since ilhte wrote it: your version is kept.", err=True)


def _meant(where: Source, data: DataOptions) -> str:
    """A sentence with the command that the columns of a refused table suggest, if they suggest more than was given; else ""."""
    from .intake.columns import look
    from .pages.reproduce import command_line

    if where.path is None or not where.path.is_file():
        return ""
    with suppress(InputError):
        guess = look(where.path, sheet=data.sheet, header_row=data.header_row).guess.changed()
        if not guess.keys() <= data.changed().keys():
            command = command_line(where.name, DataOptions.of(guess | data.changed()), command="check")
            return f" Its columns look like `{command}`."
    return ""


def _own_trials() -> list[str] | None:
    """The names for a run without names in a project of the user's own: its file of trials; None elsewhere."""
    from .project import OWN_TRIALS, find_project, own_trials

    with suppress(InputError):
        if own_trials(find_project()) == Path.cwd() / OWN_TRIALS:
            return [OWN_TRIALS]
    return None


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ilhte {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command(epilog="Example: ilhte fit trial.csv --covariate pretest --json trial.json")
@takes_data_options()
def fit(
    file: TableArgument,
    engine: EngineOption = Engine.native,
    method: MethodOption = None,
    bootstrap: Annotated[
        int,
        typer.Option(
            min=0,
            max=MOST_REPLICATES,
            metavar="N",
            help="Simulate N trials with equal effects, for a p-value, and resample the persons (or clusters) N times, for standard errors.",
            rich_help_panel=_RESAMPLING,
        ),
    ] = 0,
    seed: SeedOption = None,
    json: JsonOption = None,
    html: HtmlOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Let --json, --html and --report replace files that ilhte did not write.")
    ] = False,
    full: Annotated[bool, typer.Option("--full", help="Print everything, not only findings and items.")] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Compute only estimates, standard errors and the test of equal effects.")
    ] = False,
    format: Annotated[Format, typer.Option(help="Print for a terminal, or as Markdown.")] = Format.text,
    tables: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write tables of estimates, items and models as HTML, LaTeX, Word and CSV, and draft paragraphs for a paper.",
            rich_help_panel=_PAPER,
        ),
    ] = None,
    figures: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Write the figures as SVG, PDF and PNG, one column wide.", rich_help_panel=_PAPER
        ),
    ] = None,
    report: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Write the report as FILE.docx (Word) or FILE.pdf.", rich_help_panel=_PAPER),
    ] = None,
    r_code: Annotated[
        Path | None,
        typer.Option(
            "--r-code",
            metavar="DIR",
            help="Write R code that fits the models with lme4, and the data it reads.",
            rich_help_panel=_PAPER,
        ),
    ] = None,
    engine_data: EngineDataOption = None,
    scheduler: SchedulerOption = None,
    *,
    data: DataOptions,
) -> None:
    """Fit one table: print findings and items; write results as JSON, HTML, or for a paper."""
    from rich.console import Console

    from ilhte_lib.files import to_json
    from ilhte_lib.manifest import EMPTY_OR_OURS, refuse_foreign
    from ilhte_lib.messages import counted
    from ilhte_lib.progress import step
    from ilhte_lib.r_code import refuse_r_code

    from .drawing import drawing
    from .intake.preparation import prepared
    from .intake.source import source
    from .outputs import outputs
    from .pages.markdown import sections_markdown
    from .pages.sections import first_screen, sections
    from .pages.single import single_page
    from .terminal import FULL, ON_ONE_SCREEN, print_sections

    where = source(file)
    written = outputs({"--json": json, "--html": html, "--report": report}, [where.path], force=force)
    drawn = html is not None or report is not None or figures is not None
    # a missing package is noticed now, not after the fit
    if drawn:
        import_module("plotly")  # not part of the base installation
    if tables is not None:
        import_module("great_tables")
    if report is not None:
        from .papers.document import refuse_ending

        refuse_ending(report)
    for folder in (tables, figures, r_code):
        if folder is not None:
            refuse_foreign(folder, EMPTY_OR_OURS)
    # a document that goes to standard output must be alone there
    console = Console(stderr=any(output.to_standard_output for output in written.values()))
    with drawing(Console(stderr=True), quiet=console.stderr):
        step(f"Reading {where.tab}")
        from ilhte_lib.analysis import analyse_trial

        began = time.perf_counter()
        trial = prepared(where, data, engine_data, scheduler)
        if r_code is not None:
            refuse_r_code(trial)
        read = time.perf_counter()
        found = analyse_trial(
            trial, engine=engine.value, method=method and method.value, replicates=bootstrap, seed=seed, workers=None, curves=drawn,
            discriminations=True, quick=quick,
            lower_is_better=data.lower_is_better or bool(where.info and where.info.lower_is_better), info=where.info,
            input_sha256=where.sha256 or None,
        )  # fmt: skip
    waiting = ExitStack()
    waiting.enter_context(drawing(Console(stderr=True), quiet=console.stderr))
    step("Writing")
    everything = sections(found, where)
    shown = everything if full else first_screen(everything, found)
    # files first: the reader may close the terminal early
    try:
        if "--json" in written:
            written["--json"].write(to_json(found.document()))
        if "--html" in written:
            written["--html"].write(single_page(where.tab, everything))
        if "--report" in written:
            from .papers.document import report_document

            written["--report"].write_bytes(report_document(found, everything, report))
        if tables is not None:
            from .papers.paragraphs import write_paragraphs
            from .papers.tables import write_tables

            write_tables(found, tables, where)
            write_paragraphs(found, tables, where)
        if figures is not None:
            from .papers.figures import write_figures

            write_figures(found, figures)
        if r_code is not None:
            found.to_r(r_code)
    finally:
        waiting.close()
        if format == Format.markdown:
            print(sections_markdown(where.tab, shown), file=console.file)
        else:
            print_sections(console, where.tab, shown, most_rows=FULL if full else ON_ONE_SCREEN)
        for output in written.values():
            if not output.to_standard_output and output.path.is_file():
                console.print(f"Written: {output.name}.", highlight=False, markup=False)
        for folder in (tables, figures, r_code):
            if folder is not None and folder.is_dir():
                names = sum(path.is_file() and not path.name.startswith(".") for path in folder.rglob("*"))
                console.print(f"Written to {folder}: {counted(names, 'file', 'files')}.", highlight=False, markup=False)
        if not trial.rows_known:
            by = f" by {engine_data.value}" if engine_data else ""
            console.print(f"Read out of core{by} in {read - began:.1f} s.", highlight=False)


@app.command(epilog="Example: ilhte check trial.csv --id student --resp correct --treat arm --control usual")
@takes_data_options(without=("lower_is_better", "item_covariates", "pretest_from_wave"))
def check(
    file: TableArgument,
    engine_data: EngineDataOption = None,
    scheduler: SchedulerOption = None,
    *,
    data: DataOptions,
) -> None:
    """Check a table without fitting it: what would be used, and possible problems. Exit code 2 if it cannot be fitted."""
    from rich.console import Console

    from ilhte_lib.data.arms import by_arm

    from .intake.check import check_table
    from .intake.preparation import goes_out_of_core, prepared
    from .intake.source import load, source
    from .pages.check_sections import check_sections, large_check_sections
    from .terminal import print_sections

    where = source(file)
    if goes_out_of_core(where, data, engine_data):
        print_sections(Console(), where.tab, large_check_sections(prepared(where, data, engine_data, scheduler)))
        return
    refused = None
    try:
        loaded = load(where, data)
    except InputError as error:
        raise InputError(f"{error}{_meant(where, data)}") from error
    for tab, table in by_arm(loaded, where.tab, data.arms):
        found = check_table(table, tab, **{**data.rules, "arms": None})
        print_sections(Console(), tab, check_sections(found))
        refused = refused or found.refusal
    if refused:
        raise InputError(refused)


@app.command(epilog="Example: ilhte fetch gilbert_meta_2 gilbert_meta_20")
def fetch(
    names: Annotated[
        list[str] | None, typer.Argument(help="Tables of the Item Response Warehouse.", show_default=False)
    ] = None,
    rct: Annotated[
        bool, typer.Option("--rct", help="All tables with a column treat and at least 100 participants.")
    ] = False,
    irw_version: Annotated[
        int | None,
        typer.Option(min=1, help="Version of the warehouse. Default: any local copy, else the newest version."),
    ] = None,
) -> None:
    """Download tables of the Item Response Warehouse (IRW) to the local cache, with their citations.

    Exit code 3 if some could not be downloaded.
    """
    from .intake.fetch import fetch_and_tell

    out, err = sys.stdout, sys.stderr
    failed = fetch_and_tell(
        names or [],
        rct=rct,
        irw_version=irw_version,
        say=lambda line: typer.echo(line, file=out),
        complain=lambda line: typer.echo(f"ilhte: {line}", file=err),
    )
    if failed:
        raise typer.Exit(3)


@app.command(epilog="Example: ilhte run trials/ irw:gilbert_meta_20 verbagg_gender --out results/mine")
@takes_data_options()
def run(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Files, folders of files, a .toml file of trials, irw:NAME, names of bundled tables, or the word bundled. Default: the project's trials.toml, or else the bundled collection.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the run. Default: a folder in results/, the same one for the same tables.",
            show_default=False,
        ),
    ] = None,
    engine: EngineOption = Engine.native,
    method: MethodOption = None,
    bootstrap: Annotated[
        int,
        typer.Option(
            min=0, max=MOST_REPLICATES, metavar="N", help="Replicates of each table's bootstraps; 0 for none."
        ),
    ] = PAGE_REPLICATES,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Tables fitted at once on this machine. Default: one per core.", show_default=False),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            help="Address of a Dask scheduler (tcp://host:8786) whose workers, with access to the same files, fit the tables."
        ),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            min=1,
            max=LONGEST_TIME,
            metavar="SECONDS",
            help="Time limit per table. Default: none.",
            show_default=False,
        ),
    ] = None,
    seed: SeedOption = None,
    force: Annotated[bool, typer.Option("--force", help="Fit unchanged tables again.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print only failures.")] = False,
    *,
    data: DataOptions,
) -> None:
    """Fit many tables, each in a notebook of its own. Unchanged results are kept, so an interrupted run continues.

    Exit code 3 if some tables failed.
    """
    from rich.console import Console

    from ilhte_lib.messages import counted

    from .intake.source import bundled_sources, sources
    from .run.progress import progress
    from .run.tables import Settings, default_folder, point_to, run_tables
    from .words.printable import visible

    clock = time.perf_counter()
    names = names or _own_trials()
    others = {name: value for name, value in data.changed().items() if name not in ("profile", "max_persons")}
    settings = Settings(data.profile, engine.value, data.max_persons, bootstrap, seed, method and method.value, others)
    out = out or default_folder(names or [], settings)
    try:
        with progress(Console(stderr=quiet), quiet=quiet) as told:
            outcomes = run_tables(
                sources(names) if names else bundled_sources(),
                out,
                settings,
                jobs=jobs,
                scheduler=scheduler,
                timeout=timeout,
                force=force,
                told=told,
                edited=_tell_kept,
            )
    except KeyboardInterrupt:
        typer.echo(f"Interrupted. The same command continues with what is done in {out}.", err=True)
        raise typer.Exit(130) from None
    point_to(out)
    failed = [o for o in outcomes if o.status == "failed"]
    kept = sum(o.status == "kept" for o in outcomes)
    if not quiet:
        typer.echo(
            f"{counted(len(outcomes) - len(failed), 'table', 'tables')} ({kept} unchanged) in {out}, {time.perf_counter() - clock:.0f} s."
            + (f" {len(failed)} failed: {', '.join(visible(o.tab) for o in failed)}." if failed else "")
        )
    if failed:
        raise typer.Exit(3)


@app.command("who-benefits", epilog="Example: ilhte who-benefits trial.csv --covariate pretest")
@takes_data_options(without=("lower_is_better", "item_covariates", "pretest_from_wave"))
def who_benefits(
    file: TableArgument,
    engine: EngineOption = Engine.native,
    method: MethodOption = None,
    engine_data: EngineDataOption = None,
    scheduler: SchedulerOption = None,
    *,
    data: DataOptions,
) -> None:
    """Who benefits more? Interactions by sum score, M_B and M_C, the bias due to items, and a verdict."""
    from rich.console import Console

    from ilhte_lib.data.prepare import prepare
    from ilhte_lib.engine.approximation import default_method
    from ilhte_lib.engine.native import fit_models
    from ilhte_lib.inference.who_benefits import needs_covariate
    from ilhte_lib.inference.who_benefits import who_benefits as compare

    from .intake.preparation import goes_out_of_core, prepared
    from .intake.source import load, source
    from .pages.sections import Section, who_benefits_section
    from .terminal import print_sections
    from .words.sentences import caveat
    from .words.terms import terms_of

    where = source(file)
    if goes_out_of_core(where, data, engine_data):
        trial = needs_covariate(prepared(where, data, engine_data, scheduler))
    else:
        trial = needs_covariate(prepare(load(where, data), where.tab, **data.rules))
    fits = fit_models(
        trial, ["M_B", "M_C"], engine=engine.value, method=method or default_method(trial.profile, engine.value)
    )
    found = compare(trial, fits)
    said = tuple(
        filter(None, (caveat(where.info), f"{found.n_persons} persons with {found.covariate}, {trial.n_items} items."))
    )
    print_sections(
        Console(),
        trial.tab,
        [who_benefits_section(found, terms_of(where.info)), Section("The data", said, trial.flags)],
    )


@app.command(epilog="Example: ilhte pool results/mine --json pooled.json")
def pool(
    run: Annotated[
        str | None,
        typer.Argument(help="Folder of a run, or its name in results/. Default: the latest run.", show_default=False),
    ] = None,
    json: JsonOption = None,
    html: HtmlOption = None,
    force: ForceOption = False,
) -> None:
    """Pool item effects across the trials of a run: typical spread, real variation between trials, what to expect in a new one.

    Of the bundled tables, only real randomised trials are pooled.
    """
    from .outputs import outputs
    from .pages.pool import named_or_latest, pool_sections, pooled_run

    written = outputs({"--json": json, "--html": html}, [], force=force)
    found = pooled_run(named_or_latest(run))
    _write_and_print("Across trials", pool_sections(found), found.document(), written)


def _write_and_print(title: str, shown: Sequence[Section], document: dict, written: dict[str, Output]) -> None:
    from rich.console import Console

    from ilhte_lib.files import to_json

    from .pages.single import single_page
    from .terminal import print_sections

    if "--json" in written:
        written["--json"].write(to_json(document))
    if "--html" in written:
        written["--html"].write(single_page(title, shown))
    # a document that goes to standard output must be alone there
    print_sections(Console(stderr=any(output.to_standard_output for output in written.values())), title, shown)


_PLANNED = "The planned trial (logits)"


def _planned(text: str, kind: type, **more: Any) -> Any:
    return Annotated[kind | None, typer.Option(help=text, rich_help_panel=_PLANNED, show_default=False, **more)]


@app.command(epilog="Example: ilhte design --persons 400 --items 16 --effect 0.25 --sigma-zeta 0.3")
def design(
    persons: _planned("Number of persons. Default: 500.", int, min=4) = None,
    items: _planned("Number of items. Default: 20.", int, min=3) = None,
    categories: _planned(
        "Number of ordered categories per item, with steps half a logit apart. Default: 2.", int, min=2, max=20
    ) = None,
    effect: _planned("Average effect. Default: 0.2.", float) = None,
    sigma_theta: _planned("SD of the persons, given the pretest if there is one. Default: 1.", float) = None,
    sigma_b: _planned("SD of the items' easiness. Default: 1.", float) = None,
    sigma_zeta: _planned("SD of the item effects. Default: 0.4.", float) = None,
    rho: _planned("Correlation of easiness and item effects. Default: 0.", float) = None,
    pretest: _planned("Slope of a pretest, per SD of it. Default: no pretest.", float) = None,
    interaction: _planned("Interaction of treatment and pretest, per SD. Default: 0.", float) = None,
    treated: _planned("Share of the persons treated. Default: 0.5.", float) = None,
    missing: _planned("Share of the responses missing at random. Default: 0.", float) = None,
    clusters: _planned("Number of clusters, of equal size. Default: none.", int, min=4) = None,
    icc: _planned("Intraclass correlation of persons within clusters. Default: 0.1 with --clusters.", float) = None,
    sites: Annotated[
        bool | None,
        typer.Option(
            "--sites/--no-sites",
            help="Persons are randomised within clusters; --no-sites: whole clusters are randomised.",
            rich_help_panel=_PLANNED,
            show_default=False,
        ),
    ] = None,
    site_sd: _planned("SD of the average effect between sites. Default: 0.", float) = None,
    method: Annotated[
        str,
        typer.Option(
            metavar="auto|laplace|aghq", help="How simulated trials are fitted; auto: as ilhte fit would fit them."
        ),
    ] = "auto",
    pilot: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="JSON document of a pilot (ilhte fit --json), whose estimates become the defaults.",
        ),
    ] = None,
    replicates: Annotated[
        int,
        typer.Option(
            min=1, max=MOST_REPLICATES, metavar="N", help="Number of trials to simulate.", rich_help_panel=_RESAMPLING
        ),
    ] = 1000,
    seed: SeedOption = None,
    json: JsonOption = None,
    html: HtmlOption = None,
    force: ForceOption = False,
) -> None:
    """Plan a trial: power and standard errors, by simulation and in closed form."""
    from dataclasses import asdict

    from rich.console import Console

    from ilhte_lib.inference.planning import SEED, power

    from .drawing import drawing
    from .outputs import outputs
    from .pages.planning import planned_design, planning_sections

    given = {
        "persons": persons, "items": items, "categories": categories, "effect": effect, "sigma_theta": sigma_theta, "sigma_b": sigma_b,
        "sigma_zeta": sigma_zeta, "rho": rho, "pretest": pretest, "interaction": interaction, "treated": treated, "missing": missing,
        "clusters": clusters, "icc": icc, "sites": sites, "site_sd": site_sd,
    }  # fmt: skip
    wanted = planned_design(given, pilot, SEED if seed is None else seed)
    written = outputs({"--json": json, "--html": html}, [pilot], force=force)
    if html is not None:
        import_module("plotly")
    with drawing(Console(stderr=True)) as told:
        found = power(wanted, replicates, method=method, progress=lambda done, of: told("Simulating trials", done, of))
    tests = [asdict(test) for test in found.tests]
    document = {
        "design": asdict(wanted),
        "method": found.method,
        "replicates": found.replicates,
        "failed": found.failed,
        "tests": tests,
    }
    _write_and_print("A planned trial", planning_sections(found), document, written)


@app.command(epilog="Example: ilhte diff results/before results/after")
def diff(
    run_a: Annotated[str, typer.Argument(help="Folder of a run, or its name in results/.", show_default=False)],
    run_b: Annotated[str, typer.Argument(help="The run to compare it with.", show_default=False)],
) -> None:
    """Show what changed between two runs: versions, and each table's decisions and estimates."""
    from rich.console import Console

    from .run.diff import compare_runs, print_diff, run_folder_named

    print_diff(Console(), compare_runs(run_folder_named(run_a), run_folder_named(run_b)))


@app.command(epilog="Example: ilhte render --to public")
def render(
    run: Annotated[Path | None, typer.Argument(help="Folder of a run. Default: the latest run.")] = None,
    to: Annotated[Path | None, typer.Option(help="Folder for the site. Default: _site.")] = None,
) -> None:
    """Render the site of a run, with Quarto if it is installed, else with the preview renderer."""
    from .site.render import render_here

    clock = time.perf_counter()
    render_here(run=run, to=to)
    typer.echo(f"Rendered in {time.perf_counter() - clock:.0f} s.")


@app.command(epilog='Example: ilhte init reading-trial --table scores.xlsx --sheet "Data 2019" --header-row 3')
@takes_data_options()
def init(
    folder: Annotated[Path, typer.Argument(help="An empty or new folder.", show_default=False)],
    table: Annotated[
        Path | None,
        typer.Option(help="File of a trial, to be copied to data/. Default: a simulated example.", show_default=False),
    ] = None,
    *,
    data: DataOptions,
) -> None:
    """Create a Quarto project of your own: data, trials.toml, a page to write, and a workflow that publishes the site."""
    from .site.own_project import make_project, options_of, refusal_of

    if table is None and data.changed():
        raise InputError("These options describe a table: name its file with --table.")
    options = None if table is None else options_of(table, data)
    made = make_project(folder, table, options, edited=_tell_kept)
    typer.echo(
        f"Created a project in {made}. There, `quarto render` (or `ilhte render`) fits its trials and writes _site/index.html."
    )
    if table is not None and options is not None:
        typer.echo(f"{made / 'trials.toml'} says how the columns of {table.name} are read: correct it if necessary.")
        if refused := refusal_of(table, options):
            typer.echo(
                f"The table cannot be fitted like this yet: {refused} (An option --some-name is written some-name = ... in trials.toml.)"
            )


@app.command("app", epilog="Example: ilhte app")
def browser(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the page; 0 for any free port.")] = 0,
    max_upload: Annotated[
        int,
        typer.Option(
            min=1,
            max=10_000,
            metavar="MB",
            help="Largest file that can be uploaded; larger files are named by their path.",
        ),
    ] = 200,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Print the address without opening a browser.")
    ] = False,
) -> None:
    """Check and fit a table in the browser. The page can be reached from this machine only; Ctrl-C ends it."""
    from .app.page import make_page
    from .app.serve import serve
    from .app.session import server

    def say(address: str) -> None:
        typer.echo(f"{address}\nThe address contains a secret: do not share it. Ctrl-C ends the page.")

    serve(make_page(server, max_upload), port, max_upload, opens=not no_browser, say=say)


@app.command(epilog="Example: ilhte simulate --out simulated")
def simulate(
    out: Annotated[Path, typer.Option(help="Folder for the tables and truth.json.")] = Path("simulated"),
) -> None:
    """Write the simulated trials of the collection, with known truth, as gzipped CSV files."""
    from ilhte_lib.model.simulate import write_collection

    files = write_collection(out, edited=_tell_kept)
    typer.echo(f"{len(files)} files in {out}: simulated trials and the true values they were drawn from.")


def main() -> None:
    """The console script: a user's mistake gives one sentence and exit code 2, an error of ilhte one sentence and a report."""
    from .mistakes import told_in_a_sentence

    sys.exit(told_in_a_sentence(app))


if __name__ == "__main__":
    main()
