"""A spaCy pipeline that knows a few words by heart: a teacher that costs no training."""

from __future__ import annotations

from pathlib import Path

NAMES = {
    "person": ("Ada", "Bob", "محمد"),
    "city": ("Bonn", "St. Gallen", "北京"),
    "ORG": ("committee", "Ausschuss", "委员会"),
}


def ruler(folder: Path) -> Path:
    """The folder, with the pipeline in it."""
    if not folder.is_dir():
        import spacy

        pipeline = spacy.blank("xx")
        patterns = [{"label": label, "pattern": word} for label, words in NAMES.items() for word in words]
        pipeline.add_pipe("entity_ruler").add_patterns(patterns)  # type: ignore[attr-defined]
        pipeline.to_disk(folder)
    return folder
