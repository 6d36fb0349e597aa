"""Options that stop a run which would remove too much; what they mean is in `curate.core.ceilings`.

The defaults: half of the web's documents have a near-duplicate (Penedo et al. 2024), and of single crawls seldom more
than 60 % are removed; where nine in ten of a source or a language go, a template, an error page or a wrong column is the
likelier cause. Of fewer than 1,000 documents that says nothing.
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from curate.core.ceilings import GUARDS, Ceilings

CLUSTER: Final = 1_000_000
FRACTION: Final = 0.9
DOCUMENTS: Final = 1_000

MaxCluster = Annotated[
    int, Field(ge=1, description="Documents of a cluster at most; a larger one stops the run.")
]
MaxRemoved = Annotated[
    float, Field(gt=0, le=1, description="Fraction of the documents that may be removed; more stop the run.")
]
MaxRemovedBySource = Annotated[
    float, Field(gt=0, le=1, description="The same for each value of the column `source`.")
]
MaxRemovedByLanguage = Annotated[float, Field(gt=0, le=1, description="The same for each language.")]
MinDocuments = Annotated[
    int, Field(ge=1, description="Sources and languages with fewer documents never stop the run.")
]


def ceilings_of(config: object) -> Ceilings:
    """The ceilings of a config that has these options."""
    return Ceilings(*(getattr(config, name) for name in GUARDS))
