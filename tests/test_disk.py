"""Small files that land whole, whatever bytes a name in them holds."""

import json

from worldgen.present.console import Reporter
from worldgen.runs.disk import write_text


def test_names_that_are_no_utf8_are_written_and_json_reads_them_back(tmp_path):
    told = {"photo": "caf\udce9 日本.jpg"}
    for ascii_only in (True, False):
        write_text(tmp_path / "told.json", json.dumps(told, ensure_ascii=ascii_only))
        assert json.loads((tmp_path / "told.json").read_text(encoding="utf-8")) == told
    assert [path.name for path in tmp_path.iterdir()] == ["told.json"]


def test_the_log_takes_them_too(tmp_path):
    reporter = Reporter(quiet=True)
    reporter.log_to(tmp_path / "log.txt")
    reporter.note("caf\udce9.jpg -> 日本")
    reporter.close()
    assert "caf\\udce9.jpg -> 日本" in (tmp_path / "log.txt").read_text(encoding="utf-8")
