"""Text from strangers, made safe for a page written in Markdown."""

from __future__ import annotations

import re

_SPECIAL = re.compile(r"""([\\`*_{}\[\]<>#|~^$@"'&])|(?<=-)(-)|(?<=\.)(\.)""")


def escape_markdown(text: str) -> str:
    """`text` on one line, shown by pandoc and Quarto exactly as written: no markup, HTML, formula or citation in it."""
    return _SPECIAL.sub(lambda match: "\\" + match[0], " ".join(text.split()))
