"""curate: corpus curation and filtering, from raw multilingual text to pretraining shards and NER datasets."""

__version__ = "0.1.0"
