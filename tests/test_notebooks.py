"""The notebooks that compare: committed without outputs, and run on a small sweep that was made up."""

import json
from pathlib import Path

import nbclient
import nbformat
import pytest

from eval.scoring.scores import Score, write_scores
from tests.house import ROOT
from tests.small_world import write_run

NOTEBOOKS = {name: ROOT / "notebooks" / f"{name}.ipynb" for name in ("compare_runs", "paper_tables")}
NIQE = {"anchored": 5.0, "sequential": 5.5, "adhoc": 7.25}


@pytest.mark.parametrize("path", NOTEBOOKS.values(), ids=NOTEBOOKS)
def test_they_are_committed_without_outputs(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    assert all(not cell.get("outputs") and not cell.get("execution_count") for cell in cells)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """runs/: two photos by three heuristics; evaluations/panorama_ablation: their scores."""
    place = tmp_path_factory.mktemp("sweep")
    rows = []
    for photo in ("room", "garage"):
        for heuristic, niqe in NIQE.items():
            run = write_run(place / "runs" / f"{photo}-panorama={heuristic}", f"{photo}.jpg")
            (run / "panorama.png").symlink_to("panorama/panorama.png")
            manifest = json.loads((run / "manifest.json").read_text())
            manifest["photo"]["sha256"] = photo.ljust(64, "0")
            manifest["steps"]["panorama"]["config"] = {"panorama": {"heuristic": heuristic}, "seed": 0}
            (run / "manifest.json").write_text(json.dumps(manifest))
            rows += [Score(heuristic, photo, view, "niqe", niqe + len(photo + view) / 8) for view in ("a", "bb")]
    methods = {
        name: {"path": str(place / "runs"), "kind": "runs", "images": ["garage", "room"], "failed": {}} for name in NIQE
    }
    metrics = {"niqe": {"better": "lower", "versions": {}}}
    evaluation = {"protocol": {"name": "panorama"}, "metrics": metrics, "methods": methods}
    for scores in (place / "runs" / "scores", place / "evaluations" / "panorama_ablation"):
        write_scores(scores, rows, evaluation)
    return place


def run(name: str, place: Path, monkeypatch) -> tuple[str, list[str]]:
    """All text that a notebook puts out, and the kinds of pictures."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(NOTEBOOKS[name], as_version=4)
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(place)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    data = [output.get("data", {}) for output in outputs]
    texts = [output.get("text", "") for output in outputs]
    texts += [str(one.get(kind, "")) for one in data for kind in ("text/markdown", "text/html")]
    return "\n".join(texts), [kind for one in data for kind in one if kind.startswith("image/")]


@pytest.mark.slow
def test_compare_runs_finds_what_the_sweep_is_about(place, monkeypatch):
    text, pictures = run("compare_runs", place, monkeypatch)
    assert "6 runs, 6 finished; by panorama; best first by niqe" in text
    rows = [
        "| anchored | 2 | **5.8 ± 1.6 (2)** |",
        "| sequential | 2 | 6.3 ± 1.6 (2) |",
        "| adhoc | 2 | 8.1 ± 1.6 (2) |",
    ]
    assert sorted(rows, key=text.index) == rows
    assert len(pictures) == 3
    assert "plotly.js" in (place / "comparison.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_paper_tables_stand_beside_ours(place, monkeypatch):
    text, _ = run("paper_tables", place, monkeypatch)
    assert "scored: panorama_ablation\n" in text
    assert "| 8.06 ± 1.59 |" in text  # ours
    assert "6.01" in text  # the paper's, of panoramas
    assert text.count("data:image/jpeg") == 6
    assert f"<code>{place / 'runs' / 'garage-panorama=adhoc'}</code>" in text
    assert "python -m eval.reproduce table=world" in text
