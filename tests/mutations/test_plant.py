"""The planted faults: their table fits the sources, and planting one tells a fault from a change that is none."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("plant.py")
_spec = importlib.util.spec_from_file_location("plant", SCRIPT)
assert _spec is not None
assert _spec.loader is not None
plant = importlib.util.module_from_spec(_spec)
sys.modules["plant"] = plant
_spec.loader.exec_module(plant)

FAULTS = plant.faults()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_has_its_place_and_leaves_a_program(fault):
    source = (plant.ROOT / fault.file).read_text()
    faulty = fault.planted(source)
    assert ast.dump(ast.parse(faulty)) != ast.dump(ast.parse(source))


def test_the_text_replaced_must_be_there_once():
    fault = plant.Fault("twice", "x.py", "a", "b", ("x",))
    assert fault.planted("a = 1") == "b = 1"
    for source in ("a = a", "c = 1"):
        with pytest.raises(ValueError, match="not once"):
            fault.planted(source)


def test_there_are_enough_of_different_names():
    names = [fault.name for fault in FAULTS]
    assert len(set(names)) == len(names) >= 25


def test_every_test_named_exists():
    tests = sorted({f"tests/{test}" for fault in FAULTS for test in fault.tests})
    command = [sys.executable, "-P", "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *tests]
    done = subprocess.run(command, cwd=plant.ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_page_lists_every_fault_as_caught():
    table = plant.PAGE.read_text().split(plant.BEGIN)[1].split(plant.END)[0]
    cells = [line.split(" | ") for line in table.strip().splitlines()[2:]]
    assert [line[0].removeprefix("| ") for line in cells] == [fault.name for fault in FAULTS]
    assert all("::" in line[2] for line in cells)


def test_faults_are_caught_and_a_change_that_is_none_is_not(tmp_path):
    by_name = {fault.name: fault for fault in FAULTS}
    sign, rotated = by_name["the sign of v"], by_name["Philox' words rotated"]
    entries = [sign, rotated]
    entries.append(plant.Fault("harmless", sign.file, "a, b = path.a(t), ", "a, b = +path.a(t), ", sign.tests))
    entries.append(plant.Fault("astray", sign.file, sign.old, sign.new, ("objectives/test_heads.py::nowhere",)))
    table = tmp_path / "faults.toml"
    table.write_text("".join(written(fault) for fault in entries))
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--table", str(table)], cwd=tmp_path, capture_output=True, text=True
    )
    verdicts = re.findall(r"^ *\d/4  (\w+ ?\w+) ", done.stdout, re.MULTILINE)
    assert verdicts == ["caught", "caught", "NOT caught", "not tested"], done.stdout + done.stderr
    assert "by objectives/test_heads.py::TestVPrediction::" in done.stdout
    assert done.stdout.rstrip().endswith("2 of 4 caught")
    assert done.returncode == 1


def written(fault) -> str:
    lines = [f"{name} = {json.dumps(getattr(fault, name), ensure_ascii=False)}" for name in fault.__dataclass_fields__]
    return "\n".join(["[[fault]]", *lines, ""])


def test_the_table_stands_between_the_pages_marks(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{plant.BEGIN}\nold\n{plant.END}\nafter\n")
    codes = (plant.FAILED, plant.PASSED, 4)
    plant.write([plant.Outcome(FAULTS[0], code, "here.py::test", "", 1.4) for code in codes], page)
    lines = page.read_text().splitlines()
    assert (lines[0], lines[1], lines[-2], lines[-1]) == ("before", plant.BEGIN, plant.END, "after")
    told = [line.split(" | ")[2] for line in lines[4:-2]]
    assert told == ["`here.py::test`", "**NOT caught**", "**not tested**"]


def test_what_cannot_be_asked_for_is_refused(capsys):
    for arguments, message in (
        (["no such fault"], "no fault is called that"),
        (["Karras", "--write"], "takes neither names"),
        (["--jobs", "0"], "at least 1"),
    ):
        with pytest.raises(SystemExit) as refused:
            plant.main(arguments)
        assert refused.value.code == 2
        assert message in capsys.readouterr().err
