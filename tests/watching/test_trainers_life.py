"""How a watch on a trainer begins and ends, and what it leaves behind."""

from __future__ import annotations

import subprocess
import sys
import warnings
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from sentence_transformers.cross_encoder import CrossEncoder, CrossEncoderTrainer, CrossEncoderTrainingArguments
from sentence_transformers.cross_encoder import losses as cross_losses
from sentence_transformers.sentence_transformer import losses
from transformers import TrainerCallback
from watching.trainers_support import best_weights, encoder, hf_trainer, pairs, search, st_trainer

from collapse_probe.diagnosis import diagnose
from collapse_probe.errors import InputError
from collapse_probe.journal import Event, JournalWriter, Run
from collapse_probe.watching import WatchCallback, autolog, watch


@pytest.fixture(autouse=True)
def _strict(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COLLAPSE_PROBE_STRICT", "1")
    monkeypatch.chdir(tmp_path)


def make(bert: Path, folder: Path, **options: Any) -> Any:
    """Return a trainer with the softmax loss."""
    model = encoder(bert)
    return st_trainer(model, losses.MultipleNegativesRankingLoss(model), folder / "out", **options)


def _everything(trainer: Any) -> dict[str, Any]:
    """Return what could have been left behind: instance attributes, hooks and callbacks."""
    loss = getattr(trainer, "loss", None)
    roots = [one for one in (trainer.model, loss) if one is not None]
    modules = list(dict.fromkeys(module for root in roots for module in root.modules()))
    evaluator = getattr(trainer, "evaluator", None)
    objects = [trainer, trainer.accelerator, *modules, *([evaluator] if evaluator else [])]
    return {
        "methods": [sorted(key for key, v in vars(one).items() if callable(v)) for one in objects],
        "hooks": [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in modules],
        "callbacks": [type(one).__name__ for one in trainer.callback_handler.callbacks],
        "process": (len(torch.nn.modules.module._global_forward_hooks), torch.nn.utils.clip_grad_norm_),
    }


@pytest.mark.parametrize("kind", ["sentence-transformers", "transformers"])
@pytest.mark.parametrize("fails", [False, True])
def test_everything_comes_off(kind: str, fails: bool, bert: Path, tmp_path: Path) -> None:
    class Breaking(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if fails and state.global_step == 3:
                raise KeyboardInterrupt

    trainer = (
        hf_trainer(tmp_path, steps=5) if kind == "transformers" else make(bert, tmp_path, steps=5, evaluator=search())
    )
    trainer.add_callback(Breaking())
    before = _everything(trainer)
    watching = watch(trainer, run="runs/mine")
    assert _everything(trainer) != before
    if fails:
        with pytest.raises(KeyboardInterrupt):
            trainer.train()
    else:
        trainer.train()
    del trainer.model_wrapped
    trainer.model_wrapped = trainer.model
    after = _everything(trainer)
    # What says that a further training is not watched stays, and does nothing else.
    assert after["callbacks"].pop() == "Ended"
    for name in ("hooks", "callbacks", "process"):
        assert after[name] == before[name], name
    assert all(not {"train", "evaluate", "compute_loss", "embed_inputs"} & set(names) for names in after["methods"])
    run = Run.load(watching.run)
    assert run.status == ("interrupted" if fails else "completed")
    assert watching.recorder.done == (3 if fails else 5)


def test_an_exception_of_the_users_passes_and_is_written(bert: Path, tmp_path: Path) -> None:
    class Failing(losses.MultipleNegativesRankingLoss):
        def forward(self, features: Any, labels: Any) -> Any:
            raise RuntimeError("mine")

    model = encoder(bert)
    trainer = st_trainer(model, Failing(model), tmp_path / "out")
    watching = watch(trainer, run="runs/mine")
    with pytest.raises(RuntimeError, match="mine"):
        trainer.train()
    assert Run.load(watching.run).status == "failed"
    assert watching.closed


def test_a_folder_is_chosen_at_once_and_never_written_into_twice(bert: Path, tmp_path: Path) -> None:
    first, second = make(bert, tmp_path, steps=2), make(bert, tmp_path, steps=2)
    one = watch(first, run="runs/mine")
    assert one.run == Path("runs/mine").absolute()
    first.train()
    two = watch(second, run="runs/mine")
    second.train()
    assert two.run == Path("runs/mine-2").absolute()
    assert len(Run.load(one.run).series("loss/total").values) == 2


def test_a_resumed_training_goes_on_in_the_given_journal(bert: Path, tmp_path: Path) -> None:
    saving = {"save_strategy": "steps", "save_steps": 4, "steps": 8}
    whole = make(bert, tmp_path, **saving)
    watch(whole, run="runs/whole")
    whole.train()
    first = list(Run.load("runs/whole").series("loss/total").values)
    again = make(bert, tmp_path, **saving)
    watching = watch(again, run="runs/whole")
    again.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-4"))
    assert watching.run == Path("runs/whole").absolute()
    run = Run.load("runs/whole")
    assert [one.step for one in run.of(Event) if one.name == "resumed"] == [4]
    series = run.series("loss/total")
    assert list(series.steps) == list(range(1, 9))
    assert list(series.values) == first


def test_a_resumed_training_never_goes_on_in_the_journal_of_another(bert: Path, tmp_path: Path) -> None:
    """Bug: of several trainings of one program the first one's journal was cut and written on."""
    saving = {"save_strategy": "steps", "save_steps": 2, "steps": 6}
    for name, steps in (("one", 6), ("two", 4)):
        trainer = make(bert, tmp_path / name, **{**saving, "steps": steps})
        watch(trainer, run="runs/mine")
        trainer.train()
    again = make(bert, tmp_path / "two", **saving)
    watching = watch(again, run="runs/mine")
    again.train(resume_from_checkpoint=str(tmp_path / "two" / "out" / "checkpoint-4"))
    assert watching.run == Path("runs/mine-2").absolute()
    for name, resumed in (("mine", []), ("mine-2", [4])):
        run = Run.load(f"runs/{name}")
        assert [one.step for one in run.of(Event) if one.name == "resumed"] == resumed
        assert list(run.series("loss/total").steps) == list(range(1, 7))


def test_a_resumed_training_without_its_journal_says_so(bert: Path, tmp_path: Path) -> None:
    saving = {"save_strategy": "steps", "save_steps": 4, "steps": 6}
    make(bert, tmp_path, **saving).train()
    again = make(bert, tmp_path, **saving)
    watching = watch(again, run="runs/new")
    again.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-4"))
    run = Run.load(watching.run)
    assert any("whose journal was not given" in one.message for one in run.of(Event))
    assert list(run.series("loss/total").steps) == [5, 6]


def test_a_model_that_is_made_when_training_begins(bert: Path, tmp_path: Path) -> None:
    trainer = st_trainer(
        None, losses.MultipleNegativesRankingLoss, tmp_path / "out", steps=3, making=lambda: encoder(bert)
    )
    watching = watch(trainer, run=False)
    made = trainer.model
    trainer.train()
    assert trainer.model is not made
    assert len(watching.live.series("query/norm_mean", on="batch").values) == 3


def test_a_loop_that_starts_anew_is_one_run(bert: Path, tmp_path: Path) -> None:
    trainer = make(bert, tmp_path, steps=6, auto_find_batch_size=True, per_device_train_batch_size=16)
    inner, calls = trainer.training_step, []

    def step(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("CUDA out of memory.")
        return inner(*args, **kwargs)

    trainer.training_step = step
    watching = watch(trainer, run="runs/mine")
    trainer.train()
    run = Run.load(watching.run)
    assert run.status == "completed"
    assert list(run.series("loss/total").steps) == list(range(1, 7))


def test_a_second_watch_is_refused_by_name(bert: Path, tmp_path: Path) -> None:
    trainer = make(bert, tmp_path)
    first = watch(trainer, run="runs/mine")
    with pytest.raises(InputError, match=r"watched already \(runs/mine\)"):
        watch(trainer)
    first.close()
    assert not Path("runs/mine").exists()
    watch(trainer, run=False).close()


def test_what_cannot_be_used_is_said_at_once(bert: Path, tmp_path: Path) -> None:
    trainer = make(bert, tmp_path)
    before = len(trainer.callback_handler.callbacks)
    for wrong in ({"every": 0}, {"query": "no.such"}, {"reference": 3}, {"similarity": "hamming"}):
        with pytest.raises(InputError):
            watch(trainer, run=False, **wrong)
    assert len(trainer.callback_handler.callbacks) == before


def test_a_finding_can_stop_the_trainer(bert: Path, tmp_path: Path) -> None:
    trainer = make(bert, tmp_path, steps=20)
    watching = watch(trainer, run=False)

    class Stopping(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            watching.stop = state.global_step == 4

    trainer.add_callback(Stopping())
    trainer.train()
    assert trainer.state.global_step == 5


def test_callbacks_may_be_handed_foreign_things(bert: Path, tmp_path: Path) -> None:
    """setfit replaces the arguments and the model that callbacks get, and sets the loss just before training."""
    trainer = make(bert, tmp_path, steps=3)
    outer = SimpleNamespace(st_trainer=trainer)
    loss, trainer.loss = trainer.loss, None

    def call_event(event: str, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        for callback in list(trainer.callback_handler.callbacks):
            getattr(callback, event)(object() if _ours(callback) else args, state, control, model=object())
        return control

    watching = watch(outer, run=False)
    trainer.callback_handler.callbacks = [one for one in trainer.callback_handler.callbacks if _ours(one)]
    trainer.callback_handler.call_event = call_event
    trainer.loss = loss
    trainer.train()
    assert len(watching.live.series("query/norm_mean", on="batch").values) == trainer.state.global_step > 0


def _ours(callback: Any) -> bool:
    return type(callback).__module__.startswith("collapse_probe")


def test_a_cross_encoder_has_its_terms_alone(bert: Path, tmp_path: Path) -> None:
    model = CrossEncoder(str(bert), num_labels=1, device="cpu", max_length=32)
    trainer = CrossEncoderTrainer(
        model=model,
        args=CrossEncoderTrainingArguments(
            output_dir=str(tmp_path / "out"), max_steps=3, report_to="none", save_strategy="no", use_cpu=True
        ),
        train_dataset=pairs(labels=True),
        loss=cross_losses.BinaryCrossEntropyLoss(model),
    )
    watching = watch(trainer, run=False)
    trainer.train()
    assert len(watching.live.series("loss/BinaryCrossEntropyLoss").values) == 3
    assert not watching.recorder.streams
    assert any("loss terms alone" in one.message for one in watching.live.of(Event))


def test_a_callback_hears_what_it_is_handed(bert: Path, tmp_path: Path) -> None:
    model = encoder(bert)
    loss = losses.MultipleNegativesRankingLoss(model)
    callback = WatchCallback(run="runs/mine", loss=loss)
    trainer = st_trainer(model, loss, tmp_path / "out", steps=12, callbacks=[callback])
    trainer.train()
    run = Run.load(callback.watch.run)
    assert run.status == "completed"
    assert len(run.series("loss/MultipleNegativesRankingLoss").values) == 12
    assert len(run.series("query/norm_mean", on="batch").values) == 12
    assert any("a callback sees no trainer" in one.message for one in run.of(Event))


def test_a_callback_without_the_loss_hears_the_model(bert: Path, tmp_path: Path) -> None:
    callback = WatchCallback(run=False)
    make(bert, tmp_path, steps=3, callbacks=[callback]).train()
    assert len(callback.watch.live.series("document/norm_mean", on="batch").values) == 3
    assert any("sees no loss" in one.message for one in callback.watch.live.of(Event))


def test_autolog_watches_what_is_made_until_it_is_undone(bert: Path, tmp_path: Path) -> None:
    with autolog(run="runs/auto"), autolog(run="runs/auto"):
        first, second = make(bert, tmp_path, steps=2, evaluator=search()), hf_trainer(tmp_path, steps=2)
        first.train()
        second.train()
        own = make(bert, tmp_path, steps=2)
        watch(own, run="runs/own")
        own.train()
    make(bert, tmp_path, steps=2).train()
    names = sorted(path.name for path in Path("runs").iterdir() if (path / "journal.jsonl").exists())
    assert names == ["auto", "auto-2", "own"]


def test_autolog_waits_for_the_library(tmp_path: Path) -> None:
    library = tmp_path / "transformers"
    library.mkdir()
    (library / "__init__.py").write_text("from .trainer import Trainer\n")
    (library / "trainer.py").write_text("class Trainer:\n    def __init__(self): pass\n")
    script = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import collapse_probe.watching as w; undo = w.autolog(run=False)\n"
        "assert 'transformers' not in sys.modules\n"
        "from transformers import Trainer\n"
        "patched = lambda: hasattr(Trainer.__init__, '__wrapped__')\n"
        "assert patched(); undo.close(); assert not patched()"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_step_that_the_optimiser_leaves_out_is_counted(bert: Path, tmp_path: Path) -> None:
    trainer = make(bert, tmp_path, steps=4)

    class Skipping(TrainerCallback):
        def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 1:
                self.step, trainer.optimizer.step = trainer.optimizer.step, lambda: None

        def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 1:
                trainer.optimizer.step = self.step

    trainer.add_callback(Skipping())
    watching = watch(trainer, run=False)
    trainer.train()
    assert list(watching.live.series("loss/total").steps) == [1, 2, 3, 4]
    skipped = [one for one in watching.live.of(Event) if one.name == "skipped"]
    assert [one.message for one in skipped] == ["the optimiser left out step 2"]


def test_the_best_weights_are_said_to_be_delivered(bert: Path, tmp_path: Path) -> None:
    evaluator = search()
    evaluator.primary_metric = "toy_cosine_mrr@10"
    trainer = make(
        bert,
        tmp_path,
        steps=6,
        evaluator=evaluator,
        **best_weights("eval_toy_cosine_mrr@10", greater=False),
    )
    watching = watch(trainer, run=False)
    trainer.train()
    best = trainer.state.best_model_checkpoint.rpartition("-")[2]
    (said,) = [one for one in watching.live.of(Event) if one.name == "delivered"]
    assert best != "6" and said.subject == best
    assert said.message == f"the delivered weights are those of step {best}, not of step 6, the last"
    found = diagnose(watching)
    assert found.delivered == {"step": int(best), "last": 6, "said": said.message}
    assert f"Delivered  step {best}, not step 6, the last: toy nDCG@10" in found.summary


def test_a_watch_that_cannot_begin_leaves_the_training_alone(
    bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLLAPSE_PROBE_STRICT")
    trainer = make(bert, tmp_path, steps=3)
    watching = watch(trainer, run="runs/mine")
    monkeypatch.setattr(type(watching._source), "facts", None)
    with pytest.warns(RuntimeWarning, match="beginning failed"):
        trainer.train()
    assert trainer.state.global_step == 3
    assert not watching.begun and watching.closed
    assert not any(_ours(one) for one in trainer.callback_handler.callbacks)


def _written() -> dict[str, int]:
    """Return every run's folder, and the steps of its loss."""
    folders = sorted(path.parent for path in Path("runs").glob("*/run.json"))
    return {one.name: len(Run.load(one).series("loss/total").values) for one in folders}


@pytest.mark.parametrize("run", [None, "runs/mine"])
def test_trainers_that_are_watched_before_any_trains_have_a_run_each(bert: Path, tmp_path: Path, run: Any) -> None:
    first, second = make(bert, tmp_path, steps=2), make(bert, tmp_path, steps=3)
    one, two = watch(first, run=run), watch(second, run=run)
    assert one.run != two.run
    second.train()
    first.train()
    assert _written() == {one.run.name: 2, two.run.name: 3}


def test_autolog_keeps_trainers_that_are_made_before_any_trains(bert: Path, tmp_path: Path) -> None:
    with autolog():
        made = [make(bert, tmp_path, steps=2), make(bert, tmp_path, steps=3)]
    for one in made:
        one.train()
    assert sorted(_written().values()) == [2, 3]


def test_a_folder_that_another_process_took_is_left_alone(bert: Path, tmp_path: Path) -> None:
    trainer = make(bert, tmp_path, steps=2)
    watching = watch(trainer)
    (watching.run / "run.json").write_text("{}")
    trainer.train()
    assert watching.run.name.endswith("-2") and len(Run.load(watching.run).series("loss/total").values) == 2


def test_a_watch_that_never_began_leaves_its_folder_to_others(bert: Path, tmp_path: Path) -> None:
    trainer = make(bert, tmp_path, steps=2)
    watch(trainer, run="runs/mine").close()
    assert watch(trainer, run="runs/mine").run == Path("runs/mine").absolute()


def test_a_callback_names_its_folder_by_the_model(bert: Path, tmp_path: Path) -> None:
    callback = WatchCallback()
    make(bert, tmp_path, steps=2, callbacks=[callback]).train()
    assert callback.watch.run == Path("runs/sentence-transformer").absolute()
    assert not Path("runs/run").exists()


_ENDED = "the watch of this trainer ended with its first training"


@pytest.mark.parametrize("kind", ["watch", "autolog", "callback"])
def test_a_further_training_is_said_not_to_be_watched(
    kind: str, bert: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with autolog(run=False) if kind == "autolog" else nullcontext():
        callbacks = [WatchCallback(run=False)] if kind == "callback" else None
        trainer = make(bert, tmp_path, steps=2, callbacks=callbacks)
    if kind == "watch":
        watch(trainer, run=False)
    trainer.train()
    assert _ENDED not in caplog.text
    trainer.train()
    trainer.train()
    assert caplog.text.count(_ENDED) == 1
    if kind == "callback":
        return
    caplog.clear()
    again = watch(trainer, run=False)
    trainer.train()
    assert _ENDED not in caplog.text and again.recorder.done == 2


def test_callbacks_behind_ours_hear_the_end_of_training(bert: Path, tmp_path: Path) -> None:
    heard = []

    class Hearing(TrainerCallback):
        def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            heard.append(state.global_step)

    trainer = make(bert, tmp_path, steps=2)
    watch(trainer, run=False)
    trainer.add_callback(Hearing())
    trainer.train()
    assert heard == [2]


def test_a_journal_that_is_being_written_is_told_in_one_line(
    bert: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    saving = {"save_strategy": "steps", "save_steps": 2}
    trainer = make(bert, tmp_path, steps=2, **saving)
    watch(trainer, run="runs/mine")
    trainer.train()
    again = make(bert, tmp_path, steps=4, **saving)
    watch(again, run="runs/mine")
    journal = JournalWriter(Path("runs/mine"))
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        again.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-2"))
    journal.close()
    assert again.state.global_step == 4
    (said,) = [one for one in caplog.messages if "is not watched" in one]
    assert "is writing this run" in said
