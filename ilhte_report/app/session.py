"""A session of the page of ``ilhte app``: its reactions to the user and its computations."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from htmltools import Tag, TagList, tags
from shiny import Inputs, Outputs, Session, reactive, render, ui

from ilhte_lib.analysis import analyse_trial
from ilhte_lib.data.arms import by_arm
from ilhte_lib.data.options import DataOptions
from ilhte_lib.progress import listening

from ..intake.check import check_table
from ..intake.preparation import goes_out_of_core, prepared
from ..intake.source import Source, load
from ..mistakes import judged
from ..pages.check_sections import check_sections, large_check_sections
from ..pages.reproduce import notebook
from ..pages.section import Section
from ..pages.sections import sections
from ..project import slug
from .course import LOOKED_AT, Course, Stopped
from .form import PREFIX, SHAPE, chosen, described, given, guessed
from .page import BOOTSTRAP, DONE, MOST_REPLICATES, results_shown, sentence, told, written
from .results import Fitted, Table, dropped, looked_at, named, zipped


def server(input: Inputs, output: Outputs, session: Session) -> None:
    folder = Path(tempfile.mkdtemp(prefix="ilhte-app-"))
    session.on_ended(lambda: shutil.rmtree(folder, ignore_errors=True))
    where: reactive.Value[Source | None] = reactive.value(None)
    table: reactive.Value[Table | None] = reactive.value(None)
    data: reactive.Value[DataOptions | None] = reactive.value(None)
    table_told: reactive.Value[Tag | None] = reactive.value(None)
    check_told: reactive.Value[Tag | None] = reactive.value(None)
    check_shown: reactive.Value[Tag | None] = reactive.value(None)
    going: reactive.Value[Course | None] = reactive.value(None)

    def stop() -> None:
        with reactive.isolate():
            now = going()
        if now is not None:
            now.stop()

    session.on_ended(stop)

    async def find(search: Callable[[], Source]) -> None:
        for shown in (table, check_told, check_shown, data):
            shown.set(None)
        try:
            found = await asyncio.to_thread(search)
        except Exception as error:
            where.set(None)
            table_told.set(sentence(judged(error)[0], wrong=True))
            return
        where.set(found)
        await take(found)

    async def take(found: Source) -> None:
        with reactive.isolate():
            texts = {name: str(input[PREFIX + name]()).strip() for name in ("sheet", "header_row")}
        try:
            new = await asyncio.to_thread(looked_at, found, given(texts))
            first = guessed(new.columns, new.options) if new.columns else DataOptions()
        except Exception as error:
            table_told.set(sentence(judged(error)[0], wrong=True))
            return
        table.set(new)
        data.set(first)
        ask = (
            f"{len(new.columns.names)} columns. Please check their meaning below."
            if new.columns
            else "a bundled table."
        )
        table_told.set(sentence(f"{found.tab}: {ask}", wrong=False))
        await show_check(new, first)

    async def show_check(chosen_table: Table, options: DataOptions) -> None:
        try:
            found, refusal = await asyncio.to_thread(checked, chosen_table, options)
        except Exception as error:
            check_shown.set(None)
            check_told.set(sentence(judged(error)[0], wrong=True))
            return
        check_shown.set(tags.div(written(found, "check")))
        check_told.set(sentence(refusal, wrong=True) if refusal else sentence("It can be fitted.", wrong=False))

    def filled() -> DataOptions:
        """The current content of the form."""
        now = table()
        if now is None or now.columns is None:
            return DataOptions.of(now.options if now else {})

        def value(name: str) -> Any:
            if name in now.options:
                return now.options[name]
            with reactive.isolate():
                try:
                    return input[PREFIX + name]()
                except Exception:  # Shiny's silent exception for a field that is not shown
                    return None

        return chosen(str(input[SHAPE]()), value)

    @reactive.effect
    @reactive.event(input.file)
    async def _dropped() -> None:
        files = input.file()
        if files:
            await find(lambda: dropped(files[0]["name"], Path(files[0]["datapath"]), folder))

    @reactive.effect
    @reactive.event(input.open)
    async def _named() -> None:
        name = input.path()
        await find(lambda: named(name))

    @reactive.effect
    @reactive.event(input.again)
    async def _again() -> None:
        found = where()
        if found is not None:
            await take(found)

    @reactive.effect
    @reactive.event(input.check_again)
    async def _check() -> None:
        now = table()
        if now is not None:
            try:
                options = filled()
            except Exception as error:
                check_told.set(sentence(judged(error)[0], wrong=True))
                return
            await show_check(now, options)

    @ui.bind_task_button(button_id="fit")
    @reactive.extended_task
    async def fitting(now: Table, options: DataOptions, bootstrap: int, course: Course) -> Fitted | str:
        try:
            return await asyncio.to_thread(fitted, now, options, bootstrap, course)
        except Stopped as stopped:
            return str(stopped)
        except Exception as error:
            return judged(error)[0]

    @reactive.effect
    @reactive.event(input.fit)
    def _fit() -> None:
        now = table()
        if now is None:
            return
        try:
            options = filled()
        except Exception as error:
            check_told.set(sentence(judged(error)[0], wrong=True))
            return
        check_told.set(None)
        wanted = input.bootstrap()
        course = Course()
        going.set(course)
        fitting(now, options, min(max(int(wanted or 0), 0), MOST_REPLICATES), course)

    @reactive.effect
    @reactive.event(input.stop)
    def _stop() -> None:
        stop()

    @output(id="course")
    @render.ui
    def _course() -> Tag | None:
        now = going()
        if now is None or fitting.status() != "running":
            return None
        reactive.invalidate_later(LOOKED_AT)
        return tags.p(f"{now.words} …")

    @output(id="table_told")
    @render.ui
    def _table_told() -> Tag | None:
        return table_told()

    @reactive.effect
    def _tell_end() -> None:
        if fitting.status() == "success":
            found = fitting.result()
            wrong = isinstance(found, str)
            check_told.set(sentence(found if isinstance(found, str) else DONE, wrong=wrong))

    @render.ui
    def form() -> Tag | TagList:
        now, first = table(), data()
        if now is None or first is None:
            return tags.p("Choose a table first.")
        fields = (
            described(now.columns, first)
            if now.columns
            else TagList(tags.p("The columns of a bundled table are known."))
        )
        return TagList(
            fields,
            tags.div(
                ui.input_numeric("bootstrap", BOOTSTRAP, 0, min=0, max=MOST_REPLICATES),
                class_="fields",
            ),
            ui.input_action_button("check_again", "Check"),
            ui.input_task_button("fit", "Fit", label_busy="Fitting …"),
            ui.output_ui("stopping", inline=True),
            told("course"),
            told("check_told"),
        )

    @output(id="stopping")
    @render.ui
    def _stopping() -> Tag | None:
        return ui.input_action_button("stop", "Stop") if fitting.status() == "running" else None

    @output(id="check_told")
    @render.ui
    def _check_told() -> Tag | None:
        return check_told()

    @render.ui
    def found() -> Tag:
        return check_shown() or tags.p("Nothing has been checked yet.")

    @render.ui
    def shown() -> Tag | TagList:
        if fitting.status() in ("initial", "running"):
            return tags.p("Nothing has been fitted yet." if fitting.status() == "initial" else "Fitting …")
        result = fitting.result()
        if isinstance(result, str):
            return tags.p(result)
        return results_shown(result)

    def current() -> Fitted:
        result = fitting.result()
        assert isinstance(result, Fitted)
        return result

    def name_of(ending: str) -> Callable[[], str]:
        return lambda: f"{slug(current().table.where.tab)}{ending}"

    @render.download_button(filename=name_of(".html"))
    def report() -> Any:
        yield current().report()

    @render.download_button(filename=name_of(".json"))
    def document() -> Any:
        yield current().document()

    @render.download_button(filename=name_of("-tables.zip"))
    def tables() -> Any:
        yield current().tables()

    @render.download_button(filename=name_of("-paper.zip"))
    def paper() -> Any:
        yield for_a_paper(current())

    @render.download_button(filename=name_of(".ipynb"))
    def as_notebook() -> Any:
        result = current()
        yield notebook(result.table.where.name, result.table.where.tab, result.data, bootstrap=result.bootstrap)


def checked(table: Table, data: DataOptions) -> tuple[list[Section], str | None]:
    """The sections of ``ilhte check``, and the reason why the table cannot be fitted, if any.

    Raises
    ------
    InputError : the table cannot be read with these options.
    """
    if goes_out_of_core(table.where, data):
        return large_check_sections(prepared(table.where, data)), None
    shown, refusal = [], None
    trials = by_arm(load(table.where, data), table.where.tab, data.arms)
    for tab, rows in trials:
        found = check_table(rows, tab, **{**data.rules, "arms": None})
        of_trial = check_sections(found)
        if len(trials) > 1:
            of_trial = [replace(section, title=f"{tab}: {section.title}") for section in of_trial]
        shown += of_trial
        refusal = refusal or found.refusal
    return shown, refusal


def fitted(table: Table, data: DataOptions, bootstrap: int, course: Course) -> Fitted:
    """The results of ``ilhte fit``, with figures.

    Raises
    ------
    InputError, EngineError : as ``ilhte fit``.
    Stopped : the user stopped the fit.
    """
    where = table.where
    course.turn()
    try:
        with listening(course.told):
            trial = prepared(where, data)
        analysis = analyse_trial(
            trial,
            replicates=bootstrap,
            curves=True,
            discriminations=True,
            lower_is_better=data.lower_is_better or bool(where.info and where.info.lower_is_better),
            info=where.info,
            input_sha256=where.sha256,
            listener=course.told,
        )
        course.go_on()
    finally:
        course.end()
    return Fitted(table, data, bootstrap, analysis, sections(analysis, where))


def for_a_paper(result: Fitted) -> bytes:
    """A zip archive with the files of ``ilhte fit --tables --figures``: tables, figures and paragraphs for a paper."""
    from ..papers.figures import write_figures
    from ..papers.paragraphs import write_paragraphs
    from ..papers.tables import write_tables

    with tempfile.TemporaryDirectory(prefix="ilhte-") as name:
        folder = Path(name)
        write_tables(result.analysis, folder / "tables", result.table.where)
        write_paragraphs(result.analysis, folder / "tables", result.table.where)
        write_figures(result.analysis, folder / "figures")
        files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
        return zipped({path.relative_to(folder).as_posix(): path.read_bytes() for path in files})
