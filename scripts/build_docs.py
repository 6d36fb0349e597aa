"""Write the generated files: `docs/errors.md` from the catalogue, `configs/schema.json` from the models.

python scripts/build_docs.py            write them
python scripts/build_docs.py --check    fail if one of them is not up to date
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from curate.config.json_schema import config_schema  # noqa: E402  # after path or kernel cache is set
from curate.core.catalogue import CATALOGUE  # noqa: E402  # after path or kernel cache is set
from curate.stages import names  # noqa: E402  # after path or kernel cache is set

FAMILIES = {
    "C1": "The text of the config",
    "C2": "What the config asks for",
    "R3": "The run",
    "D4": "Data",
    "E5": "Environment",
}


def errors_page() -> str:
    """Every code with its meaning and its remedy, by family."""
    lines = [
        "# Errors",
        "",
        "Every message of `curate` has a code. Exit status 2: nothing was started (C1, C2, and D4 or E5 "
        "found before work starts). 1: a run failed. 3: tasks are pending.",
    ]
    for family, title in FAMILIES.items():
        lines += ["", f"## {family}: {title.lower()}"]
        for code, entry in sorted(CATALOGUE.items()):
            if code.startswith(family):
                lines += [
                    "",
                    f"### {code}: {entry.title}",
                    "",
                    entry.meaning,
                    "",
                    f"*What to do:* {entry.remedy}",
                ]
    return "\n".join(lines) + "\n"


def schema_file() -> str:
    return json.dumps(config_schema(names(outside=False)), indent=1, ensure_ascii=False) + "\n"


#: Path below the repository → its text.
GENERATED: dict[str, Callable[[], str]] = {
    "docs/errors.md": errors_page,
    "configs/schema.json": schema_file,
}


def main() -> None:
    stale = []
    for path, text in GENERATED.items():
        file = ROOT / path
        wanted = text()
        if "--check" in sys.argv[1:]:
            stale += [path] if not file.exists() or file.read_text(encoding="utf-8") != wanted else []
        else:
            file.write_text(wanted, encoding="utf-8")
    if stale:
        sys.exit(f"not up to date: {', '.join(stale)}; run: python scripts/build_docs.py")


if __name__ == "__main__":
    main()
