"""Characters of our tables and sentences that pdfLaTeX does not know, as mathematics."""

from __future__ import annotations

import re

_GREEK = {
    "σ": r"\sigma",
    "θ": r"\theta",
    "ζ": r"\zeta",
    "ρ": r"\rho",
    "β": r"\beta",
    "χ": r"\chi",
    "τ": r"\tau",
    "Δ": r"\Delta",
}
_SIGNS = {"−": "-", "×": r"\times", "≤": r"\leq", "≥": r"\geq", "→": r"\rightarrow", "±": r"\pm", "√": r"\surd"}
_TYPE = {"–": "--", "…": r"\ldots{}", "“": "``", "”": "''", "‘": "`", "’": "'"}
_SUBSCRIPT = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_SUPERSCRIPT = str.maketrans("²³", "23")
_LETTER = re.compile(rf"([{''.join(_GREEK)}])(²|³)?(?:(?:\\_|~)([{''.join(_GREEK)}]|[a-z])~?|([₀-₉]+))?")
_MODEL = re.compile(r"\bM(?:\\_|~)([0A-Z])(?:~|\b)")


def latex_text(text: str, *, markdown: bool = False) -> str:
    """LaTeX, or Markdown for LaTeX, with Greek letters and their indices, signs and the models' names as mathematics.

    Letters of other alphabets are unchanged: names that contain them need XeLaTeX or LuaLaTeX.
    """

    def letter(found: re.Match[str]) -> str:
        power = "" if found[2] is None else f"^{found[2].translate(_SUPERSCRIPT)}"
        index = _GREEK.get(found[3], found[3]) if found[3] else (found[4] or "").translate(_SUBSCRIPT)
        return f"${_GREEK[found[1]]}{power}{f'_{{{index}}}' if index else ''}$"

    text = _MODEL.sub(r"$M_{\1}$", _LETTER.sub(letter, text))
    for sign, command in _SIGNS.items():
        # pandoc takes a dollar sign before a digit for money
        text = text.replace(sign, f"`${command}$`{{=latex}}" if markdown else f"${command}$")
    if markdown:
        return text
    for sign, command in _TYPE.items():
        text = text.replace(sign, command)
    return text
