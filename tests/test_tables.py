"""Tables: the paper's figures as it prints them, ours from stored scores, the best in bold, what is missing said."""

import csv
import io
import json
import math
import re

import pytest
from hydra.utils import instantiate

from eval.scoring.scores import Score, read_evaluation, read_scores, write_scores
from eval.tables.build import build
from eval.tables.formats import FORMATS, as_json, metadata, render
from eval.tables.settings import TableSettings
from worldgen.config import CONF_DIR, choice, choices
from worldgen.errors import UserError

TABLES = choices("table")
SETTINGS = {
    "name": "small",
    "title": "A small table",
    "source": "arXiv 0",
    "protocol": "panorama",
    "scores": "evaluations/small",
    "columns": {
        "niqe": {"label": "NIQE", "better": "lower"},
        "clip_i": {"label": "CLIP_I", "better": "higher", "digits": 1},
    },
    "rows": {"theirs": {"label": "Theirs", "paper": {"niqe": 6.5}}, "ours": {"label": "Ours & co"}},
}
HASH = "7c8e239223d4ff930cbfad4bfbceb685dbf0977804794979d2a9ed54f5d8bf1f"


def scores_of(method: str, metric: str, **images: float) -> list[Score]:
    """Two views of each image, whose mean is the value."""
    return [
        Score(method, image, view, metric, value + step)
        for image, value in images.items()
        for view, step in (("yaw000", -0.5), ("yaw180", 0.5))
    ]


def evaluation_of(**methods: dict) -> dict:
    return {
        "protocol": {"name": "panorama", "views": 6, "fov_deg": 90, "photos": None, "metrics": ["niqe"]},
        "metrics": {
            "niqe": {"better": "lower", "versions": {"pyiqa": "0.1.16", "niqe_pris_params": HASH}},
            "clip_i": {"better": "higher", "versions": {}, "unavailable": "its weights are not here"},
        },
        "methods": methods,
    }


def cells(text: str) -> list[list[str]]:
    """The rows of a Markdown table, heading first."""
    lines = [line for line in text.splitlines() if line.startswith("|") and not line.startswith("| ---")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


THEIRS = scores_of("theirs", "niqe", a=5.0, b=6.0, c=7.0)
OURS = scores_of("ours", "niqe", a=4.0, b=5.0, c=6.0)


@pytest.mark.parametrize("name", TABLES)
def test_every_file_makes_a_table_before_there_are_runs(name):
    settings = instantiate(choice("table", name))
    assert isinstance(settings, TableSettings)
    assert settings.name == name
    assert (CONF_DIR / "protocol" / f"{settings.protocol}.yaml").is_file()
    table = build(settings, [], {})
    assert build(choice("table", name), [], {}) == table
    assert f"No runs yet: python -m eval table={name}" in render(table, "markdown")
    assert "No runs yet" not in render(table, "latex")  # what to do is nothing for a paper
    assert "No runs yet" not in render(table, "csv")


def test_the_papers_figures_are_the_papers():
    """Copied from its tables once more, by hand."""
    paper = {
        "panorama": ["51.52 6.77 2.89 79.43", "81.89 11.68 1.91 75.10", "36.33 6.01 3.48 81.88"],
        "world": ["50.97 5.89 1.91", "64.80 7.84 1.72", "43.54 6.02 3.42", "41.09 5.59 3.51", "33.85 4.63 3.62"],
        "conditioning": ["50.18 6.52 3.45 11.98", "46.17 6.49 3.49 15.88"],
        "warping_ablation": ["50.18 6.52 3.45 11.98", "46.17 6.49 3.49 15.88"],
        "distortion_ablation": ["41.09 5.59", "33.85 4.63", "", ""],
    }
    for name, rows in paper.items():
        table = render(build(choice("table", name), [], {}), "markdown")
        assert [" ".join(re.findall(r"\d+\.\d\d", " ".join(row[1:]))) for row in cells(table)[1:]] == rows


def test_papers_and_ours_stand_side_by_side():
    text = render(build(SETTINGS, THEIRS + OURS, evaluation_of()), "markdown")
    heading, theirs, ours = cells(text)
    assert heading == ["method", "NIQE ↓ paper", "NIQE ↓ measured, n=3", "CLIP_I ↑"]  # no CLIP-I in the paper
    assert theirs[:2] == ["Theirs", "6.50"]
    assert re.fullmatch(r"6\.00 ± \d\.\d\d", theirs[2])
    assert ours[:2] == ["Ours & co", "-"]
    assert re.fullmatch(r"\*\*5\.00\*\* ± \d\.\d\d", ours[2])


def test_a_table_regenerated_from_stored_scores_is_byte_identical(tmp_path):
    rows = THEIRS + OURS + scores_of("theirs", "clip_i", a=70.1, b=80.2, c=90.7)
    evaluation = evaluation_of(
        theirs={"path": "x", "kind": "images", "images": ["a", "b", "c"], "failed": {"z": "bad"}}
    )
    write_scores(tmp_path, rows, evaluation)
    for kind in FORMATS:
        first = render(build(SETTINGS, rows, evaluation), kind)
        again = render(build(SETTINGS, read_scores(tmp_path), read_evaluation(tmp_path)), kind)
        assert again.encode() == first.encode()
        assert render(build(SETTINGS, rows[::-1], evaluation), kind) == first


@pytest.mark.parametrize(("better", "bold"), [("lower", "Ours & co"), ("higher", "Theirs")])
def test_the_best_of_ours_is_bold(better, bold):
    settings = SETTINGS | {"columns": {"niqe": {"label": "NIQE", "better": better}}}
    rows = cells(render(build(settings, THEIRS + OURS, {}), "markdown"))[1:]
    assert [row[0] for row in rows if "**" in row[2]] == [bold]
    assert not any("**" in row[1] for row in rows)


def test_what_is_printed_alike_is_equally_bold_and_a_lone_method_is_not():
    alike = THEIRS + scores_of("ours", "niqe", a=5.001, b=6.001, c=7.001)
    assert render(build(SETTINGS, alike, {}), "markdown").count("**6.00**") == 2
    assert "**5.00**" not in render(build(SETTINGS, OURS, {}), "markdown")


def test_a_missing_score_shows_as_such():
    text = render(build(SETTINGS, OURS, evaluation_of()), "markdown")
    _, theirs, ours = cells(text)
    assert theirs == ["Theirs", "6.50", "-", "-"]
    assert ours[3] == "-"
    assert "- CLIP_I: not available: its weights are not here\n" in text
    assert "CLIP_I: not scored." in render(build(SETTINGS, OURS, {}), "markdown")
    broken = [Score("ours", "a", "yaw000", "niqe", math.nan)]
    assert cells(render(build(SETTINGS, broken, {}), "markdown"))[2][2] == "incomplete"


def test_methods_are_compared_on_common_images_and_the_others_named():
    rows = THEIRS + scores_of("ours", "niqe", b=4.0, c=5.0, d=100.0)
    text = render(build(SETTINGS, rows, evaluation_of(ours={"images": ["b", "c", "d", "e"]})), "markdown")
    _, theirs, ours = cells(text)
    assert re.fullmatch(r"6\.50 ± \d\.\d\d \(incomplete\)", theirs[2])
    assert re.fullmatch(r"4\.50 ± \d\.\d\d \(incomplete\)", ours[2])
    line = next(line for line in text.splitlines() if "Images:" in line)
    assert line == (
        "- Images: paired, 2 common of 5; left out: a (Ours & co lost views), d (Theirs lost views), "
        "e (no score of Theirs, no score of Ours & co)."
    )
    assert "- Incomplete, not ranked: Theirs lost 2 views of 1 image.\n- Lost by Theirs: d (yaw000, yaw180)." in text
    ranked = render(build(SETTINGS, rows, {}, allow_missing=True), "markdown")
    assert cells(ranked)[2][2].startswith("**4.50** ±")
    assert "Incomplete, ranked over what is left (allow_missing=true): Theirs lost 2 views of 1 image." in ranked


def test_an_image_that_one_metric_lacks_leaves_the_others_theirs():
    rows = (
        THEIRS + OURS + scores_of("theirs", "clip_i", a=70.0, b=80.0, c=90.0) + scores_of("ours", "clip_i", a=71, b=81)
    )
    text = render(build(SETTINGS, rows, {}), "markdown")
    _, theirs, ours = cells(text)
    assert theirs[2].startswith("6.00")
    assert theirs[3].startswith("75.0")
    assert re.fullmatch(r"76\.0 ± \d+\.\d \(incomplete\)", ours[3])
    assert ours[2].startswith("**5.00**")  # by NIQE nothing is missing
    assert "CLIP_I: over 2 images only" in text
    assert "Incomplete, not ranked: Ours & co lost 2 views of 1 image by CLIP_I." in text


def test_methods_without_a_common_image_are_not_compared():
    text = render(build(SETTINGS, THEIRS + scores_of("ours", "niqe", x=1.0), {}), "markdown")
    assert [row[2] for row in cells(text)[1:]] == ["incomplete", "incomplete"]
    assert "Images: none of 4 is common to Theirs, Ours & co: nothing can be compared." in text


def test_any_method_gets_a_row():
    text = render(build(SETTINGS, scores_of("mine", "niqe", a=3.0, b=4.0), {}), "markdown")
    assert cells(text)[-1][:2] == ["mine", "-"]
    assert cells(text)[-1][2].startswith("3.50 ±")


def test_the_footer_says_how_the_figures_came():
    failed = {"runs-x": "no finished panorama step,\nits log says: no memory"}
    evaluation = evaluation_of(
        ours={"images": ["a", "b", "c"], "failed": failed, "notes": ["3 of 3 pictures are JPEG"]},
        unknown={"images": [], "failed": {"runs-y": "torn"}},
    )
    table = build(SETTINGS, OURS, evaluation)
    text = "\n".join(table.footer)
    assert "Protocol: panorama: fov_deg 90, views 6." in text
    assert "Versions: NIQE: niqe_pris_params 7c8e239223d4, pyiqa 0.1.16." in text
    assert "Images: 3 of 3." in text
    assert "Failed, Ours & co: 1: runs-x (no finished panorama step, its log says: no memory)." in text
    assert "Failed, unknown: 1: runs-y (torn)." in text
    assert "Ours & co: 3 of 3 pictures are JPEG." in text
    assert "Paper: arXiv 0." in text
    assert "unknown" not in [row.method for row in table.rows]
    assert not any("\n" in line for line in table.footer)
    other = build(SETTINGS | {"protocol": "world"}, OURS, evaluation)
    assert "Scored by another protocol than the table's: panorama, wanted world." in other.footer


def test_any_method_can_be_the_baseline():
    rows = THEIRS + OURS + scores_of("mine", "niqe", a=3.0, b=4.0, c=5.5)
    table = build(SETTINGS | {"baseline": "ours"}, rows, {}, baseline="mine")
    assert [(found.method, found.baseline) for found in table.differences] == [("theirs", "mine"), ("ours", "mine")]
    assert any(line.startswith("Ours & co minus mine, paired: NIQE +0.83") for line in table.footer)
    with pytest.raises(UserError, match="baseline: nobody, wanted one of theirs, ours, mine"):
        build(SETTINGS, rows, {}, baseline="nobody")


def test_a_black_frame_does_not_win():
    """What is left of a broken scene scores better than the whole: it has no figure, and no rank."""
    frames = {f"{number:03}": 60.0 if number < 3 else 2.0 for number in range(6)}
    whole = [Score("theirs", "scene", frame, "niqe", value) for frame, value in frames.items()]
    for lost in (
        [Score("ours", "scene", frame, "niqe", math.nan if frame < "003" else 1.0) for frame in frames],
        [Score("ours", "scene", frame, "niqe", 1.0) for frame in frames if frame >= "003"],
    ):
        table = build(SETTINGS, whole + lost, {}, baseline="theirs")
        assert table.figures() == {"theirs": {"niqe": table.rows[0].cells[0].ours}, "ours": {}}
        assert not any(cell.best for row in table.rows for cell in row.cells)
        assert table.rows[1].cells[0].complete is False
        assert table.differences == ()
        assert table.lost == {"ours": 3}
        assert "Lost by Ours & co: scene (000, 001, 002)." in table.footer
        over_rest = build(SETTINGS, whole + lost, {}, allow_missing=True)
        assert [found["niqe"].mean for found in over_rest.figures().values()] == [2.0, 1.0]
        assert over_rest.rows[1].cells[0].best


def test_fewer_than_five_images_are_labelled():
    def few(count: int) -> bool:
        rows = scores_of("ours", "niqe", **{f"i{number}": float(number) for number in range(count)})
        return any(line.startswith("Few: ") for line in build(SETTINGS, rows, {}).footer)

    assert [few(count) for count in (1, 2, 4, 5, 6)] == [False, True, True, False, False]


def test_rows_that_nothing_can_make_name_their_config():
    table = build(choice("table", "panorama_ablation"), [], {})
    assert not any("not there yet" in line for line in table.footer)
    settings = SETTINGS | {"group_by": "panorama", "rows": {"anchored": {"label": "A"}, "spiral": {"label": "B"}}}
    assert "conf/panorama/spiral.yaml is not there yet: no run can be spiral." in build(settings, [], {}).footer
    settings["group_by"] = "panorama.heuristic"
    line = "conf/panorama/*.yaml with heuristic=spiral is not there yet: no run can be spiral."
    assert line in build(settings, [], {}).footer
    made = scores_of("spiral", "niqe", a=1.0)
    assert line not in build(settings, made, {}).footer


def test_differences_are_paired():
    table = build(SETTINGS | {"baseline": "ours"}, THEIRS + OURS, {})
    assert "Theirs minus Ours & co, paired: NIQE +1.00 [+1.00, +1.00] (n=3)." in table.footer


def test_whole_set_scores_have_no_interval():
    settings = SETTINGS | {"columns": {"fid": {"label": "FID", "better": "lower", "digits": 1}}, "rows": {}}
    rows = [Score(method, "all", "all", "fid", value) for method, value in (("x", 12.34), ("y", 56.78))]
    text = render(build(settings, rows, {}), "markdown")
    assert [row[1] for row in cells(text)[1:]] == ["**12.3**", "56.8"]
    assert "No runs yet" not in text


def test_whole_sets_of_other_views_are_not_ranked():
    settings = SETTINGS | {"columns": {"fid": {"label": "FID", "better": "lower", "digits": 1}}, "rows": {}}
    rows = [Score(method, "all", "all", "fid", value) for method, value in (("x", 12.34), ("y", 56.78))]

    def table(second: dict) -> str:
        sets = {"x": {"images": 2, "views": 6, "digest": "1", "complete": True}, "y": second}
        methods = {name: {"sets": {"fid": record}} for name, record in sets.items()}
        return render(build(settings, rows, evaluation_of(**methods)), "markdown")

    same = table({"images": 2, "views": 6, "digest": "1", "complete": True})
    assert [row[1] for row in cells(same)] == ["FID ↓, n=6", "**12.3**", "56.8"]
    assert "FID: over 6 views of each method" in same
    other = table({"images": 1, "views": 3, "digest": "2", "complete": True})
    assert "**" not in other.partition("\n")[2]
    assert "FID: not over the same views of each method (x 6, y 3): not compared." in other
    both = table({"images": 1, "views": 3, "digest": "2", "complete": False})
    assert "not compared" in both
    assert [row[1] for row in cells(both)[1:]] == ["12.3", "56.8 (incomplete)"]
    broken = table({"images": 2, "views": 6, "digest": "1", "complete": False})
    assert [row[1] for row in cells(broken)[1:]] == ["12.3", "56.8 (incomplete)"]
    assert "Incomplete, not ranked by FID: y lost views." in broken


def test_intervals_can_be_written_as_bounds():
    text = render(build(SETTINGS | {"interval": "bounds"}, OURS, {}), "markdown")
    assert cells(text)[2][2] == "5.00 [2.52, 7.48]"  # Student's, of three values with the deviation 1


def test_one_image_has_no_interval():
    text = render(build(SETTINGS, scores_of("ours", "niqe", a=4.0), {}), "markdown")
    assert cells(text)[2][2] == "4.00"
    assert "One image alone has no interval." in text


def test_csv_is_for_programs():
    text = render(build(SETTINGS, OURS, evaluation_of()), "csv")
    theirs, ours = csv.DictReader(io.StringIO(text), strict=True)
    assert (theirs["niqe paper"], theirs["niqe mean"]) == ("6.5", "")
    assert (ours["label"], float(ours["niqe mean"]), ours["niqe n"]) == ("Ours & co", 5.0, "3")
    assert float(ours["niqe low"]) < 5.0 < float(ours["niqe high"])
    assert ours["niqe complete"] == "true"
    assert len(text.splitlines()) == 3  # nothing but the table


def test_what_a_csv_cannot_say_is_json():
    table = build(SETTINGS, THEIRS + OURS, evaluation_of(), baseline="ours")
    content = json.loads(metadata(table))
    assert "CLIP_I: not available: its weights are not here" in content["notes"]
    assert content["columns"]["niqe"] == {"label": "NIQE", "better": "lower", "digits": 2}
    assert content["best"] == {"niqe": ["ours"], "clip_i": []}
    assert content["means"] == {"theirs": {"niqe": 6.0}, "ours": {"niqe": 5.0}}
    interval = content["intervals"]["ours"]["niqe"]
    assert (interval["n"], interval["few"], round(interval["low"], 2)) == (3, True, 2.52)
    assert content["differences"] == {"theirs - ours": {"niqe": {"mean": 1, "low": 1, "high": 1, "n": 3, "few": True}}}


def test_json_has_no_infinity():
    table = build(SETTINGS, [Score("ours", "a", "v", "niqe", math.inf)], {})
    told = as_json(table)
    assert told["means"]["ours"]["niqe"] is None
    assert json.loads(json.dumps(told, allow_nan=False)) == told


def test_latex_escapes_and_has_as_many_cells_as_columns():
    settings = SETTINGS | {"title": "50% of $_{all}$ #1 ~^\\"}
    text = render(build(settings, THEIRS + OURS, evaluation_of()), "latex")
    assert r"\caption{50\% of \$\_\{all\}\$ \#1 \textasciitilde{}\textasciicircum{}\textbackslash{}}" in text
    assert r"Ours \& co & - & $\mathbf{5.00} \pm" in text
    assert r"\multicolumn{2}{c}{NIQE $\downarrow$} & \multicolumn{1}{c}{CLIP\_I $\uparrow$}" in text
    assert "method & paper & measured ($n=3$) & measured" in text
    assert "not available" not in text  # a paper needs no word of weights
    assert r"\begin{tabular}{lrrr}" in text
    body = text.split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()
    assert [len(re.split(r"(?<!\\)&", line)) for line in body] == [4, 4]
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")


def test_markdown_shows_signs_as_they_are():
    rows = scores_of("a|b*c", "niqe", a=3.0, b=4.0)
    text = render(build(SETTINGS, rows, {}), "markdown")
    assert r"| a\|b\*c |" in text
    infinite = [Score("ours", "a", "v", "niqe", math.inf)]
    assert cells(render(build(SETTINGS, infinite, {}), "markdown"))[2][2] == "inf"
    assert r"$\infty$" in render(build(SETTINGS, infinite, {}), "latex")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"columns": {}}, "table.columns: [], wanted one metric at least"),
        (
            {"columns": {"niqe": {"label": "NIQE", "better": "small"}}, "rows": {}},
            "better: small, wanted lower or higher",
        ),
        ({"columns": {"niqe": {"label": "NIQE"}}, "rows": {}}, "table.columns.niqe: missing 1 required"),
        ({"rows": {"x": {"label": "X", "paper": {"psnr": 1}}}}, "rows.x.paper: ['psnr'], wanted some of niqe, clip_i"),
        ({"baseline": "nobody"}, "table.baseline: nobody, wanted one of theirs, ours"),
        ({"interval": "wide"}, "table.interval: wide, wanted half_width or bounds"),
        ({"colour": "red"}, "table: got an unexpected keyword argument 'colour'"),
    ],
)
def test_wrong_settings_are_named(change, message):
    with pytest.raises(UserError) as caught:
        build(SETTINGS | change, [], {})
    assert message in str(caught.value)


def test_other_formats_are_refused():
    with pytest.raises(UserError, match="format: html, wanted one of markdown, csv, latex"):
        render(build(SETTINGS, [], {}), "html")
