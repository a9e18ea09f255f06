"""Programs of one more author, who had read what the kinds mean and not how they are judged.

Every program trains its clean twin with ``planted=False``. Kinds and causes were written down before any program ran;
where one world is named the other did not qualify, or its loss was too small to speak of. Thirteen kinds are here,
three of them twice: a gate that never opens, forgetting, nothing learnt; what is scored is not what was trained is
here three times.

Tried, and dropped or changed, since it was no honest failure or its kind was not the planted one:

- a smooth gain that is minimised by a linear map, or by weights of dimensions that are not centred: a common part of
  the queries grows (a cone, nearly), and at large rates retrieval goes to 0 by hubs (kept: weights over centred
  vectors, where rank, common share and hubs stay);
- several wordings of one question under a contrastive loss by plain gradient descent at .5: the twin falls as well;
- a piecewise gate and pooling by the mean over SciFact, a codebook under another name and a window without triplets
  over NFCorpus: two seeds do not tell them from their twins, or these gain too little;
- the bare number in the place of a tanh over MPNet: it costs .01 of SciFact and .005 in-domain, which nobody would call
  a failure.

What is not as clean as its label: the feedback over MedQuAD does harm in its twin, too (the leak is a quarter of it),
since other documents of a memory are near the right one; the twin of 24 pairs forgets as much of SciFact as they do.

Of the healthy ones rank 2, a gate of .02 at a slow rate and a margin of .15 at the rate of a larger one lost .01 to .03
against their twins, and were given faster rates; twins of the mask and of the frozen tower were made fair.
"""

from . import gates, healthy, learning, paths, texts  # noqa: F401
