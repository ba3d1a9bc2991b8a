"""LaTeX tables: any engine takes them, whatever is in their names, and they are no wider than the page."""

import re
import shutil
import subprocess

import pytest

from eval.scoring.scores import Score
from eval.tables.build import Table, build
from eval.tables.formats import render

NAMES = (
    "plain_name 50% & more #1 {x} $y$ \\z ~^ <|>",
    "café Ångström Łódź Straße",
    "日本語の方法",
    "طريقة",
    "метод",
    "🌍--`x`",
    "a\x07\u202eb",
)
DOCUMENT = r"""\documentclass{article}
\usepackage{booktabs}
\usepackage{graphicx}
\begin{document}
\input{table}
\end{document}
"""
ENGINES = [name for name in ("xelatex", "lualatex", "pdflatex") if shutil.which(name)]


def wide_table(names: tuple[str, ...] = NAMES) -> Table:
    """Six metrics with the paper's figures beside them: twice as wide as a page."""
    metrics = ("brisque", "niqe", "qalign_quality", "clip_i", "psnr", "ssim")
    settings = {
        "name": "wide_1",
        "title": f"A table of {names[-1]} & others",
        "source": "arXiv 0",
        "protocol": "images",
        "scores": "evaluations/wide",
        "columns": {name: {"label": name.upper(), "better": "lower", "digits": 3} for name in metrics},
        "rows": {names[0]: {"label": names[0], "paper": dict.fromkeys(metrics, 12.345)}},
        "baseline": names[0],
    }
    rows = [
        Score(method, image, "v", metric, 10.0 + place + number)
        for place, method in enumerate(names)
        for number, image in enumerate(("one", "two", names[2]))
        for metric in metrics
        if (method, image, metric) != (names[-1], "two", "niqe")
    ]
    unavailable = {"better": "lower", "versions": {}, "unavailable": "metric.psnr.download=true fetches it (0.6 GB)"}
    versions = {"better": "lower", "versions": {"weights": "7c8e" * 16}}
    evaluation = {
        "protocol": {"name": "images", "photos": names[1]},
        "metrics": dict.fromkeys(metrics, versions) | {"psnr": unavailable},
        "methods": {names[0]: {"images": ["one"], "failed": {f"file {n}.png": "broken" for n in range(50)}}},
    }
    return build(settings, rows, evaluation)


@pytest.mark.skipif(not ENGINES, reason="wanted a TeX: xelatex, lualatex or pdflatex")
@pytest.mark.parametrize("engine", ENGINES or ["none"])
def test_it_compiles_and_fits_the_page(tmp_path, engine):
    (tmp_path / "table.tex").write_text(render(wide_table(), "latex"), encoding="utf-8")
    (tmp_path / "paper.tex").write_text(DOCUMENT, encoding="utf-8")
    command = [engine, "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "paper.pdf").stat().st_size > 1000
    log = (tmp_path / "paper.log").read_text(encoding="utf-8", errors="replace")
    assert "Overfull \\hbox" not in log
    assert "Missing character" not in log  # a sign that a font lacks is its code point, not nothing


def test_notes_are_those_that_a_paper_has_room_for():
    text = render(wide_table(), "latex")
    assert "download" not in text
    assert "7c8e" not in text
    assert "file 3.png" not in text
    notes = text.partition(r"\footnotesize ")[2]
    assert "Student's 95\\% interval" in notes
    assert "lost 1 view of 1 image by NIQE" in notes
    assert len(text.partition(r"\footnotesize ")[0].splitlines()) < 30


def test_signs_that_tex_lacks_are_named_by_their_code_points():
    text = render(wide_table(), "latex")
    assert r"\tablesign{65E5}{日}\tablesign{672C}{本}" in text
    assert r"caf\'{e} \r{A}ngstr\"{o}m \L{}\'{o}d\'{z} Stra\ss{}e" in text
    assert r"a\tablesign{0007}{[U+0007]}\tablesign{202E}{[U+202E]}b" in text
    assert r"\tablesign{1F30D}{🌍}-{}-`x`" in text
    assert "\x07" not in text
    assert re.search(r"\\label\{tab:wide-1\}", text)
    assert r"\tablesign" not in render(wide_table(tuple("abcdefg")), "latex")
