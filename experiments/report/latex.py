"""report.tex: the tables for a paper, with booktabs."""

from __future__ import annotations

from collections.abc import Iterable

from experiments.report.listings import Best, Listing

HEAD = r"""% Needs \usepackage{booktabs}, and \usepackage{graphicx} for \resizebox.
"""
FLOATS = 12
"""Tables after which a page ends: LaTeX holds only so many that have found no place yet."""
_ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "*": "{*}",  # after the end of a line it would be read as a part of it
    '"': "''",
    "[": r"{[}",
    "]": r"{]}",
    "±": r"$\pm$",
    "−": r"$-$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "–": "--",
    "’": "'",
    "é": r"\'e",
    "\n": " ",
}
_GREEK = {
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "varepsilon", "λ": "lambda", "μ": "mu", "σ": "sigma",
    "τ": "tau", "ω": "omega",
}  # fmt: skip
_ESCAPES |= {letter: rf"$\{name}$" for letter, name in _GREEK.items()}


def latex(tables: Iterable[Listing]) -> str:
    """The tables as floats of LaTeX, the best of each column in bold; every text stands there as it is, escaped."""
    written = [_float(listing) for listing in tables]
    groups = ["\n".join(written[at : at + FLOATS]) for at in range(0, len(written), FLOATS)]
    return HEAD + "\n\\clearpage\n\n".join(groups)


def escape(text: str) -> str:
    """Text that LaTeX sets as it stands here; a letter that its fonts may lack becomes "?"."""
    return "".join(_ESCAPES.get(sign, sign if sign.isascii() and sign.isprintable() else "?") for sign in text)


def _float(listing: Listing) -> str:
    columns = "l" * listing.left + "r" * (len(listing.head) - listing.left)
    caption = f"{listing.title}. {listing.note}".strip()
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape(caption)}}}",
        rf"\resizebox{{\ifdim\width>\linewidth\linewidth\else\width\fi}}{{!}}{{\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        _row(listing.head),
        r"\midrule",
        *map(_row, listing.body),
        r"\bottomrule",
        r"\end{tabular}}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _row(cells: Iterable[str]) -> str:
    told = (rf"\textbf{{{escape(cell)}}}" if isinstance(cell, Best) else escape(cell) for cell in cells)
    return " & ".join(told) + r" \\"
