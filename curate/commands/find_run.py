"""RUN in any command: a run folder, a run's name, or the config file that made it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

#: Where runs stand unless the config or `--run-dir` says otherwise, below the working directory.
RUNS: Final = Path("runs")
_CONFIGS: Final = (".yaml", ".yml")


def find_run(text: str) -> Path:
    """The absolute run folder that `text` means; R307 if there is none."""
    from curate.core.errors import error
    from curate.core.suggest import did_you_mean

    path = Path(text)
    if path.suffix in _CONFIGS and path.is_file():
        folder = _folder_of(path)
        if is_run(folder):
            return folder.absolute()
        raise error(
            "R307", f"{text} has not been run: there is no run in {folder}", help=f"curate run {text}"
        )
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


def is_run(folder: Path) -> bool:
    """Whether a folder is a run's."""
    return (folder / "plan.json").is_file()


def _folder_of(config: Path) -> Path:
    """Where a run of this config stands."""
    from curate.config.load import load
    from curate.planning.session import run_folder

    return run_folder(load(config), None)
