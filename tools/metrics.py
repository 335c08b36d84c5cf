#!/usr/bin/env python3
"""Metrics of drawn logits by scikit-learn: `pip install scikit-learn numpy`, then
`python3 tools/metrics.py > tests/data/metrics.json`."""

import json

import numpy as np
from sklearn import metrics


def calibration_error(probabilities, labels, bins=15):
    """Guo et al., arXiv 1706.04599, equation 3; bins open to the left."""
    confidence, predicted = probabilities.max(1), probabilities.argmax(1)
    error = 0.0
    for low in range(bins):
        inside = (confidence > low / bins) & (confidence <= (low + 1) / bins)
        if inside.any():
            error += abs((predicted[inside] == labels[inside]).sum() - confidence[inside].sum())
    return error / len(labels)


def case(name, seed, images, classes, noise, labels_of=None, never=None):
    random = np.random.default_rng(seed)
    labels = random.integers(0, labels_of or classes, images)
    logits = np.round(random.normal(0, 1, (images, classes)) + noise * np.eye(classes)[labels], 3)
    if never is not None:
        logits[:, never] -= 50
    logits = logits.astype(np.float32)
    exp = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    probabilities, every = exp / exp.sum(1, keepdims=True), list(range(classes))
    predicted = logits.argmax(1)
    scores = lambda average, of: [
        metric(labels, predicted, labels=of, average=average, zero_division=0)
        for metric in (metrics.precision_score, metrics.recall_score, metrics.f1_score)
    ]
    # A mean over the classes that are there, as labels or as predictions, which is scikit-learn's default.
    macro, single = scores("macro", None), scores(None, every)
    return {
        "name": name,
        "logits": logits.astype(float).round(3).tolist(),
        "labels": labels.tolist(),
        "accuracy": metrics.accuracy_score(labels, predicted),
        "top3": metrics.top_k_accuracy_score(labels, logits, k=3, labels=every),
        "calibration_error": calibration_error(probabilities, labels),
        "confusion": metrics.confusion_matrix(labels, predicted, labels=every).tolist(),
        "precision": macro[0], "recall": macro[1], "f1": macro[2],
        "class_precision": single[0].tolist(), "class_recall": single[1].tolist(), "class_f1": single[2].tolist(),
    }


print(json.dumps([
    case("ten classes", 0, 200, 10, 2.0),
    case("a class that no image has", 1, 60, 5, 1.5, labels_of=4),
    case("a class that is never predicted", 2, 60, 5, 1.5, never=2),
    case("confident and wrong", 3, 100, 10, -3.0),
    case("a class that neither an image has nor is predicted", 4, 60, 5, 1.5, labels_of=4, never=4),
]))
