"""What a run's folder promises."""

from __future__ import annotations

from experiments.runs import Run


def test_a_heartbeat_does_not_wait_for_the_disk_but_the_end_of_a_run_does(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr("os.fsync", synced.append)
    run = Run(tmp_path)
    run.write_status("running", step=1)
    assert not synced
    run.write_status("done", step=2)
    assert len(synced) == 1
    assert run.status["step"] == 2
