"""Is what is installed what stands in the checkout? Stale plugin tables and folders that shadow our packages."""

from __future__ import annotations

import importlib.metadata
import json
import tomllib
import traceback
from pathlib import Path
from urllib.parse import unquote, urlparse

from experiments.registry.entries import DISTRIBUTION, GROUPS, PREFIX

PACKAGES = ("objectives", "backbones", "datamodules", "experiments")


def editable_checkout() -> Path | None:
    """The folder that an editable install points to, or None for an ordinary one."""
    try:
        text = importlib.metadata.distribution(DISTRIBUTION).read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:
        return None
    origin = json.loads(text) if text else {}
    if not origin.get("dir_info", {}).get("editable"):
        return None
    return Path(unquote(urlparse(origin["url"]).path))


def stale_plugins(checkout: Path | None = None) -> list[str]:
    """What differs between pyproject.toml's plugin tables and the installed ones, one line each.

    An editable install freezes the tables at installation; a plugin added to pyproject.toml afterwards is unknown
    until the next one. Empty where all is in step or the install is not an editable one.
    """
    checkout = checkout or editable_checkout()
    file = checkout / "pyproject.toml" if checkout is not None else None
    if file is None or not file.is_file():
        return []
    tables = tomllib.loads(file.read_text(encoding="utf-8")).get("project", {}).get("entry-points", {})
    written = {(group, name, target) for group, table in tables.items() for name, target in table.items()}
    installed = {
        (point.group, point.name, point.value)
        for point in importlib.metadata.distribution(DISTRIBUTION).entry_points
        if point.group.removeprefix(PREFIX) in GROUPS and point.group.startswith(PREFIX)
    }
    return [
        f"{group}: {name} = {target} is not installed yet" for group, name, target in sorted(written - installed)
    ] + [
        f"{group}: {name} = {target} is installed but no longer written"
        for group, name, target in sorted(installed - written)
    ]


def shadowed_packages(search_path: list[str]) -> list[str]:
    """Folders and files on ``search_path`` that Python would import in place of one of our packages, one line each.

    Our packages have everyday names (``experiments``), so that a folder in the user's project can hide them.
    """
    ours = Path(__file__).resolve().parents[2]
    found = []
    for place in search_path:
        folder = Path(place or ".").resolve()
        if folder == ours:
            break
        for package in PACKAGES:
            for rival in (folder / package, folder / f"{package}.py"):
                is_module = rival.is_file() or (rival / "__init__.py").is_file()
                if is_module and rival.resolve() != ours / package:
                    found.append(f"{rival} hides fewstep's package {package!r}")
    return found


def whose_fault(error: BaseException) -> str | None:
    """The plugin package, not fewstep, whose code the error comes from; None where it is our own.

    Of all frames the innermost that is ours or a plugin's decides: what lies deeper is a library that it called.
    """
    others = {
        point.module.partition(".")[0]: point.dist.name
        for group in GROUPS
        for point in importlib.metadata.entry_points(group=PREFIX + group)
        if point.dist is not None and point.dist.name != DISTRIBUTION
    }
    frames = traceback.walk_tb(error.__traceback__)
    tops = [str(frame.f_globals.get("__name__")).partition(".")[0] for frame, _ in frames]
    known = [top for top in tops if top in others or top in PACKAGES]
    return others.get(known[-1]) if known else None
