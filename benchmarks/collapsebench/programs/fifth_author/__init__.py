"""Programs of a fifth author, who knew what kinds and causes mean and nothing of the rules that judge them.

Every program trains its clean twin with ``planted=False``. No label comes from what the tool says.

Tried, and dropped or changed, since it was no honest failure or its kind was not the planted one:

- a gradient penalty without its target of 1: norms stay, since Adam and the ranking balance it;
- MarginMSE, or a pointwise squared error, against a teacher's probabilities: retrieval falls to a third, but norms end
  at .4 and .5, or double (kept: a student of vectors that were dequantised twice);
- codebooks that start next to 0: parts of 12 dimensions share them out all the same (kept: codebooks of deviation 1);
- the difference of means of bounded codes, without a margin: the bound is reached, and the rank falls to .03 before;
- the logarithm of a popularity added and not taken off: worse by .03, without hubs; a prior of documents whose mean is
  free: hubs, a cone and norms of 45 at once (kept: a prior of standardised features);
- posting lists of two terms: more than half of the dimensions are dead; impacts of one level: better than their twin;
- a filter of near negatives that takes the own document, too: its loss is infinite, its gradient is finite, and nothing
  is lost (kept: the entropy of a row that was masked);
- dropped among the healthy: a third of the dimensions (costs .02 on SciFact); a projector of 16 dimensions beside none
  at all (gains .045 less); of those that are kept, the mean teacher costs .024 over SciFact's pairs, and eight views of
  a question differ too much between two seeds over MedQuAD with MiniLM.

Where one world is named the other did not qualify. Not planted a second time: every kind but complete collapse and
divergence has one program.
"""

from . import geometry, healthy, numbers, scales  # noqa: F401
