from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.report.latex import escape, latex
from experiments.report.listings import Best, Listing

LISTING = Listing(
    "Loss & 50 % of it", ("objective_name", "1 step"), (("rf/lognorm(0.00,1.00)", Best("1.0 ± 0.2")), ("a|b", "–")), 1,
    "C^−b",
)  # fmt: skip


def test_a_table_is_a_float_of_booktabs() -> None:
    assert latex([LISTING]).splitlines()[1:] == [
        r"\begin{table}",
        r"\centering",
        r"\caption{Loss \& 50 \% of it. C\textasciicircum{}$-$b}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{\begin{tabular}{lr}",
        r"\toprule",
        r"objective\_name & 1 step \\",
        r"\midrule",
        r"rf/lognorm(0.00,1.00) & \textbf{1.0 $\pm$ 0.2} \\",
        r"a\textbar{}b & -- \\",
        r"\bottomrule",
        r"\end{tabular}}",
        r"\end{table}",
    ]


@given(st.text(alphabet=st.sampled_from('\\{}$&#%_^~<>|[]"ab1 .é±−–λ中\n'), max_size=30))
def test_no_sign_of_latex_is_left_bare(text: str) -> None:
    shown = escape(text)
    assert shown.isascii()
    assert "\n" not in shown
    bare = re.sub(r"\\(text[a-z]+\{\}|[{}$&#%_']|pm|varepsilon|lambda)", "", shown)
    bare = bare.replace("{[}", "").replace("{]}", "")
    bare = re.sub(r"\$-?\$", "", bare)
    assert not set(bare) & set("\\{}$&#%_^~<>|[]")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a_b", r"a\_b"),
        ("\\x", r"\textbackslash{}x"),
        ("[1, 2]", r"{[}1, 2{]}"),
        ("中", "?"),
        ("* −3", "{*} $-$3"),
        ("Fréchet", r"Fr\'echet"),
    ],
)
def test_texts_are_set_as_they_stand(text: str, shown: str) -> None:
    assert escape(text) == shown


def test_nothing_is_no_table() -> None:
    assert r"\begin" not in latex([])


DOCUMENT = r"""\documentclass{article}
\usepackage{booktabs,graphicx}
\begin{document}
%s
\end{document}
"""


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="there is no pdflatex (Debian: texlive-latex-recommended)")
def test_latex_sets_very_many_tables_with_any_signs(tmp_path: Path) -> None:
    signs = '\\{}$&#%_^~<>|[]"ab1 .é±−–λ中’×·≥≤*'
    hard = Listing(signs, (signs, "[1]"), ((signs, Best(signs)), ("[a]", "* b"), ("*", "[c]")), 1, signs)
    (tmp_path / "tables.tex").write_text(DOCUMENT % latex([hard, *[LISTING] * 120]))
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "tables.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
    assert re.search(r"Output written on tables.pdf \((1[1-9]|[2-9]\d) pages", done.stdout)
