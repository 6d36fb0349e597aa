"""Teachers: models that annotate passages. Each says the same kind of thing, whatever it is.

    teacher.py    what a teacher says of a passage, and the two columns that hold it
    pipeline.py   spaCy pipelines: offsets
    prompt.py     what a language model is asked
    answer.py     what it says, read and, where it is malformed, repaired
    gliner.py     GLiNER models: offsets

The steps `filters.ner_spacy`, `filters.ner_llm` and `filters.ner_gliner` ask them; `filters.ner_merge` grounds and merges
what they say.
"""
