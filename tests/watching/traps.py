"""Traps of other people's trainers, and what holds each: a test that fails without its handling, or a sentence.

The numbers are those of the notes in which they were found. A row that names none of the tests names the beginning of
a paragraph of ``docs/cannot-see.md``.
"""

from __future__ import annotations

from typing import NamedTuple


class Trap(NamedTuple):
    """A trap.

    Attributes:
        what: What goes wrong where nobody thinks of it.
        tests: ``FILE::FUNCTION``, below ``tests/``.
        unseen: Beginnings of paragraphs on what cannot be seen.
    """

    what: str
    tests: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()


HEARD = "watching/test_trainers_heard.py::test_"
LIFE = "watching/test_trainers_life.py::test_"
TAPS = "watching/test_taps.py::test_"
FINDER = "watching/test_finder.py::test_"

TRAPS: dict[int, Trap] = {
    1: Trap("candidate columns share one forward", (f"{HEARD}columns_are_query_document_and_negatives",)),
    2: Trap(
        "dictionaries of features hold embeddings of some columns, afterwards",
        (f"{HEARD}the_embeddings_are_those_that_the_loss_was_given",),
    ),
    3: Trap(
        "cached losses run the model without a graph, and again inside of the backward",
        (f"{HEARD}cached_chunks_are_one_batch_and_accumulated_batches_are_several",),
    ),
    4: Trap(
        "a forward without gradients can be training",
        (f"{TAPS}grad_cache_counts_the_first_pass", f"{TAPS}the_frozen_partner_is_heard"),
    ),
    5: Trap("checkpointing computes again in the backward", (f"{TAPS}a_checkpointed_tower_is_heard_once",)),
    6: Trap(
        "a setting that the installed libraries refuse with an error of their own",
        (f"{LIFE}an_exception_of_the_users_passes_and_is_written",),
    ),
    7: Trap(
        "a Matryoshka loss calls its inner one for every dimension",
        (f"{HEARD}matryoshka_is_heard_at_its_full_dimension_alone",),
        ("Dimensions of Matryoshka losses",),
    ),
    8: Trap(
        "a cached loss is wrapped already when a Matryoshka loss has it",
        (f"{HEARD}matryoshka_is_heard_at_its_full_dimension_alone",),
    ),
    9: Trap(
        "an adaptive layer's loss is called for lower layers, too",
        (f"{HEARD}an_adaptive_layer_is_heard_at_the_last_layer_alone",),
    ),
    10: Trap(
        "a loss holds the model and a guide as children",
        (
            f"{HEARD}the_model_and_a_guide_that_a_loss_holds_are_none_of_its_losses",
            f"{HEARD}a_loss_without_the_seam_is_heard_at_the_model",
        ),
    ),
    11: Trap(
        "a trainer puts the wrapped model into the loss at its first call",
        ("watching/test_trainers_same_bits.py::test_a_watch_changes_no_bit",),
    ),
    12: Trap(
        "what is set on a loss goes into its copies, or stays",
        (f"{HEARD}a_copy_is_the_users_alone", f"{LIFE}everything_comes_off"),
    ),
    13: Trap(
        "a trainer logs a loss that is no number as 0",
        (f"{HEARD}nan_that_the_trainer_logs_as_zero_is_heard_at_its_step",),
    ),
    14: Trap(
        "reading a value waits for the device",
        ("watching/test_no_wait.py::test_no_watched_step_reads_a_value",),
    ),
    15: Trap(
        "gradients are read after they were clipped",
        (
            f"{HEARD}the_norm_is_heard_before_and_after_clipping",
            f"{TAPS}the_gradient_norm_is_that_of_what_is_trained_before_any_of_it_is_clipped",
        ),
    ),
    16: Trap(
        "gradients are scaled, and steps left out",
        (f"{TAPS}a_scaled_loss_is_read_unscaled_and_steps_that_are_left_out_are_none",),
    ),
    17: Trap(
        "a forward or backward of one process alone waits for the others",
        ("recording/test_ranks.py::test_a_forward_of_ours_calls_no_other_process",),
    ),
    18: Trap(
        "each process has its own rows, and may leave a step out",
        (
            "watching/test_processes.py::test_two_processes_write_one_run_of_all_rows_and_keep_their_bits",
            "watching/test_processes.py::test_four_processes_go_on_without_those_that_leave",
        ),
        ("What several processes lose between them.",),
    ),
    19: Trap(
        "an evaluator runs in every process",
        ("watching/test_processes.py::test_a_process_that_is_not_the_first_writes_says_and_scores_nothing",),
    ),
    20: Trap(
        "vectors of an evaluation are of inference mode",
        (f"{TAPS}an_evaluation_in_inference_mode_is_not_heard",),
    ),
    21: Trap("a trainer computes the loss in evaluation, too", (f"{HEARD}an_evaluation_is_no_training",)),
    22: Trap(
        "hooks inside of compiled code never fire",
        (f"{TAPS}a_tap_inside_of_compiled_code_is_off_and_said",),
        ("Inside of compiled code.",),
    ),
    23: Trap(
        "what is compiled in place takes its hooks into the graph",
        (f"{TAPS}a_model_that_is_compiled_is_compiled_as_without_us",),
    ),
    24: Trap("blocks are compiled one by one", (f"{TAPS}a_tap_inside_of_compiled_code_is_off_and_said",)),
    25: Trap(
        "a second backward through compiled code meets buffers that were given away",
        ("watching/test_neutral.py::test_training_is_bit_for_bit_the_same",),
    ),
    26: Trap(
        "parameters and gradients lie in parts on all processes",
        ("watching/test_processes.py::test_what_lies_in_parts_is_never_read_and_keeps_its_bits",),
        ("What lies in parts on several processes", "DeepSpeed"),
    ),
    27: Trap(
        "a forward of ours draws random numbers, and changes modes and statistics",
        (
            "watching/test_reference.py::test_what_reading_disturbs_is_put_back",
            "watching/test_neutral.py::test_what_a_forward_keeps_in_buffers_is_put_back",
        ),
    ),
    28: Trap("batches of several data sets alternate", (f"{HEARD}data_sets_are_told_apart",)),
    29: Trap("rows of two micro-batches never met", (f"{TAPS}both_micro_batches_count",)),
    30: Trap("the last micro-batch is smaller", (f"{TAPS}both_micro_batches_count",)),
    31: Trap(
        "wrappers put a word before every name",
        ("watching/test_bad_input.py::test_a_path_that_names_no_module",),
    ),
    32: Trap(
        "a reentrant checkpoint with frozen inputs cuts the gradient off",
        (f"{TAPS}a_part_that_a_checkpoint_cuts_off_has_no_update",),
        ("A part that no gradient reaches",),
    ),
    33: Trap("a route is frozen and no error", (f"{HEARD}a_frozen_route_is_the_other_side",)),
    34: Trap("labels look like embeddings", (), ("Teacher vectors",)),
    35: Trap(
        "texts come without a batch axis",
        (f"{HEARD}texts_without_a_batch_axis_are_counted_by_their_embeddings",),
    ),
    36: Trap(
        "other kinds of models have trainers of the same family",
        (
            f"{LIFE}a_cross_encoder_has_its_terms_alone",
            f"{HEARD}late_interaction_is_read_as_mean_tokens_and_no_pairs_are",
        ),
        ("Cross-encoders, sparse encoders and late interaction",),
    ),
    37: Trap(
        "replicas of a model run in threads",
        ("watching/test_neutral.py::test_replicas_in_threads_are_the_programs_alone",),
        ("Inside of `DataParallel`",),
    ),
    38: Trap(
        "an exception in a forward leaves its graph alive",
        (
            f"{TAPS}what_a_failed_step_computed_is_not_kept_by_a_watch_that_ended",
            f"{TAPS}an_exception_in_a_forward_passes_and_what_comes_after_is_heard",
        ),
    ),
    39: Trap(
        "numbers that were made in half precision come as whole ones",
        (f"{HEARD}the_precision_is_the_trainers_whatever_its_outputs_say", f"{TAPS}bf16_is_heard_as_bf16"),
    ),
    40: Trap("an older interface makes its trainer inside", (f"{HEARD}the_old_fit_is_watched_by_autolog",)),
    41: Trap("the second pass of a cached loss is outside of any backward", (f"{FINDER}grad_cache",)),
    42: Trap("two optimisers step in one iteration", (f"{TAPS}two_optimizers_are_one_step",)),
    43: Trap(
        "a forward is called directly, or a call overridden",
        (f"{TAPS}a_forward_that_is_called_directly_is_heard", f"{FINDER}a_forward_that_is_called_directly_is_found"),
        ("Under `collapse-probe run`",),
    ),
    44: Trap("a loss is called with keywords alone", (f"{FINDER}a_loss_module_with_keywords_alone",)),
    45: Trap(
        "callbacks are handed a model that is no module, and foreign arguments",
        (f"{LIFE}callbacks_may_be_handed_foreign_things",),
    ),
    46: Trap(
        "a pooler or a closed gate has no gradient by design",
        (f"{FINDER}a_pooler_without_a_gradient_is_not_taken", "running/test_loops.py::test_a_gate_is_read_by_its_name"),
    ),
    47: Trap(
        "best weights are put back after the last step",
        (
            "watching/test_delivered.py::test_whose_weights_are_left_is_said",
            "watching/test_delivered.py::test_the_start_is_said_where_it_is_delivered",
        ),
    ),
    48: Trap("the loss sees other vectors than are served", (), ("Which of two vectors is served",)),
    49: Trap(
        "there is no query and no document",
        (
            f"{FINDER}views_have_roles_of_their_own_and_are_read_as_pairs",
            f"{HEARD}labelled_pairs_are_left_and_right",
            f"{HEARD}texts_with_classes_are_one_stream",
        ),
    ),
    50: Trap(
        "rows of all processes are gathered before the output",
        ("recording/test_ranks.py::test_gathered_rows_are_counted_once",),
        ("Rows that a model gathers",),
    ),
    51: Trap(
        "a query has several documents",
        (f"{TAPS}k_documents_a_query_are_told_apart_by_the_gradient",),
    ),
    52: Trap(
        "vectors of tokens come with padding",
        (f"{TAPS}tokens_are_read_as_the_mean_of_what_the_mask_keeps",),
    ),
    53: Trap(
        "a backward calls itself under a function mode",
        ("running/test_loops.py::test_a_backward_under_a_function_mode_is_one",),
    ),
    54: Trap(
        "the module of optimisers is no attribute of its package",
        ("running/test_loops.py::test_a_loop_is_watched_from_its_first_step_and_keeps_its_bits",),
    ),
}
