"""What is printed: nothing is cut, on 80 columns or fewer."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections import Counter
from unittest.mock import patch

import pytest

pytest.importorskip("rich", reason="rich is not installed")

import typer
from rich.console import Console
from typer.testing import CliRunner

from ilhte_lib.analysis import analyse
from ilhte_lib.model.simulate import Design, simulate_trial
from ilhte_report.cli import app
from ilhte_report.pages.section import Section
from ilhte_report.pages.sections import sections
from ilhte_report.terminal import print_sections

DRAWN = set("─ \n")
LONG = tuple(
    {
        "": f"σ_ζ of a very long name, number {k}", "Estimate": "−12345.123", "SE": "12345.678", "Model SE": "0.001",
        "95% interval": "−12345.12 to 12345.12", "p": "<0.001", "Interval from": "resampling of the clusters",
    }
    for k in range(3)
)  # fmt: skip


def printed(section: Section, width: int) -> str:
    text = io.StringIO()
    print_sections(Console(file=text, width=width, color_system=None, legacy_windows=False), "x", [section])
    return text.getvalue()


def letters(text: str) -> Counter:
    return Counter(text) - Counter(dict.fromkeys(DRAWN, 10**9))


@pytest.fixture(scope="module")
def of_a_trial() -> list[Section]:
    table, _ = simulate_trial(Design(n_persons=200, n_items=4, seed=5, gamma=0.5, steps=(-0.5, 0.5)))
    table["item"] = table["item"].map(
        dict(zip(table["item"].unique(), ("short", "a longer name", "x" * 70, "q4"), strict=True))
    )
    return [*sections(analyse(table, replicates=3)), Section("Wide", rows=LONG, left=("", "Interval from"))]


@pytest.mark.parametrize("width", [80, 60, 40])
def test_every_word_and_number_of_every_table_is_there(of_a_trial, width):
    """No character of a cell is lost and no number is broken."""
    for section in of_a_trial:
        if not section.rows:
            continue
        rows = Section(section.title, rows=section.rows, left=section.left)
        out = printed(rows, width)
        cells = [str(cell) for row in section.rows for cell in row.values()]
        missing = letters("".join(cells)) - letters(out)
        assert not missing, (section.title, missing)
        assert all(len(line) <= width for line in out.splitlines())
        numbers = [row[c] for row in section.rows for c in ("Estimate", "SE", "Model SE", "p") if row.get(c)]
        assert all(value in out for value in numbers), section.title


def test_a_row_that_has_no_room_stands_by_itself():
    out = printed(Section("Wide", rows=LONG, left=("", "Interval from")), 60)
    assert "σ_ζ of a very long name, number 0\n    Estimate −12345.123; SE 12345.678; Model SE 0.001; 95%" in out


def test_every_command_has_an_example_and_no_help_is_cut_on_80_columns():
    commands = typer.main.get_command(app).commands
    with patch.dict(os.environ, {"COLUMNS": "80", "TERMINAL_WIDTH": "80"}):
        for name, command in commands.items():
            shown = CliRunner().invoke(app, [name, "--help"]).output
            assert f"Example: ilhte {name}" in shown, name
            words = set(" ".join(shown.replace("│", " ").split()).split())
            for parameter in command.params:
                assert set((parameter.help or "").split()) <= words, (name, parameter.name)
                for spelled in (*parameter.opts, *parameter.secondary_opts):
                    assert not spelled.startswith("-") or spelled in shown, (name, spelled)


def test_a_shell_completes_commands_and_options():
    code = "import sys; sys.argv = ['ilhte']; from ilhte_report.cli import main; main()"
    for typed, offered in (("ilhte ini", {"init"}), ("ilhte fit --lower", {"--lower-is-better"})):
        asked = {"_ILHTE_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1)}
        run = subprocess.run([sys.executable, "-c", code], env={**os.environ, **asked}, capture_output=True, text=True)
        assert set(run.stdout.split()) == offered, run.stderr
