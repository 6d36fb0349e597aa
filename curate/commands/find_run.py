"""RUN in any command: a run folder, a run's name, or the config file that made it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from curate.core.objects import Place

#: Where runs stand unless the config or `--run-dir` says otherwise, below the working directory.
RUNS: Final = Path("runs")
_CONFIGS: Final = (".yaml", ".yml")


def find_run(text: str) -> Place:
    """The run folder that `text` means, absolute or a URL; R307 if there is none."""
    from curate.core.errors import error
    from curate.core.objects import as_place
    from curate.core.store import is_url
    from curate.core.suggest import did_you_mean

    if is_url(text):
        if is_run(place := as_place(text)):
            return place
        raise error(
            "R307", f"there is no run in {text}", help="give a run folder, a run's name or the config"
        )

    path = Path(text)
    if path.suffix in _CONFIGS and path.is_file():
        found = _folder_of(path)
        if is_run(found):
            return found
        raise error("R307", f"{text} has not been run: there is no run in {found}", help=f"curate run {text}")
    for folder in (path, RUNS / text):
        if is_run(folder):
            return folder.absolute()
    known = sorted(p.name for p in RUNS.iterdir() if is_run(p)) if RUNS.is_dir() else []
    near = did_you_mean(path.name, known)
    if near is not None:
        help = f"did you mean '{near}'?"
    elif known:
        help = f"runs here are {', '.join(known[:12])}; or give the run folder or the config file"
    else:
        help = "give the run folder or the config file: there are no runs below ./runs"
    what = (
        f"{text} is not a run folder: it has no plan.json" if path.is_dir() else f"there is no run '{text}'"
    )
    raise error("R307", what, help=help)


def is_run(folder: Place) -> bool:
    """Whether a folder is a run's."""
    return (folder / "plan.json").is_file()


def _folder_of(config: Path) -> Place:
    """Where a run of this config stands."""
    from curate.config.load import load
    from curate.planning.session import run_folder

    return run_folder(load(config), None)
