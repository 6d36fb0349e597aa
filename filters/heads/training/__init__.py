"""From labels to a head, and from heads to figures: `curate train` and `curate evaluate`.

recipe.py     the file that says how a head is made
labels.py     texts with labels, from Parquet and JSON Lines
vectors.py    their embeddings
fit.py        weights from embeddings and labels, in plain numpy
measures.py   correlation, F1, calibration, agreement
train.py      cross-validation, learning curve, the head and its card
evaluate.py   heads and teachers against labels, and against each other
"""
