"""What is known on the way through a config, and what is wrong with it: all faults are shown at once."""

from __future__ import annotations

from dataclasses import dataclass, field

from curate.config.load import Loaded
from curate.config.validation import in_order
from curate.config.yaml_source import KeyPath
from curate.core.errors import CurateError, Problem


@dataclass
class Checking:
    """What is known on the way through a config, and what is wrong with it."""

    loaded: Loaded
    problems: list[Problem] = field(default_factory=list)

    def add(self, cause: CurateError, path: KeyPath) -> None:
        """An error from elsewhere, placed at a part of the config."""
        place = self.loaded.source.value(path)
        self.problems += [
            Problem(p.code, p.message, p.help, p.position or place, p.context) for p in cause.problems
        ]

    def fault(self, code: str, message: str, help: str, path: KeyPath, *, key: bool = False) -> None:
        source = self.loaded.source
        self.problems.append(Problem(code, message, help, source.key(path) if key else source.value(path)))

    def stop(self) -> None:
        if self.problems:
            # Only faults of the config are its own (exit 2); a changed input is the run's (exit 1).
            raise CurateError(in_order(self.problems, self.loaded.source.file))
