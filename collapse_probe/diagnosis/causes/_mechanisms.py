"""Every mechanism, in the order in which they are asked: what would look like a later one stands before it."""

from __future__ import annotations

from dataclasses import replace

from .._contract import Remedy, Threshold
from ..detectors import BY_CODE
from ..detectors._geometry import PUSH
from ..detectors._temperature import LOUD
from . import suspects
from ._contract import Mechanism
from ._of_data import FROM_ZERO, MEASURED, OF_DATA
from ._penalties import DECAY, OF_CORRECTIONS, leak, penalty

_GEOMETRY = ("one_sided_collapse", "complete_collapse", "cone", "dead_dimensions", "dimensional_collapse")
_COLLAPSES = (*_GEOMETRY, "scale_collapse", "scale_explosion")
_FALLS = (*_COLLAPSES, "saturation", "hubness", "loss_against_retrieval", "harmful_correction", "side_gap")

_NO_REPULSION = Mechanism(
    cause="no_repulsion",
    title="nothing pushes different texts apart",
    explains=_FALLS,
    suspects=suspects.no_push,
    formula="The loss's descent does not move the five nearest others of the batch apart, on unit vectors, in the "
    "last readings, nor all rows. A push from outside the batch, such as a queue, is not seen.",
    thresholds={
        "push": Threshold(0.02, f"{MEASURED}: an in-batch softmax .01 to .4, what only pulls below -.02"),
        "all": Threshold(0.05, "a softmax of cosines x .05 spreads all rows by .08 to .15 (measured)"),
    },
    remedies=PUSH,
    decides="add a contrastive term, or take the pulling one away",
)

MECHANISMS = (
    *OF_DATA,
    Mechanism(
        cause="penalty_too_strong",
        title="a penalty is stronger than what it should hold",
        explains=(*OF_CORRECTIONS, *_COLLAPSES),
        suspects=penalty,
        formula="Rate x weight decay x steps of a group is above the cut, and decay is more of the first updates than "
        "the cut; or in the first steps a term that is more "
        "than half of the force, or the whole loss, does nearly nothing but shrink; of a correction or a gate: there, "
        "or a term on weights alone was more than half of the loss and fell by half. Of a scale that collapses: a term "
        "that is nearly all of the force shrinks from first to last, beside one that pulls pairs.",
        thresholds={
            "decay": Threshold(0.5, f"{MEASURED}: 3 to 16 in the failures, usually .005"),
            "of updates": Threshold(0.05, "1.0 under a decay of 60, .0005 to .02 under AdamW's own .01 (measured)"),
            "radial": Threshold(-0.7, MEASURED),
            "at_correction": Threshold(
                -0.5, "the same at a correction, whose rows differ in length: a squared norm reads -.70 (measured)"
            ),
            "share": Threshold(0.5, "more than all other terms together; .92 to .97 in three planted failures"),
            "drowns": Threshold(0.9, "of the force, which leaves a term that pulls pairs next to none (own choice)"),
            "shrinks": Threshold(-0.3, "of such a term: much of its force, from first to last (own choice)"),
            "pull": Threshold(-0.1, "what trains pairs pulls them, by -.1 to -.9 (own choice)"),
            "draws": Threshold(-0.2, "a squared norm draws no near rows together, push 0; a loss that does is none"),
        },
        remedies=(
            Remedy(change={"optimizer": "lower the weight decay"}, part=DECAY),
            Remedy(change={"loss": "lower the penalty's weight"}),
        ),
        decides="the penalty times 0",
    ),
    Mechanism(
        cause="loss_computed_wrongly",
        title="the loss drives own pairs apart",
        explains=_FALLS,
        suspects=suspects.drives_apart,
        formula="In the first 20 steps the loss's descent moves each query away from its own document, on unit "
        "vectors, and not from near others, or to the end, and the batch's pairs are told apart: a sign, an axis, a "
        "column or a row of the loss is another's.",
        thresholds={
            "pull": Threshold(0.1, "what trains pairs pulls them, by -.1 to -.9 (own choice)"),
            "push": Threshold(0.02, f"{MEASURED}, as of no repulsion"),
            "auc": Threshold(0.65, "pairs that belong together, be they hard (own choice)"),
            "whole": Threshold(1.0, "a step as long as the weights leaves nothing of them"),
        },
        remedies=(
            Remedy(
                change={"loss": "print its scores for one batch: which column is the own document's, and which sign?"},
                reading="pairs/pull",
            ),
        ),
        decides="the same loss from a reference implementation, on one batch",
    ),
    Mechanism(
        cause="loss_without_floor",
        title="the loss falls without end: it rewards length",
        explains=("scale_explosion", "one_sided_collapse", "complete_collapse", "cone", "dimensional_collapse"),
        suspects=suspects.no_floor,
        formula="The loss ends below 0 by more than the cut times what it began with, and norms grew with it.",
        thresholds={
            "below": Threshold(100.0, "of the first loss, or of 1; bounded losses end above -2 of it (own choice)"),
            "norm": Threshold(4.0, f"{MEASURED}, as of scale explosion"),
        },
        remedies=(Remedy(change={"loss": "turn the sign of the term on lengths: a penalty is added to a loss"}),),
        decides="the same loss without its term on lengths",
    ),
    Mechanism(
        cause="no_scale_anchor",
        title="nothing holds the scale",
        explains=("scale_collapse", "scale_explosion", "dimensional_collapse"),
        suspects=suspects.no_anchor,
        formula="Norms changed by more than the cut, and the loss followed them as a power at all readings; or they "
        "grew, and the loss's descent still makes them grow in the last readings.",
        thresholds={
            "norm": Threshold(4.0, f"{MEASURED}, as of scale explosion"),
            "degree": Threshold(0.7, "an L1 loss has degree 1, a squared error 2, a cosine 0"),
            "outward": Threshold(0.05, "under a cosine it is 0, whatever size the steps have (own choice)"),
        },
        remedies=(
            Remedy(change={"normalise": True}),
            Remedy(change={"model": "give embeddings unit length", "loss": "or add a term that anchors their scale"}),
        ),
        decides="unit length, or an anchored term",
    ),
    Mechanism(
        cause="self_distillation",
        title="the teacher learns from its student",
        explains=_COLLAPSES,
        suspects=suspects.own_teacher,
        formula="Nothing pushes different texts apart, and a gradient arrives at a stream of a module that is called a "
        "teacher, a target, slow or a moving average.",
        thresholds=_NO_REPULSION.thresholds,
        remedies=(
            Remedy(
                change={
                    "model": "copy the teacher deeply, and keep it out of the optimiser",
                    "loss": "detach the teacher's output",
                }
            ),
        ),
        decides="the teacher as a deep copy, its output detached",
    ),
    replace(
        _NO_REPULSION,
        suspects=suspects.never_pushes,
        formula="The loss's descent moves the five nearest others of the batch apart neither in the first 20 steps nor "
        "in the last readings, on unit vectors: then no size of steps is to blame.",
    ),
    Mechanism(
        cause="penalty_leak",
        title="a penalty reaches what it was not meant for",
        explains=_FALLS,
        suspects=leak,
        formula="In the first steps a term that holds a correction, and does nearly nothing but shrink it, "
        "has more than the cut of the force at the embeddings, too. Of a shared module its embeddings are asked.",
        thresholds={
            "share": Threshold(0.3, "of its force on the shared module (design)"),
            "holds": Threshold(0.5, "more than all other terms together at the correction"),
            "radial": Threshold(-0.7, f"{MEASURED}, as of a penalty too strong"),
        },
        remedies=(
            Remedy(change={"detach_delta": True}),
            Remedy(change={"model": "detach the input of what the penalty is about"}),
        ),
        decides="the input of what the penalty is about, detached",
    ),
    Mechanism(
        cause="steps_too_large",
        title="steps are too large",
        explains=(*_FALLS, "forgetting", "divergence", "gate_collapse", "delta_collapse"),
        suspects=suspects.large_steps,
        formula="A group's relative update is above the cut in one of the first 20 steps, or above ten times the "
        "median of its own past, or in half of all steps; of a group that begins at zero, the first step is longer "
        "than 1. Or the first step is above a smaller cut, and the loss jumps up after it. Or all groups of a "
        "pretrained model that moved are farther than a cut from where they began.",
        thresholds={
            "early": Threshold(0.1, f"{MEASURED}: .19 to 7.8; at most .10 in the rest"),
            "times": Threshold(10.0, MEASURED),
            "lasting": Threshold(
                0.02, "a rate without an end to its warm-up .04; in healthy runs up to .017 (measured)"
            ),
            "least": Threshold(0.02, "a leap from nothing to little is none (own choice)"),
            "jump": Threshold(1.5, "of the first batch's loss: 1.8 in the next 19 steps of a failure (measured)"),
            "overshoots": Threshold(0.01, "of weights that were trained before: .023 in that failure (measured)"),
            "from_zero": FROM_ZERO,
            "way": Threshold(0.3, "of their own length: .42 and .93 in a model that forgot all (own choice)"),
        },
        remedies=(
            Remedy(change={"learning_rate": 1e-4}),
            Remedy(change={"optimizer": "divide the learning rate by 10, or warm it up"}),
        ),
        decides="the learning rate divided by 10",
    ),
    Mechanism(
        cause="loss_computed_wrongly",
        title="the loss does not pull own pairs together",
        explains=("no_learning",),
        suspects=suspects.never_pulls,
        formula="Gradients arrive, and over all readings the loss's descent does not move queries towards their own "
        "documents: an axis, a column or a mask of the loss is another's.",
        thresholds={"pull": Threshold(-0.05, "what trains pairs pulls them, by -.1 to -.9 (own choice)")},
        remedies=(
            Remedy(
                change={"loss": "print its scores for one batch: along which axis are the own documents'?"},
                reading="pairs/pull",
            ),
        ),
        decides="the same loss from a reference implementation, on one batch",
    ),
    Mechanism(
        cause="loss_computed_wrongly",
        title="the loss's own gradient is no number",
        explains=("divergence",),
        suspects=suspects.inside_the_loss,
        formula="At the first step that is not finite the gradient is none, while embeddings are finite and of their "
        "usual size, and the gradients before were: a root of 0, a logarithm of 0, a division by a norm of 0.",
        thresholds={"grew": Threshold(10.0, "a run that diverges by its steps grows first (own choice)")},
        remedies=(
            Remedy(
                change={
                    "loss": "add a constant under the root or the logarithm, or mask entries of distance 0",
                    "data": "look for two equal texts in that batch",
                },
                reading="gradient/norm",
            ),
        ),
        decides="the same loss from a reference implementation, on the batch of that step",
    ),
    Mechanism(
        cause="dead_units",
        title="units that never fire",
        explains=("dead_dimensions", "constant_correction"),
        suspects=suspects.dead,
        formula="The kind itself, where neither steps nor a penalty explain it; of a correction that is constant, the "
        "share of its dimensions that are dead is above the cut, and a group moves little beside another.",
        thresholds={
            "dead": Threshold(0.3, f"{MEASURED}, as of dead dimensions"),
            "beside": Threshold(0.1, "the same where every row gets one vector, of what still learns (own choice)"),
            "all": Threshold(0.99, "one vector for every row of every batch, whatever it is (own choice)"),
            "behind": Threshold(
                0.02, "what lies behind units that never fire moves by weight decay alone (own choice)"
            ),
        },
        remedies=(
            Remedy(change={"projection": "linear"}),
            Remedy(change={"model": "look at the last layer: a rectifier and its bias"}),
        ),
        decides="the last layer without its rectifier, or with a bias of 0",
    ),
    Mechanism(
        cause="temperature_or_margin",
        title="the temperature, a margin or a bias is off",
        explains=(*_FALLS, "no_learning", "cold_softmax"),
        suspects=suspects.temperature,
        formula="The kind itself, of a saturated softmax; or the loss began above the cut times log n and ended at "
        "log n, as a softmax of scores that were too far apart. The loss stays near log n, its value by chance, while "
        "the batch's pairs are told apart: the temperature is too high. Or its descent spreads all rows alike and not "
        "the nearest; or in the first 20 steps it moves own pairs apart with all others, or fewer rows than the cut "
        "teach; of saturation, weights hardly moved, and embeddings reached a bound that they were far from, or were "
        "at it before the first step and retrieved no worse than the raw encoder.",
        thresholds={
            "loud": Threshold(6.0, "as of a softmax that is saturated"),
            **{name: BY_CODE["CP518"].thresholds[name] for name in ("spreads", "varies")},
            "at chance": Threshold(0.2, "a softmax of equal scores, but for a few further candidates (own choice)"),
            "share": Threshold(0.9, MEASURED),
            "auc": Threshold(0.9, MEASURED),
            "apart": Threshold(0.1, "a sigmoid over all pairs without its bias: pull +.32, push +.15 (measured)"),
            "all": Threshold(0.05, "as of no repulsion"),
            "near": Threshold(0.02, "as of no repulsion"),
            "turns": Threshold(0.1, "radial of what turns embeddings and does not stretch them (own choice)"),
            "teaching": Threshold(0.05, f"{MEASURED}; .13 at a healthy temperature of .01"),
            "way": Threshold(suspects.OWN_LENGTH, "weights that moved less do not multiply what they give by 10"),
            "open": Threshold(suspects.FAR_FROM_BOUND, "pass-through of embeddings far from a bound (own choice)"),
            "rows": Threshold(32, "rows of a batch below which a single one is more (own choice)"),
        },
        remedies=(
            Remedy(change={"temperature": 0.05}),
            *(replace(one, part=LOUD) for one in BY_CODE["CP518"].remedies if "loss" in one.change),
            Remedy(change={"loss": "lower the temperature: multiply cosines by 20; give a sigmoid a bias of -10"}),
        ),
        decides="the temperature x 2 and x .5",
    ),
    _NO_REPULSION,
    Mechanism(
        cause="too_few_pairs",
        title="too few pairs",
        explains=("overfitting", "forgetting"),
        suspects=suspects.few,
        formula="There are fewer distinct training examples than the cut, and each was seen at least twice.",
        thresholds={
            "examples": Threshold(1000, "96 pairs cost SciFact .07 (measured); own choice"),
            "epochs": Threshold(2, "what was seen once is not learnt by heart (own choice)"),
        },
        remedies=(Remedy(change={"data": "train on more pairs", "optimizer": "take fewer or smaller steps"}),),
        decides="the same number of steps on ten times the pairs",
    ),
    Mechanism(
        cause="memorised_documents",
        title="the training documents are learnt by heart",
        explains=("overfitting",),
        suspects=suspects.by_heart,
        formula="The kind itself, where pairs are not too few: batches gain, and pairs that are held out do not.",
        remedies=(
            Remedy(change={"optimizer": "stop earlier, or take smaller steps", "data": "train on other documents"}),
        ),
        decides="retrieval on queries whose documents were not trained on",
    ),
    Mechanism(
        cause="random_head",
        title="a head of random weights over an encoder that was good",
        explains=("forgetting", "saturation", "loss_against_retrieval", "harmful_correction", "dimensional_collapse"),
        suspects=suspects.random_head,
        formula="Step 0 is below the raw encoder, resolved, and keeps less than the cut of each document's neighbours; "
        "of saturation, it was there before the first step. Of a collapse of rank: that too, and nothing was lost "
        "since; of a correction that harms, it began at half the length of what it corrects, or longer.",
        thresholds={"overlap": Threshold(0.8, f"{MEASURED}; true of every random head, so asked last")},
        remedies=(
            Remedy(change={"projection": "linear"}),
            Remedy(change={"model": "let the head start at the identity, or leave it out"}),
        ),
        decides="a head that starts at the identity",
        before_training=True,
    ),
    Mechanism(
        cause="narrow_data",
        title="the training pairs are of one domain",
        explains=("forgetting",),
        suspects=suspects.narrow,
        formula="The trained domain rises, resolved, or does not fall, while another falls, and nothing else explains "
        "it.",
        remedies=(
            Remedy(
                change={
                    "optimizer": "take smaller steps",
                    "data": "mix in pairs of other domains",
                    "model": "interpolate back towards the raw encoder",
                }
            ),
        ),
        decides="mixed data, or an interpolation of the weights",
    ),
)
"""Every mechanism: ``explain`` and the table of causes are made from it."""
