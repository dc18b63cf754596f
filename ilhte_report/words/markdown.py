"""Text from strangers, made safe for a page written in Markdown."""

from __future__ import annotations

import re

_SPECIAL = re.compile(r"""([\\`*_{}\[\]<>#|~^$@"'&])|(?<=-)(-)|(?<=\.)(\.)""")


def escape_markdown(text: str) -> str:
    """`text` on one line, shown by pandoc and Quarto exactly as written: no markup, HTML, formula or citation in it."""
    return _SPECIAL.sub(lambda match: "\\" + match[0], " ".join(text.split()))


def code_block(text: str, language: str) -> str:
    """`text` as a block of code that nothing in it can end."""
    longest = max((len(run) for run in re.findall(r"~+", text)), default=0)
    fence = "~" * max(3, longest + 1)
    return f"{fence} {language}\n{text}\n{fence}"
