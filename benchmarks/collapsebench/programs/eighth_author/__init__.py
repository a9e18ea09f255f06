"""Programs of an eighth author, who had read what the kinds mean and what users report, not how anything is judged.

Trainings over frozen vectors, failing ones with one mistake each and healthy ones that look alarming. Every program
trains its clean twin with ``planted=False``; that of a healthy one may have another rate, so that both learn. Kinds and
causes were written down before any program ran. The machine was shared: labels rest on one seed or three, as each says.

Labels that were changed when the geometry was seen, by the table of section 3:

- a deviation along the other axis: own share at a fifth to a quarter of raw, and centring restores it: cone (complete);
- a teacher that is not sharpened: own share above a tenth, rank at a tenth, centring restores nothing: dimensional
  collapse (complete);
- a weight that falls below nought: own share at a fifth, rank at a tenth, centring restores most: cone, for which
  nothing pushes apart, either (loss against retrieval);
- a residual to sums over tokens: the query's rank at a tenth, the document's untouched: one-sided (harmful correction).

Rates, weights, lengths and worlds of a dozen were changed so that what was planted happens at all, that the twin is
well, or to save time. Half of the probabilities' program was wrong at first: NaN stood in a term without gradient.

Tried, and dropped, since it was no honest failure:

- nested sizes without the largest: in-domain .03 above the encoder, and better than its twin outside;
- a batch of eight right documents of each query: a softmax and a hinge over the hardest lose nothing in-domain;
- the divergence of a variational head from its prior, at 1 and 20: norms grow under a dot product, no kind fits;
- words of a table that is trained on lower case, served with capitals: .02 below the twin, not resolved;
- over NFCorpus, labels that nobody reads, which the run bears; over MedQuAD, correlations without the one, where rank
  falls to a fifteenth and the kind is another.

What is less clean than its label: squared logits end at .4 of the norm, nearest to the cut of a scale collapse but not
past it; a quantile that is taken for a threshold leaves in-domain where it was, and most of what it lacks is the twin's
gain; a rate that falls by batches has learnt .01 in its first three steps; probabilities, rows and angles that are not
finite are found at their first step by any look at the loss; a share of its own length shows in-domain late.
"""

from . import (  # noqa: F401
    collapses,
    corrections,
    geometry,
    healthy_losses,
    healthy_rates,
    healthy_vectors,
    learning,
    losses,
    paths,
)
