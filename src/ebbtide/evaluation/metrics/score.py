"""The inception score of any classifier's probabilities, and its standard error."""

from __future__ import annotations

import math

import numpy as np

from ebbtide.errors import require
from ebbtide.evaluation.metrics.measured import Measured
from ebbtide.evaluation.metrics.rows import check, check_width, floats
from ebbtide.moments import MomentsSum

TOLERANCE = 1e-3
"""How far the sum of probabilities may be from 1: half precision is welcome, logits are not."""


class ClassShares:
    """Takes the class probabilities p(y|x) of examples in chunks and gives their inception score. Memory: O(classes²).

        IS = exp(E_x KL(p(y|x) ‖ p(y))),   p(y) = E_x p(y|x)

    (Salimans et al. 2016, arXiv:1606.03498), over all examples with one marginal, where the original has ten splits.
    With e = sum_y p(y|x) log p(y|x), KL = e - sum_y p(y|x) log p(y) is a linear function of the row (p(y|x), e); so the
    moments of these rows hold all that is asked, although p(y) is known only in the end.
    """

    def __init__(self, classes: int) -> None:
        require(classes >= 2, f"{classes} classes came, expected at least 2: the score asks how they differ")
        self.classes = classes
        self._sum = MomentsSum(classes + 1)

    def add(self, probabilities: np.ndarray) -> None:
        """Rows (n, classes) that sum to 1."""
        check(probabilities, "probabilities", least=0)
        check_width(probabilities, self.classes, "probabilities")
        p = floats(probabilities)
        sums = p.sum(1, keepdims=True)
        off = np.abs(sums - 1).max(initial=0.0)
        require(
            bool(off <= TOLERANCE and (p >= 0).all()),
            f"rows with sums up to {off:.3g} from 1 and a least entry of {p.min(initial=0.0):.3g} came, expected "
            "probabilities: apply a softmax to logits first",
        )
        p = p / sums
        entropy = (p * np.log(np.where(p > 0, p, 1.0))).sum(1, keepdims=True)
        self._sum.add(np.concatenate([p, entropy], axis=1))

    def score(self) -> Measured:
        """The score, and its standard error by the delta method: IS · sd(KL) / sqrt(n).

        That p(y) is estimated from the same rows does not matter to first order, since E KL is least at the true p(y).
        To second order it takes KL(estimated p(y) ‖ true p(y)) from log IS: about (classes - 1) / (2n) at most.
        """
        moments = self._sum.moments()
        marginal = moments.mean[:-1]
        # where p(y) is 0 so is each p(y|x), and 0 log 0 = 0
        weights = np.append(-np.log(np.where(marginal > 0, marginal, 1.0)), 1.0)
        score = math.exp(weights @ moments.mean)
        variance = max(weights @ moments.covariance @ weights, 0.0)
        return Measured(score, score * math.sqrt(variance / moments.count))
