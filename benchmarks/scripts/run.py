"""Training scripts by a stranger's hand, each under ``collapse-probe run``, and what is said of them.

    python benchmarks/scripts/run.py --out DIR [--round 1|2|3] [NAME ...]

Programs run one after the other, each in a process of its own; one that has a verdict in DIR is not run again. Prints
a Markdown table. A round takes up to an hour of one core. Not run by CI: it needs texts that are not in the repository.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.append(str(HERE.parent))

from _common import SHARED, table  # noqa: E402

#: The programs of each round by their names; names of the later rounds begin with h2 and p2, h3 and p3.
FOLDERS = ("programs", "second", "third")
ROUNDS = [{path.stem: path for path in sorted((HERE / folder).glob("[hp]*.py"))} for folder in FOLDERS]
PROGRAMS = {name: path for one in ROUNDS for name, path in one.items()}

#: What is planted into programs that do not say it themselves.
PLANTED = {name: one["planted"] for name, one in json.loads((HERE / "third/planted.json").read_text()).items()}

#: Causes of which one must be named first; none where no cause says what is planted. A program not here is healthy.
EXPECTED = {
    "p01_trainer_class_lr_x1000": ("steps_too_large",),
    "p01b_gru_lr_x1000": ("steps_too_large",),
    "p02_bf16_accum_lr30_nowarmup": ("steps_too_large",),
    "p03_recsys_adam_weight_decay_1": ("penalty_too_strong",),
    "p04_moco_temperature_001": ("temperature_or_margin",),
    "p05_hf_trainer_temperature_10": ("temperature_or_margin",),
    "p06_st_mnrl_shuffled": ("wrong_pairs",),
    "p07_gru_off_by_one": ("wrong_pairs",),
    "p08_st_triplet_swapped": ("swapped_pairs",),
    "p09_st_cosent_labels_inverted": ("swapped_pairs",),
    "p10_dpr_detached_ctx": ("not_trained",),
    "p11_half_not_in_optimizer": ("not_trained",),
    "p12_hf_scheduler_zero_at_5_percent": ("schedule_too_short",),
    "p13_minilm_pooling_mask_inverted": ("padding_in_vectors",),
    "p14_cosine_embedding_no_negatives": ("no_repulsion",),
    "p15_cached_mnrl_every_doc_four_times": ("false_negatives",),
    "p16_supcon_no_zero_grad": ("gradients_kept",),
    "p17_loss_before_normalisation_hard_negatives": ("temperature_or_margin",),
    "p18_batch_mean_subtracted": ("batch_dependent_vectors",),
    "p19_st_matryoshka_frozen": ("not_trained",),
    "p20_hf_forgetting_large_lr": ("steps_too_large",),
    "p21_arcface_dead_relu": ("dead_units", "steps_too_large"),
    "p22_last_token_right_padding": ("padding_in_vectors",),
    "p2_01_simsiam_stopgrad_missing": ("no_repulsion",),
    "p2_02_vicreg_without_variance": ("no_repulsion",),
    "p2_03_uniformity_sign": ("no_repulsion",),
    "p2_04_byol_ema_wrong_way": ("weights_overwritten",),
    "p2_05_clip_scale_not_exponentiated": ("temperature_or_margin",),
    "p2_06_bprmax_norm_penalty_sign": ("loss_without_floor",),
    "p2_07_transe_margin_direction": ("swapped_pairs", "loss_computed_wrongly"),
    "p2_08_softmax_wrong_axis": ("loss_computed_wrongly", "temperature_or_margin"),
    "p2_09_simcse_eval_mode": (),
    "p2_10_xbm_labels_offset": ("wrong_pairs",),
    "p2_11_peft_optimizer_before_lora": ("not_trained",),
    "p2_12_lightning_batch_of_one": ("nothing_left_to_learn_from",),
    "p2_13_hf_trainer_max_length_4": (),
    "p2_14_fp16_norm_overflow": ("half_precision",),
    "p2_15_pml_labels_interleaved": ("wrong_pairs",),
    "p2_16_gradcache_chunks_reversed": ("wrong_pairs",),
    "p3_01_distil_hashed_student": ("wrong_pairs",),
    "p3_02_matryoshka_st_trainer": ("steps_too_large",),
    "p3_03_hf_trainer_siamese": ("wrong_pairs",),
    "p3_04_moco_queue_views": ("not_trained",),
    "p3_05_history_bpr_recsys": ("swapped_pairs", "loss_computed_wrongly"),
    "p3_06_graph_linkpred": ("leak",),
    "p3_07_minilm_lowmem": ("half_precision",),
    "p3_08_sketch_photo_convnet": ("batch_dependent_vectors", "training_and_scoring_differ"),
    "p3_09_product_triplets": ("false_negatives", "wrong_pairs"),
    "p3_10_accumulating_subword_dual": ("schedule_too_short",),
    "p3_11_session_attention_ce": ("softmax_twice",),
    "p3_12_adapter_multitask": ("penalty_too_strong",),
    "p3_13_lbfgs_linear_map": ("gradients_kept",),
    "p3_14_instructed_accelerate": ("text_is_cut",),
}
HEADERS = ("program", "planted", "held-out", "status", "kinds", "first cause", "do", "right")


def environment() -> dict[str, str]:
    """Return the environment of a program: this checkout first, one thread, nothing from the network."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    ours = {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    return {"COLLAPSE_PROBE_SHARED": str(SHARED), **os.environ, **ours}


def train(name: str, out: Path, limit: float) -> None:
    """Run a program, and leave its verdict as `NAME.json`; none where it failed or ran past `limit` seconds."""
    run, errors = out / "runs" / name, out / f"{name}.err"
    ours = [sys.executable, "-m", "collapse_probe"]
    # A run without a verdict stays in its folder: the next one stands beside it.
    number = 1 + len(list(run.glob("*"))) if run.exists() else 1
    folder = run / str(number)
    with errors.open("w") as err, (out / f"{name}.out").open("w") as said:
        command = [*ours, "run", "--run", str(folder), str(PROGRAMS[name])]
        try:
            code = subprocess.run(
                command, cwd=out, env=environment(), stdout=said, stderr=err, timeout=limit
            ).returncode
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"took more than {limit:g} s; give a larger --limit") from None
    if code:
        raise RuntimeError(f"ended with exit code {code}; see {errors}")
    done = subprocess.run([*ours, "diagnose", str(folder), "--json"], env=environment(), capture_output=True, text=True)
    if not done.stdout.startswith("{"):
        raise RuntimeError(f"left no run to judge; see {errors}")
    (out / f"{name}.json").write_text(done.stdout)


def right(name: str, verdict: dict[str, Any]) -> str:
    """Return whether a verdict is right, half (not measured; a right cause that is not the first) or wrong."""
    status, causes = verdict["status"], [one["cause"] for one in verdict["causes"]]
    if name not in EXPECTED:
        return {"healthy": "right", "not measured": "half"}.get(status, "wrong")
    if status == "healthy" or not set(causes) & set(EXPECTED[name]):
        return "wrong"
    return "right" if causes[0] in EXPECTED[name] and status != "not measured" else "half"


def row(name: str, out: Path) -> list[str]:
    """Return a program's row."""
    verdict = json.loads((out / f"{name}.json").read_text())
    held = re.findall(r"^HELDOUT \S+ \S+ (\S+)", (out / f"{name}.err").read_text(), re.MULTILINE)
    said = ast.get_docstring(ast.parse(PROGRAMS[name].read_text())) or ""
    do = re.search(r"^Do +(.*(?:\n +.*)*)", verdict["summary"], re.MULTILINE)
    kinds = dict.fromkeys(one["kind"] for one in verdict["kinds"])
    return [
        name,
        PLANTED.get(name, said.partition("Planted: ")[2].rstrip(".")).replace("|", "\\|") or "nothing",
        " -> ".join(held),
        verdict["status"],
        ", ".join(kinds) or "-",
        verdict["causes"][0]["cause"] if verdict["causes"] else "-",
        re.split(r"[;,]", " ".join(do.group(1).split()))[0] if do else "-",
        right(name, verdict),
    ]


def main() -> None:
    """Run the programs and print what is said of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="programs, or how their names begin; all if none")
    parser.add_argument("--round", type=int, choices=(1, 2, 3), help="programs of one round alone")
    parser.add_argument("--out", type=Path, required=True, help="folder of runs and verdicts; those in it are kept")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds for each (600)")
    arguments = parser.parse_args()
    every = sorted(ROUNDS[arguments.round - 1] if arguments.round else PROGRAMS)
    for name in arguments.names:
        if not any(one.startswith(name) for one in every):
            parser.error(f"no program begins with {name!r}; there are {', '.join(every)}")
    out = arguments.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for name in every:
        if arguments.names and not name.startswith(tuple(arguments.names)):
            continue
        try:
            if not (out / f"{name}.json").exists():
                print(name, file=sys.stderr, flush=True)
                train(name, out, arguments.limit)
            rows.append(row(name, out))
        except RuntimeError as error:
            rows.append([name, *["-"] * 2, "no verdict", *["-"] * 3, str(error)])
    print(table(HEADERS, rows))
    for letter, title in (("h", "healthy"), ("p", "planted")):
        verdicts = [one[-1] for one in rows if one[0].startswith(letter)]
        if verdicts:
            counts = ", ".join(f"{verdicts.count(kind)} {kind}" for kind in ("right", "half", "wrong"))
            print(f"\n{title}: {counts} of {len(verdicts)}")


if __name__ == "__main__":
    main()
