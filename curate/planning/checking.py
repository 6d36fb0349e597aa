"""What is known on the way through a config, and what is wrong with it: all faults are shown at once."""

from __future__ import annotations

import os
from pathlib import Path
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import pyarrow as pa

from curate import __version__
from curate.config.environment import expand
from curate.config.load import Loaded, Step
from curate.config.validation import in_order
from curate.config.yaml_source import KeyPath
from curate.core.columns import REASONS, qualified
from curate.core.errors import CurateError, Problem
from curate.core.layout import RunFolder
from curate.core.manifest import InputSpec, Manifest
from curate.core.models import models_folder
from curate.core.objects import Place, as_place
from curate.core.overlay import DROP, DROP_REASONS, QUARANTINED, TEXT_BYTES
from curate.core.passages import Beside
from curate.core.plan import Plan, StepPlan, packed_schema
from curate.core.stage import Caching, Context, Job, Selector
from curate.core.store import is_url
from curate.core.suggest import did_you_mean
from curate.io.listing import build_manifest
from curate.io.source import source_schema
from curate.planning.artifacts import checksums
from curate.planning.earlier import earlier_plan, kept_partitions
from curate.planning.outputs import output_plans
from curate.planning.passages import over_problems, placed, reads_over, writes_over
from curate.planning.phases import PlannedReduce, PlannedStep, phases, provenance
from curate.planning.places import place_faults
from curate.planning.snapshots import with_snapshots_of
from curate.running.contract import AnyStep, step_fields, written
from curate.running.ledger import READ
from curate.stages import kind as kind_of

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
