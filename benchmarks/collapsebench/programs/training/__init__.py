"""Trainings that people write out themselves, each with the mistake that is planted and a twin without it.

Every program has an argument ``planted``; with False it is the same training done right, or of a control the same
training without what alarms. They watch with what a user would give: often the model and the optimiser alone.

Every kind has one failure here. What was tried over frozen vectors and is no honest failure:

- a learning rate of .1 to .3 as dead units: a fifth of a rectified head's units die, not a third; a sparsity term does;
- a popularity correction with the wrong sign as hubness: neither worse than its twin nor more hubs;
- a hundredfold rate of one tower as one-sided collapse: both towers lose the same rank and share;
- ridge regression of queries on documents as hubness alone: the hubs come with a one-sided collapse of the queries;
- noise, or 256 fixed documents, as the only negatives: between a cone and health, without more hubs;
- a number in both texts as a leak: the head learns the texts beside it; and a leak that changes the user's check alone;
- running statistics that never move (facenet#56): a linear head after them makes the two modes rank nearly alike;
- float16 weights with small steps: twins in float32 at that rate learn nothing either.

Not planted: several processes, tokenisers and truncation (there is no text here), memorised documents by themselves.
"""

from . import corrections, geometry, healthy, learning  # noqa: F401
