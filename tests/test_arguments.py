"""Programs with options say what is wrong with them in one line, as all others do."""

import pytest

from eval import cli as evaluation
from eval.compare.cli import main as compare
from eval.data.__main__ import main as data
from worldgen import doctor, fetch, view


@pytest.mark.parametrize(
    ("main", "arguments", "said"),
    [
        (view.main, [], "run: missing, wanted as python -m worldgen.view --help says"),
        (view.main, ["runs/a", "--port", "x"], "--port: 'x', wanted 0 to 65535"),
        (
            view.main,
            ["runs/a", "--prt", "1"],
            "--prt 1: not known, wanted one of --help, --port, --https, --no-browser",
        ),
        (compare, ["runs/a", "--format", "odt"], "--format: 'odt', wanted one of 'markdown', 'csv', 'json'"),
        (doctor.main, ["profile=grand"], "profile=grand: no such choice, wanted one of"),
        (fetch.main, ["nothing"], "name: nothing, wanted some of migan"),
        (data, ["moon"], "'moon', wanted one of 'panoramas'"),
        (evaluation.main, ["-m", "protocol=images"], "methods: none, wanted methods.<name>=<path>"),
        (evaluation.main, ["format=odt"], "format: odt, wanted one of markdown, csv, latex"),
    ],
)
def test_one_line_names_the_option_what_was_found_and_what_is_wanted(capsys, main, arguments, said):
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert printed.err.startswith("error: ")
    assert said in printed.err


def test_help_is_no_error(capsys):
    for main in (view.main, compare, doctor.main, fetch.main):
        with pytest.raises(SystemExit) as left:
            main(["--help"])
        assert left.value.code == 0
    assert "usage: python -m worldgen.view" in capsys.readouterr().out
