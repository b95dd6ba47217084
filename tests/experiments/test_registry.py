"""The registry: installed plugins without imports, what a name means, stale tables and shadowed packages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.errors import UserError
from experiments.registry import GROUPS, entries, known_names, resolve_name, shadowed_packages, stale_plugins
from experiments.registry.entries import Entry, group_of_class, source_file
from experiments.registry.names import nearest, scalar, split_arguments


def test_every_installed_plugin_loads_and_introduces_itself() -> None:
    for group in GROUPS:
        for entry in entries(group).values():
            assert isinstance(entry.load(), type), entry
            assert entry.summary, f"{entry.target} has no docstring"
            assert entry.summary == (entry.load().__doc__ or "").splitlines()[0].strip()
            assert entry.presets == getattr(entry.load(), "presets", {})


def test_listing_imports_no_plugin() -> None:
    program = (
        "import sys; from experiments.registry import GROUPS, entries\n"
        "told = [(e.summary, e.presets) for g in GROUPS for e in entries(g).values()]\n"
        "assert len(told) > 20\n"
        "print([m for m in ('torch', 'objectives', 'backbones', 'datamodules', 'lightning') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("text", ["DiT", "dit", " DIT "])
def test_names_ignore_case(text: str) -> None:
    assert resolve_name("backbones", text).entry.name == "DiT"


def test_a_preset_is_its_class_with_arguments() -> None:
    resolved = resolve_name("backbones", "dit-s/2")
    assert resolved.entry.name == "DiT"
    assert resolved.arguments == {"patch": 2, "width": 384, "depth": 12, "heads": 6}


def test_call_notation_gives_positional_and_named_arguments() -> None:
    resolved = resolve_name("densities", "lognorm(0.5, s=2)")
    assert (resolved.entry.name, resolved.positional, resolved.arguments) == ("lognorm", ("0.5",), {"s": 2})
    assert resolve_name("backbones", "DiT-S/2(depth=3)").arguments["depth"] == 3


def test_a_class_reads_its_own_notation() -> None:
    resolved = resolve_name("objectives", "rf/lognorm(0.00,1.00)")
    assert resolved.entry.name == "flow_matching"
    assert set(resolved.arguments) == {"path", "time", "head"}


def test_a_value_out_of_range_in_a_notation_is_refused() -> None:
    with pytest.raises(ValueError, match=r"1\.75"):
        resolve_name("objectives", "rf/mode(2)")


def test_an_unknown_name_is_told_with_the_nearest_and_all_known() -> None:
    with pytest.raises(ValueError, match="did you mean 'shortcut'") as caught:
        resolve_name("objectives", "shortcutt")
    assert all(name in str(caught.value) for name in known_names("objectives"))


def test_a_name_torn_by_yaml_is_explained() -> None:
    with pytest.raises(ValueError, match="quote"):
        resolve_name("densities", "lognorm(0")


def test_two_distributions_with_one_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Point:
        def __init__(self, name: str, value: str) -> None:
            self.name, self.value, self.dist = name, value, None

    points = [Point("mine", "one.module:A"), Point("MINE", "other.module:B")]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: points)
    entries.cache_clear()
    try:
        with pytest.raises(UserError, match=r"one\.module:A.*other\.module:B"):
            entries("metrics")
    finally:
        entries.cache_clear()


@pytest.mark.parametrize("target", ["nowhere.at.all:A", "json:Nothing"])
def test_a_plugin_that_cannot_be_loaded_is_named(target: str) -> None:
    with pytest.raises(UserError, match=target):
        Entry("metrics", "broken", target, "somebody").load()


def test_a_re_exported_class_is_found_in_its_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "somebodys_plugins"
    package.mkdir()
    (package / "__init__.py").write_text("from somebodys_plugins.inner import Mine as Yours\n")
    (package / "inner.py").write_text(
        'class Mine:\n    """What it is.\n\n    More."""\n\n    presets = {"a": {"b": 1}}\n\n'
        "    def from_notation(): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    entry = Entry("metrics", "mine", "somebodys_plugins:Yours", "somebody")
    assert entry.summary == "What it is."
    assert entry.presets == {"a": {"b": 1}}
    assert entry.defines("from_notation")
    assert not entry.defines("other")
    assert "somebodys_plugins" not in sys.modules


def test_source_of_a_missing_module() -> None:
    assert source_file("nowhere.at.all") is None
    assert source_file("objectives.nothing") is None


def test_group_of_a_class_follows_its_bases() -> None:
    from backbones.dit import DiT
    from objectives import FlowMatching

    assert group_of_class(FlowMatching) == "objectives"
    assert group_of_class(DiT) == "backbones"
    assert group_of_class(int) is None


def test_stale_plugins_compares_the_tables(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[project.entry-points."fewstep.objectives"]\nshortcut = "objectives.shortcut:Shortcut"\nnew = "a:B"\n'
    )
    lines = stale_plugins(tmp_path)
    assert "fewstep.objectives: new = a:B is not installed yet" in lines
    assert any("flow_matching" in line and "no longer written" in line for line in lines)
    assert not any("shortcut" in line for line in lines)


def test_shadowed_packages_names_the_folder(tmp_path: Path) -> None:
    (tmp_path / "objectives").mkdir()
    assert shadowed_packages([str(tmp_path)]) == []
    (tmp_path / "objectives" / "__init__.py").touch()
    (tmp_path / "backbones.py").touch()
    found = shadowed_packages([str(tmp_path)])
    assert [str(tmp_path / "objectives") in found[0], str(tmp_path / "backbones.py") in found[1]] == [True, True]
    ours = Path(sys.modules["experiments"].__file__ or "").parents[1]
    assert shadowed_packages([str(ours), str(tmp_path)]) == []


part = st.text(st.characters(codec="ascii", exclude_characters="()[]{},"), min_size=1).filter(str.strip)


@given(st.lists(st.one_of(part, st.tuples(part, part).map(lambda pair: f"{pair[0]}({pair[1]},{pair[0]})")), min_size=1))
def test_splitting_undoes_joining(parts: list[str]) -> None:
    assert split_arguments(",".join(parts)) == parts


@pytest.mark.parametrize("text", ["a(b", "a)b(", "a,,b", ",a"])
def test_arguments_that_are_torn_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"bracket|empty"):
        split_arguments(text)


def test_scalars_are_read_as_yaml() -> None:
    read = [scalar(text) for text in ("1", "1e3", "-0.5", "true", "null", "rf/mode(1)", "[1, 2]")]
    assert read == [1, 1000.0, -0.5, True, None, "rf/mode(1)", [1, 2]]


def test_nearest_ignores_case_and_keeps_silent_where_nothing_is_near() -> None:
    assert nearest("UVIT", ["U-ViT", "DiT"]) == "U-ViT"
    assert nearest("xyz", ["U-ViT", "DiT"]) is None
