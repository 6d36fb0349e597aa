"""From the mean of a text's rows to its most probable languages, as fastText decides and rounds.

In: float32[texts, columns] and the number of rows of each. Out, per text: the best `top_k` languages, int32,
and their probabilities, float32, best first; none for a text that has no rows.

- softmax: exp(x - max) over all labels, in float64 but for the sums;
- one-vs-all and negative sampling: a table of 512 steps of the logistic function;
- hierarchical softmax: a Huffman tree over the labels' counts, searched from the root; a branch is given up
  when it cannot be among the best `ASKED`, or when its log probability falls below log(1e-5).

Scores are log(p + 1e-5) in float32, so that the least probable labels tie. Which of them are among the best
is decided by the library's heap (that of its C++ library, sifted up and down as that does it), so ties are
broken alike. A probability is exp(score), at most 1.

Where only the best label is asked for, the tree is first searched by products of probabilities, the likelier branch of each
node first, and only the winner's logarithms are added; if another label is within a hundredth, the search above decides.

Cost: 176 labels of 16 columns are 2,816 multiplications, 0.2 us in vectors over the labels (each label's own sum in the
order of the columns); the search of lid.176's tree visits 77 of its 175 nodes, two logarithms each, and 35 labels: 3.3
us a text. The best label alone takes 0.4 us with its sums.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from curate.core.text.memory import inlined, kernel
from lid.limits import ASKED
from lid.model_file import HIERARCHICAL, SOFTMAX, UNBUILT, Classifier, Quantised

_SIGMOID_STEPS: Final = 512
_SIGMOID_REACH: Final = 8
#: What the library adds to a probability before it takes its logarithm.
_ADDED: Final = 1e-5
#: Products of probabilities tell the best label where no other has more than this part of its own: sums of float32 in a tree
#: of _DEEPEST branches are wrong by less than 1e-4, and a branch is less probable than its best leaf by 1e-3 at most.
_NEAR: Final = 0.99
_DEEPEST: Final = 100
#: Nothing that is more probable is given up by the search for its low probability.
_LEAST: Final = 1e-3


class Output(NamedTuple):
    """A classifier's second half, for kernels.

    across: float32[dim, outputs], the matrix with one output after another in memory; norms: float32[outputs].
    left, right: int32[nodes] of the tree, -1 for a leaf; the last node is the root. parents: int32[nodes], -1 for the root;
    deepest: branches between it and the farthest leaf. sigmoid: float32[513].
    """

    across: npt.NDArray[np.float32]
    norms: npt.NDArray[np.float32]
    left: npt.NDArray[np.int32]
    right: npt.NDArray[np.int32]
    parents: npt.NDArray[np.int32]
    sigmoid: npt.NDArray[np.float32]
    loss: int
    labels: int
    deepest: int


def output_of(model: Classifier) -> Output:
    """The arrays of the kernel."""
    labels = len(model.starts) - model.words
    outputs = max(1, labels - 1) if model.loss == HIERARCHICAL else labels
    if isinstance(model.output, Quantised):
        matrix, norms = model.output.rows(norms=False), model.output.norms[:outputs]
    else:
        matrix, norms = model.output, np.ones(outputs, np.float32)
    across = np.zeros((model.dim, outputs), np.float32)
    across[:, : len(matrix)] = matrix[:outputs].T
    left, right = np.full(2 * labels - 1, -1, np.int32), np.full(2 * labels - 1, -1, np.int32)
    if model.loss == HIERARCHICAL:
        _grow(model.counts[model.words :].copy(), left, right)
    parents, depth = np.full(2 * labels - 1, -1, np.int32), np.zeros(2 * labels - 1, np.int64)
    if model.loss == HIERARCHICAL:
        for node in range(2 * labels - 2, labels - 1, -1):  # a parent has a greater number than its children
            children = [left[node], right[node]]
            parents[children], depth[children] = node, depth[node] + 1
    x = np.arange(_SIGMOID_STEPS + 1, dtype=np.float32) * np.float32(2 * _SIGMOID_REACH)
    x = x / np.float32(_SIGMOID_STEPS) - np.float32(_SIGMOID_REACH)
    sigmoid = np.array([1.0 / (1.0 + float(_exp32(-value))) for value in x], np.float32)
    return Output(across, norms, left, right, parents, sigmoid, model.loss, labels, int(depth.max()))


@kernel
def _exp32(x):  # type: ignore[no-untyped-def]  # numba infers
    return np.float32(math.exp(np.float32(x)))


@kernel
def _grow(counts, left, right):  # type: ignore[no-untyped-def]  # numba infers
    """The Huffman tree of labels in falling order of their counts: int64[labels]."""
    labels = counts.size
    weight = np.full(2 * labels - 1, UNBUILT, np.int64)
    weight[:labels] = counts
    leaf, node = labels - 1, labels
    for parent in range(labels, 2 * labels - 1):
        for side in range(2):
            if leaf >= 0 and weight[leaf] < weight[node]:
                child = leaf
                leaf -= 1
            else:
                child = node
                node += 1
            if side == 0:
                left[parent] = child
            else:
                right[parent] = child
        weight[parent] = weight[left[parent]] + weight[right[parent]]


@kernel
def answer(hidden, counts, output, table, scripts, first, languages, probs, found):  # type: ignore[no-untyped-def]  # numba infers
    """Fills languages int32[texts, top_k], probs float32[texts, top_k] and how many: found int32[texts].

    hidden, counts: of the texts from `first` on. table: int32[labels, scripts + 1], languages by label and the
    script of a text, scripts: int16[texts], -1 for the last column (`lid.labels`). Of labels that mean one
    language only the best counts.
    """
    dim, outputs, top_k = output.across.shape[0], output.norms.size, languages.shape[1]
    scores = np.empty(outputs, np.float32)
    # A heap of at most ASKED + 1 pairs, and the nodes that the search has yet to see.
    values, labels = np.empty(ASKED + 1, np.float32), np.empty(ASKED + 1, np.int32)
    nodes, chances = np.empty(output.left.size + 1, np.int32), np.empty(output.left.size + 1, np.float32)
    products, quick = np.empty(output.left.size + 1, np.float64), top_k == 1 and output.loss == HIERARCHICAL
    for text in range(hidden.shape[0]):
        row = first + text
        found[row] = 0
        if counts[text] == 0:
            continue
        scores[:] = np.float32(0)
        for j in range(dim):
            weight = hidden[text, j]
            for i in range(outputs):
                scores[i] += output.across[j, i] * weight
        strange = False
        for i in range(outputs):
            scores[i] *= output.norms[i]
            strange |= not scores[i] < np.inf
        if strange:  # no number, or more than there are: no answer
            continue
        script = np.int64(scripts[row])
        if script < 0:
            script = np.int64(table.shape[1] - 1)
        if quick and output.deepest <= _DEEPEST:
            label = _surely_best(scores, output, nodes, products)
            if label >= 0:
                chance = _chance_of(label, scores, output, nodes)
                languages[row, 0] = table[label, script]
                probs[row, 0] = min(np.float32(math.exp(chance)), np.float32(1))
                found[row] = 1
                continue
        if output.loss == HIERARCHICAL:
            size = _search(scores, output, values, labels, nodes, chances)
        else:
            _activate(scores, output)
            size = _best(scores, values, labels)
        for last in range(size, 1, -1):  # sorts the heap, the best first
            _pop(values, labels, last)
        n = 0
        for i in range(size):
            language = table[labels[i], script]
            known = False
            for k in range(n):
                known |= languages[row, k] == language
            if not known:
                languages[row, n] = language
                probs[row, n] = min(np.float32(math.exp(values[i])), np.float32(1))
                n += 1
                if n == top_k:
                    break
        found[row] = n


@inlined
def _log(p):  # type: ignore[no-untyped-def]  # numba infers
    """A score: log(p + 1e-5), taken in float64."""
    return np.float32(math.log(np.float64(p) + _ADDED))


@inlined
def _branch(score):  # type: ignore[no-untyped-def]  # numba infers
    """The probability of a node's right branch."""
    return np.float32(1.0 / np.float64(np.float32(1) + math.exp(-score)))


@inlined
def _surely_best(scores, output, nodes, products):  # type: ignore[no-untyped-def]  # numba infers
    """The label that the search in logarithms finds best, or -1 if products do not tell: two are too close, or all too low.

    nodes, products: int32 and float64 of branches that wait, the less probable ones.
    """
    inner = output.left.size // 2 + 1  # nodes below are leaves
    best, label, close = np.float64(0), np.int64(-1), np.int64(0)
    node, product, waiting = np.int64(output.left.size - 1), np.float64(1), 0
    while True:
        if product >= best * _NEAR:
            if node >= inner:
                p = _branch(scores[node - inner])
                more, less = np.int64(output.right[node]), np.int64(output.left[node])
                right = np.float64(p) + _ADDED
                left = np.float64(np.float32(1.0 - np.float64(p))) + _ADDED
                if left > right:
                    more, less, right, left = less, more, left, right
                nodes[waiting], products[waiting] = less, product * left
                waiting += 1
                node, product = more, product * right
                continue
            if product > best:
                close, best, label = np.int64(best >= product * _NEAR), product, node
            else:
                close = np.int64(1)
        if waiting == 0:
            return label if best > _LEAST and close == 0 else np.int64(-1)
        waiting -= 1
        node, product = np.int64(nodes[waiting]), products[waiting]


@inlined
def _chance_of(label, scores, output, path):  # type: ignore[no-untyped-def]  # numba infers
    """A label's score, added up from the root as `_search` adds. path: int32 of as many as the tree is deep."""
    inner, length, node = output.left.size // 2 + 1, 0, label
    while output.parents[node] >= 0:
        path[length] = node
        length += 1
        node = np.int64(output.parents[node])
    chance = np.float32(0)
    for k in range(length - 1, -1, -1):
        p = _branch(scores[node - inner])
        child = np.int64(path[k])
        if child != output.right[node]:
            p = np.float32(1.0 - np.float64(p))
        chance = chance + _log(p)
        node = child
    return chance


@inlined
def _activate(scores, output):  # type: ignore[no-untyped-def]  # numba infers
    """Turns scores into probabilities, in place."""
    if output.loss == SOFTMAX:
        most, total = scores[0], np.float32(0)
        for i in range(scores.size):
            most = max(scores[i], most)
        for i in range(scores.size):
            scores[i] = np.float32(math.exp(np.float64(scores[i] - most)))
            total += scores[i]
        for i in range(scores.size):
            scores[i] /= total
        return
    reach = np.float32(_SIGMOID_REACH)
    for i in range(scores.size):
        x = scores[i]
        if x < -reach:
            scores[i] = 0
        elif x > reach:
            scores[i] = 1
        else:
            step = (x + reach) * np.float32(_SIGMOID_STEPS) / reach / np.float32(2)
            scores[i] = output.sigmoid[np.int64(step)]


@inlined
def _best(scores, values, labels):  # type: ignore[no-untyped-def]  # numba infers
    """Fills the heap with the best labels; how many there are."""
    size = 0
    for i in range(scores.size):
        value = _log(scores[i])
        if size == ASKED and value < values[0]:
            continue
        size = _push(values, labels, size, value, i)
        if size > ASKED:
            _pop(values, labels, size)
            size = ASKED
    return size


@inlined
def _search(scores, output, values, labels, nodes, chances):  # type: ignore[no-untyped-def]  # numba infers
    """Fills the heap with the best leaves of the tree, the left branch of a node before the right one."""
    least, right = _log(np.float32(0)), output.right
    inner = output.left.size // 2 + 1  # nodes below are leaves
    for i in range(inner - 1):
        scores[i] = _branch(scores[i])
    # nodes, chances: right branches that wait for the left ones beside them.
    node, chance, waiting, size = np.int64(output.left.size - 1), np.float32(0), 0, 0
    while True:
        if chance >= least and (size < ASKED or chance >= values[0]):
            if node >= inner:
                p = scores[node - inner]
                nodes[waiting], chances[waiting] = right[node], chance + _log(p)
                waiting += 1
                node = np.int64(output.left[node])
                chance = chance + _log(np.float32(1.0 - np.float64(p)))
                continue
            size = _push(values, labels, size, chance, node)
            if size > ASKED:
                _pop(values, labels, size)
                size = ASKED
        if waiting == 0:
            return size
        waiting -= 1
        node, chance = np.int64(nodes[waiting]), chances[waiting]


@inlined
def _push(values, labels, size, value, label):  # type: ignore[no-untyped-def]  # numba infers
    """`std::push_heap` of C++ with the least value on top; the new size."""
    _sift_up(values, labels, size, value, label)
    return size + 1


@inlined
def _sift_up(values, labels, hole, value, label):  # type: ignore[no-untyped-def]  # numba infers
    while hole > 0 and values[(hole - 1) // 2] > value:
        values[hole], labels[hole] = values[(hole - 1) // 2], labels[(hole - 1) // 2]
        hole = (hole - 1) // 2
    values[hole], labels[hole] = value, label


@inlined
def _pop(values, labels, size):  # type: ignore[no-untyped-def]  # numba infers
    """`std::pop_heap`: the least value goes to the end, what was there goes down to the bottom and up again."""
    value, label = values[size - 1], labels[size - 1]
    values[size - 1], labels[size - 1] = values[0], labels[0]
    length = size - 1
    hole, child = 0, 0
    while child < (length - 1) // 2:
        child = 2 * (child + 1)
        if values[child] > values[child - 1]:
            child -= 1
        values[hole], labels[hole] = values[child], labels[child]
        hole = child
    if length % 2 == 0 and child == (length - 2) // 2:
        child = 2 * (child + 1)
        values[hole], labels[hole] = values[child - 1], labels[child - 1]
        hole = child - 1
    _sift_up(values, labels, hole, value, label)
