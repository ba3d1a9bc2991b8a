"""A table as LaTeX: one `table` environment, no wider than the page, whatever is in its names.

It wants the packages booktabs and graphicx, and any engine: pdfLaTeX, XeLaTeX or LuaLaTeX.
"""

import re
import unicodedata

from eval.tables.build import Table
from eval.tables.cells import INCOMPLETE, MISSING, cells, metric_heading, parts, sides

_INFINITY = r"\infty"
_TEX = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "\N{MINUS SIGN}": "$-$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "°": r"$^\circ$",
    "\N{ZERO WIDTH NON-JOINER}": "{}",
    "\N{EN DASH}": "{--}",
    "\N{EM DASH}": "{---}",
    "ß": r"\ss{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "œ": r"\oe{}",
    "Œ": r"\OE{}",
}
_ACCENTS = {
    "\N{COMBINING GRAVE ACCENT}": "`",
    "\N{COMBINING ACUTE ACCENT}": "'",
    "\N{COMBINING CIRCUMFLEX ACCENT}": "^",
    "\N{COMBINING TILDE}": "~",
    "\N{COMBINING DIAERESIS}": '"',
    "\N{COMBINING RING ABOVE}": "r",
    "\N{COMBINING CEDILLA}": "c",
    "\N{COMBINING CARON}": "v",
    "\N{COMBINING DOUBLE ACUTE ACCENT}": "H",
}
# \iffontchar needs an engine that reads Unicode: elsewhere it stands in the branch that is passed over.
_SIGN = r"""% A sign of any script: as it is where the font has it, or else its code point.
\DeclareRobustCommand{\tablesign}[2]{%
  \ifdefined\Umathchardef\iffontchar\font"#1 #2\else[U+#1]\fi\else[U+#1]\fi}"""
_MARKS = (r"\mathbf{{{}}}".format, r"{} \pm {}")


def latex(table: Table) -> str:
    """Raises nothing: signs that LaTeX or a font lacks become their code points."""
    columns = list(parts(table))
    groups, rules, at = [], [], 2
    for place, column in enumerate(table.columns.values()):
        width = len(sides(table, place))
        groups.append(rf"\multicolumn{{{width}}}{{c}}{{{_text(metric_heading(column))}}}")
        rules.append(rf"\cmidrule(lr){{{at}-{at + width - 1}}}")
        at += width
    second = ["method", *(f"{part.side}{f' ($n={part.count}$)' if part.count else ''}" for part in columns)]
    body = [[_text(row.label), *_figures(cells(table, row, *_MARKS))] for row in table.rows]
    lines = [
        *([_SIGN] if _has_signs(table) else []),
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_text(table.title)}}}",
        rf"\label{{tab:{re.sub(r'[^A-Za-z0-9-]', '-', table.name)}}}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{l{'r' * len(columns)}}}",
        r"\toprule",
        f" & {' & '.join(groups)} " + r"\\",
        "".join(rules),
        f"{' & '.join(second)} " + r"\\",
        r"\midrule",
        *(f"{' & '.join(line)} " + r"\\" for line in body),
        r"\bottomrule",
        r"\end{tabular}}",
        *([rf"\par\smallskip\raggedright\footnotesize {_text(' '.join(table.short))}"] if table.short else []),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _figures(texts: list[str]) -> list[str]:
    """Numbers as mathematics, words as they are."""
    found = []
    for text in texts:
        figure, _, _ = text.partition(f" ({INCOMPLETE})")
        word = text.removeprefix(figure)
        plain = figure in (MISSING, INCOMPLETE)
        found.append((figure if plain else f"${figure.replace('inf', _INFINITY)}$") + word)
    return found


def _has_signs(table: Table) -> bool:
    texts = [table.title, *table.short, *(row.label for row in table.rows), *(c.label for c in table.columns.values())]
    return any(r"\tablesign" in _text(text) for text in texts)


def _text(text: str) -> str:
    text = unicodedata.normalize("NFC", text).replace("--", "-\N{ZERO WIDTH NON-JOINER}-")  # two hyphens, and no dash
    return "".join(map(_sign, text))


def _sign(sign: str) -> str:
    """One sign, as every engine prints it."""
    if sign in _TEX:
        return _TEX[sign]
    if " " <= sign <= "~":
        return sign
    if sign.isspace():
        return " "
    base, accents = (plain := unicodedata.normalize("NFD", sign))[0], plain[1:]
    if len(accents) == 1 and accents in _ACCENTS and base.isascii() and base.isalpha() and base not in "ij":
        return f"\\{_ACCENTS[accents]}{{{base}}}"
    code = f"{ord(sign):04X}"
    invisible = unicodedata.category(sign)[0] in "CZ"  # control signs, directions, halves of signs, unassigned
    return rf"\tablesign{{{code}}}{{{f'[U+{code}]' if invisible else sign}}}"
