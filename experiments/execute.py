"""A run from wherever it is to its end: trained to the last step, then evaluated as its configuration says."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from experiments.code import version
from experiments.console import Reporter, Style
from experiments.errors import Ended, failure_of
from experiments.runs import Run, evaluation_key
from experiments.stopping import Stop
from experiments.training.step import Step, fit_with_followers, follow, leading, step_for


def execute(
    run: Run, *, progress: Style = "none", stop: Stop | None = None, fence: Callable[[], None] | None = None
) -> int:
    """Train (or go on training) and evaluate ``run``; the exit code: 0 done, 2 wrong input, 3 failed, 75 stopped.

    A finished run costs nothing: torch is not even imported. What ended the run stands in status.json, and is said
    unless ``progress`` is "none". ``fence`` is called before every write and raises when the right to write is lost.
    """
    stop, task = stop or Stop(), Step.current()
    if task is not None and task.rank:
        return follow(run.path, task, stop)
    with leading(run.path):
        return _execute(run, Reporter(progress), stop, fence)


def _execute(run: Run, reporter: Reporter, stop: Stop, fence: Callable[[], None] | None) -> int:
    if run.finished:
        reporter.notice(f"{run.path} is done.")
        return 0
    if fence is not None:
        run.fence = fence
    try:
        with stop.listening():
            _to_the_end(run, stop, reporter)
    except Ended as end:
        state, reason = "interrupted" if end.exit_code == 75 else "failed", getattr(end, "reason", None)
        with suppress(OSError):  # a disk that took no checkpoint may take no status either
            run.write_status(state, message=str(end), reason=reason)
        reporter.notice(str(end))
        return end.exit_code
    return 0


def _to_the_end(run: Run, stop: Stop, reporter: Reporter) -> None:
    from experiments.evaluation.evaluate import evaluate
    from experiments.evaluation.loaded import LoadedRun
    from experiments.manifest import write_manifest
    from experiments.other_runs import refuse
    from experiments.pairs.prepare import prepare
    from experiments.trackers.chosen import chosen
    from experiments.trackers.summary import summarise
    from experiments.training import checkpoints
    from experiments.training.export import export_all
    from experiments.training.fit import fit
    from experiments.training.rank import fit_on_processes

    config = run.config
    done = run.done or {}
    chosen(config.trainer.trackers)  # refuses before anything is done
    if done.get("step") != config.trainer.max_steps:
        refuse(config, run.path)
    write_manifest(run)
    try:
        if done.get("step") != config.trainer.max_steps:
            prepare(run, stop=stop, reporter=reporter)
            step = step_for(config.trainer.devices * config.trainer.nodes, config.trainer.nodes)
            if step is not None:
                fit_with_followers(run, step, stop=stop, reporter=reporter)
            elif config.trainer.devices > 1:
                fit_on_processes(run, config.trainer.devices, stop=stop, style=reporter.style)
            else:
                fit(run, stop=stop, reporter=reporter)
            export_all(run)
            checkpoints.sweep(run.checkpoints)  # what a death after the last step's checkpoint left
            checkpoints.prune(run.checkpoints, config.trainer.keep_checkpoints, config.trainer.keep_every)
            run.mark_done(step=config.trainer.max_steps, evaluations=[], code=version())
        key = evaluation_key(config.evaluation)
        if key not in (run.done or {})["evaluations"]:
            if config.evaluation.steps:
                evaluate(LoadedRun(run, reporter=reporter), config.evaluation, reporter=reporter, stop=stop)
            summarise(run)
            run.mark_done(evaluations=[*(run.done or {})["evaluations"], key])
    except OSError as error:
        failure = failure_of(error)
        if failure is None:
            raise
        raise failure from error
    run.write_status("done", step=config.trainer.max_steps, max_steps=config.trainer.max_steps)
