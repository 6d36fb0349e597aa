"""Parts of `build_sample.py`, by what they hold: sources, extraction, handmade documents, notices."""
