"""Mechanisms that lie in the pairs, in what is scored, or in whether anything reaches the weights."""

from __future__ import annotations

from .._contract import Remedy, Threshold
from ..detectors import BY_CODE
from ..detectors._learning import CANDIDATES
from . import suspects
from ._contract import Mechanism

MEASURED = "measured on 73 failing and 27 harmless trainings of heads over frozen vectors"

FROM_ZERO = Threshold(suspects.BEGAN_AT_NOTHING, "a group that goes so many times its own size at first began at zero")

OF_DATA = (
    Mechanism(
        cause="swapped_pairs",
        title="positives and negatives have changed places",
        explains=("mismatched_pairs",),
        suspects=suspects.swapped,
        formula="The kind itself, where the first batches tell queries' negatives from other texts, and own documents "
        "not.",
        remedies=(Remedy(change={"data": "exchange the columns of positives and negatives, or the two labels"}),),
        decides="the columns exchanged, and the AUC of the first batches' own documents and negatives",
    ),
    Mechanism(
        cause="pairs_by_heart",
        title="pairs are learnt by heart, and nothing carries over to new ones",
        explains=("mismatched_pairs",),
        suspects=suspects.learnt_one_by_one,
        formula="The kind itself, where pairs are told apart once they were seen, and new ones are at chance: they are "
        "wrong, or each is of ids or words that nothing else has taught yet.",
        remedies=(
            Remedy(
                change={
                    "data": "look at ten pairs; give held-out ones, reference=heldout.jsonl: at chance, pairs are wrong"
                }
            ),
        ),
        decides="the AUC of held-out pairs: of wrong ones it stays at chance",
    ),
    Mechanism(
        cause="wrong_pairs",
        title="queries are paired with documents that are not theirs",
        explains=("mismatched_pairs",),
        suspects=suspects.wrong_pairs,
        formula="The kind itself: the first batches' pairs are at chance where held-out pairs are told apart.",
        remedies=(Remedy(change={"data": "look at ten pairs: a shifted row, a wrong column, a shuffled side"}),),
        decides="pair them again, and read the AUC of the first batches",
    ),
    Mechanism(
        cause="false_negatives",
        title="near-copies of a query's own document are its negatives",
        explains=("false_negatives", "hubness", "loss_against_retrieval", "overfitting", "forgetting"),
        suspects=suspects.false_negatives,
        formula="In the first batch a query has more near-copies of its own document than the cut.",
        thresholds={"copies": BY_CODE["CP514"].thresholds["copies"]},
        remedies=BY_CODE["CP514"].remedies,
        decides="batches without near-copies, or near-copies masked in the loss",
    ),
    Mechanism(
        cause="evaluator",
        title="the evaluator scores something else than the embeddings",
        explains=("too_good",),
        suspects=suspects.evaluator,
        formula="The kind itself, of a collection: its scores are all but perfect at every evaluation, whatever the "
        "model is.",
        remedies=(Remedy(change={"scoring": "score shuffled embeddings: what stays as good does not depend on them"}),),
        decides="the same evaluation of shuffled embeddings",
    ),
    Mechanism(
        cause="leak",
        title="the answer is in the question, or the question in the answer",
        explains=("too_good",),
        suspects=suspects.leaked,
        formula="The kind itself: nearly every own document is the first before anything is trained.",
        remedies=(Remedy(change={"data": "take the query out of its document"}),),
        decides="the same pairs without what queries and documents share word for word",
    ),
    Mechanism(
        cause="gradients_kept",
        title="gradients of earlier steps are never cleared",
        explains=("gradients_add_up",),
        suspects=suspects.itself,
        formula="The kind itself: nothing but a backward writes the gradients, and they grow.",
        remedies=BY_CODE["CP520"].remedies,
        decides="the same run with zero_grad() before every backward",
    ),
    Mechanism(
        cause="weights_overwritten",
        title="something writes the trained weights after each step",
        explains=("updates_undone", "no_learning"),
        suspects=suspects.overwritten,
        formula="The kind itself, also where nothing is learnt.",
        thresholds={"undone": BY_CODE["CP524"].thresholds["undone"]},
        remedies=BY_CODE["CP524"].remedies,
        decides="the same run without what writes them",
    ),
    Mechanism(
        cause="schedule_too_short",
        title="the schedule ends before the run",
        explains=("rate_at_zero",),
        suspects=suspects.itself,
        formula="The kind itself.",
        remedies=BY_CODE["CP522"].remedies,
        decides="the same run with a constant learning rate",
    ),
    Mechanism(
        cause="softmax_twice",
        title="the loss is given probabilities in the place of scores",
        explains=("softmax_twice", "no_learning"),
        suspects=suspects.softmax_twice,
        formula="The kind itself, also where nothing is learnt.",
        remedies=BY_CODE["CP525"].remedies,
        decides="the same run with the first softmax left out",
    ),
    Mechanism(
        cause="text_is_cut",
        title="what tells the texts apart is cut off, or never given",
        explains=("one_text",),
        suspects=suspects.one_text,
        formula="The kind itself.",
        remedies=BY_CODE["CP526"].remedies,
        decides="the same run with a larger maximum length, or without the prompt",
    ),
    Mechanism(
        cause="padding_in_vectors",
        title="padding is pooled into the texts' vectors",
        explains=("padding_pooled", "no_learning"),
        suspects=suspects.padding,
        formula="The kind itself, also where nothing is learnt.",
        remedies=BY_CODE["CP523"].remedies,
        decides="the same run with the padding masked in the pooling",
    ),
    Mechanism(
        cause="half_precision",
        title="half precision loses what training adds",
        explains=("underflow", "divergence", "scale_collapse"),
        suspects=suspects.half,
        formula="Updates are lost in groups of a half type; or a run under float16 is not finite; or vectors of "
        "float16 are zeros from the first batch on.",
        remedies=(
            Remedy(change={"model": "compute lengths, and normalise, in float32"}, reading="STREAM/norm_median"),
            Remedy(change={"optimizer": "keep weights in float32, and compute under autocast"}, reading="lost/GROUP"),
        ),
        decides="the same run in float32",
    ),
    Mechanism(
        cause="batch_dependent_vectors",
        title="a text's vector depends on the batch that it is in",
        explains=("path_mismatch",),
        suspects=suspects.of_its_batch,
        formula="The model normalises over batches, and the first of them tell pairs apart, in training mode, where "
        "the reference pairs, in evaluation mode, do not; or scored pairs have no mean, as in training mode.",
        remedies=(
            Remedy(change={"model": "normalise over dimensions, or let running statistics settle before scoring"}),
        ),
        decides="one text alone and in a batch, in the mode of scoring",
    ),
    Mechanism(
        cause="training_and_scoring_differ",
        title="what is trained is not what is scored",
        explains=("path_mismatch", "ties"),
        suspects=suspects.path,
        formula="Scored vectors equal bit for bit while weights moved; or scored vectors tie, and those of the batches "
        "do not.",
        thresholds={"tied": Threshold(0.02, "equal documents in a batch are rare (own choice)")},
        remedies=(Remedy(change={"model": "score with the module that is trained"}),),
        decides="score with the module that is trained",
    ),
    Mechanism(
        cause="nothing_left_to_learn_from",
        title="there is nothing left to learn from",
        explains=("no_learning",),
        suspects=suspects.nothing_left,
        formula="No gradient arrived, and a batch has one candidate, or the loss was 0 throughout; or the loss was the "
        "same for every batch, and its gradient rounding.",
        thresholds={"constant": Threshold(1e-5, "of the loss: float32 rounds at 1e-7, gradients read 3e-9 (measured)")},
        remedies=(
            *(one for one in BY_CODE["CP501"].remedies if one.part == CANDIDATES),
            Remedy(
                change={
                    "loss": "print it for two batches: a margin that every pair meets gives 0 for any model",
                    "data": "look at the labels: where all are one, nothing is told apart",
                    "model": "look for a layer or a factor of zeros before the embeddings",
                },
                reading="loss/total",
            ),
        ),
        decides="batches of more than one pair",
    ),
    Mechanism(
        cause="not_trained",
        title="weights that should learn do not",
        explains=(
            *("no_learning", "side_not_trained", "identity", "gate_never_opened", "gate_collapse", "delta_collapse"),
        ),
        suspects=suspects.not_trained,
        formula="Every learning rate is 0, no gradient arrived, or a group did not move by a bit.",
        remedies=(
            Remedy(
                change={
                    "optimizer": "give the optimiser the parameters, and a rate above 0",
                    "model": "look for a detached output, or a module that is frozen",
                },
                reading="update/GROUP",
            ),
        ),
        decides="put the parameters in an optimiser with a rate above 0, and look whether a gradient arrives",
    ),
    Mechanism(
        cause="steps_too_small",
        title="steps are too small to learn from",
        explains=("no_learning", "identity"),
        suspects=suspects.small_steps,
        formula="The largest group's median relative update is above 0 and below the cut; or a correction is still "
        "nothing at the end, gradients arrive, and no group that began at some length has gone as far as the cut.",
        thresholds={
            "update": Threshold(1e-5, f"{MEASURED}: 7e-5 in a whole run was none"),
            "way": Threshold(0.02, "of its own length in a whole run; corrections that learnt .1 to .5 (measured)"),
            "from_zero": FROM_ZERO,
        },
        remedies=(Remedy(change={"optimizer": "multiply the learning rate by 10, then by 100"}, reading="pairs/mrr"),),
        decides="the learning rate times 10, and times 100",
    ),
)
"""In the order in which they are asked."""
