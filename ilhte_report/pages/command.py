"""A command of ilhte on a page: its example and its options, read from the command itself."""

from __future__ import annotations

from enum import Enum
from html import escape
from typing import TYPE_CHECKING, Any

from ilhte_lib.errors import InputError

if TYPE_CHECKING:
    from IPython.display import Markdown
    from typer import Typer

_EXAMPLE = "Example: "


def command_names(app: Typer) -> list[str]:
    """The names of the commands of ``ilhte``, in the order of its help."""
    return list(_commands(app))


def command(app: Typer, name: str) -> Markdown:
    """The example and, folded, the arguments and options of ``ilhte <name>``.

    Raises
    ------
    InputError : there is no such command.
    """
    from IPython.display import Markdown

    if name not in _commands(app):
        raise InputError(f"There is no command {name!r}: use one of {', '.join(command_names(app))}.")
    of = _commands(app)[name]
    rows = "".join(
        f'<tr><th scope="row"><code>{escape(_written(p))}</code></th><td>{escape(_told(p))}</td></tr>'
        for p in of.params
        if not getattr(p, "hidden", False) and p.name != "help"
    )
    return Markdown(f"""```bash
{(of.epilog or "").removeprefix(_EXAMPLE)}
```

```{{=html}}
<details class="options"><summary>Options of <code>ilhte {name}</code></summary><p>{escape(" ".join((of.help or "").split()))}</p>
<div class="table-scroll"><table class="table table-sm" data-quarto-disable-processing="true">
<thead><tr><th scope="col">Option</th><th scope="col">What it does</th></tr></thead><tbody>{rows}</tbody></table></div></details>
```
""")


def _commands(app: Typer) -> dict[str, Any]:
    import typer

    return typer.main.get_command(app).commands


def _written(parameter: Any) -> str:
    """The parameter as it is typed: `NAMES...`, `--quiet`, `--profile full|vignette`, `--out OUT`."""
    name = parameter.opts[0]
    if not name.startswith("-"):
        return f"{name.upper()}{'...' if parameter.nargs == -1 else ''}"
    spelled = ", ".join(parameter.opts)
    if parameter.is_flag:
        return spelled
    if isinstance(parameter.default, Enum):
        return f"{spelled} {'|'.join(choice.value for choice in type(parameter.default))}"
    return f"{spelled} {parameter.name.upper()}"


def _told(parameter: Any) -> str:
    default = parameter.default.value if isinstance(parameter.default, Enum) else parameter.default
    shown = not parameter.opts[0].startswith("-") or getattr(parameter, "is_flag", False) or default in (None, False)
    return (parameter.help or "") + ("" if shown else f" Default: {default}.")
