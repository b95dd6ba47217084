"""A SLURM cluster of two nodes on one machine, for trying things out and for the tests beside this file.

::

    python tests/slurm/cluster.py up [FOLDER]       starts it; prints the variable to set: export SLURM_CONF=…
    python tests/slurm/cluster.py status [FOLDER]
    python tests/slurm/cluster.py down [FOLDER]     ends its jobs and its daemons

It needs the programs of SLURM and munge (Debian, Ubuntu: ``apt-get install slurm-wlm munge``) and installs nothing.
Everything lies in FOLDER (``/tmp/fewstep-slurm-UID``): the configuration, munge's key and socket, the logs. Several
clusters in different folders do not disturb one another, nor one that the machine belongs to. Uses the standard
library alone.
"""

from __future__ import annotations

import argparse
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel", "sinfo")
NODES = ("n1", "n2")
STARTING = 60.0  # seconds

CONFIGURATION = """\
ClusterName=fewstep
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=10
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ReturnToService=2
JobRequeue=1
KillWait=10
MinJobAge=300
SchedulerParameters=sched_interval=2,batch_sched_delay=0,bf_interval=5
NodeName={nodes} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports} CPUs=2 RealMemory=4000 State=UNKNOWN
PartitionName=debug Nodes={nodes} Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> list[str]:
    """The programs that a cluster needs and this machine lacks."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    return [name for name in PROGRAMS if shutil.which(name, path=path) is None]


@dataclass(frozen=True)
class Cluster:
    """The cluster in a folder."""

    folder: Path

    @property
    def configuration(self) -> Path:
        return self.folder / "slurm.conf"

    @property
    def environment(self) -> dict[str, str]:
        """What SLURM's programs need to find it."""
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM_", "SBATCH_"))}
        path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
        return {**inherited, "PATH": path, "SLURM_CONF": str(self.configuration)}

    @property
    def user(self) -> str:
        """By which name SLURM knows who runs this."""
        return pwd.getpwuid(os.getuid()).pw_name

    def call(self, *command: str, timeout: float = 30.0) -> str:
        """What a program printed; a RuntimeError with what it complained of where it failed."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=timeout)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr}{done.stdout}")
        return done.stdout

    def up(self) -> None:
        """Start munge, the controller and both nodes, and wait until the nodes take work.

        Raises:
            RuntimeError: a program is missing, or did not start in time; the logs are named.
        """
        if lacking := missing():
            raise RuntimeError(f"{', '.join(lacking)}: not installed (Debian: apt-get install slurm-wlm munge)")
        self.down()
        shutil.rmtree(self.folder, ignore_errors=True)  # a controller would not start over another one's state
        (self.folder / "state").mkdir(parents=True)
        self.folder.chmod(0o755)  # munge takes no socket in a folder that others may write to
        self._configure()
        self._munge()
        self.call("slurmctld", "-i")
        for node in NODES:
            self.start(node)
        self.wait()

    def _configure(self) -> None:
        ports = _free_ports(1 + len(NODES))
        text = CONFIGURATION.format(
            host=socket.gethostname(),
            folder=self.folder,
            user=self.user,
            controller=ports[0],
            nodes=",".join(NODES),
            ports=",".join(map(str, ports[1:])),
        )
        self.configuration.write_text(text)

    def _munge(self) -> None:
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o600)
        files = {
            "socket": "munge.socket", "key-file": "munge.key", "pid-file": "munged.pid", "log-file": "munged.log",
            "seed-file": "munged.seed",
        }  # fmt: skip
        self.call("munged", "--force", *(f"--{option}={self.folder / name}" for option, name in files.items()))

    def wait(self) -> None:
        """Until both nodes are idle; a node that was down takes work again when its daemon registers."""
        deadline = time.monotonic() + STARTING
        while time.monotonic() < deadline:
            with suppress(RuntimeError):
                if self.call("sinfo", "--noheader", "--Node", "--format=%t").split() == ["idle"] * len(NODES):
                    return
            time.sleep(0.2)
        raise RuntimeError(f"the nodes did not come up within {STARTING:.0f} s; see the logs in {self.folder}")

    def start(self, node: str) -> None:
        """Start a node's daemon."""
        self.call("slurmd", "-N", node)

    def kill(self, node: str) -> None:
        """End a node as a power cut does: its daemon, the steps that it runs and all their processes at once."""
        ours = {f"SLURM_CONF={self.configuration}", f"SLURMD_NODENAME={node}"}
        tasks = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if ours <= set(_environment(pid))]
        parents = {parent for pid in tasks if _name(parent := _parent(pid)).startswith("slurmstepd")}
        daemon = self._pid(f"slurmd.{node}")
        for pid in [*([daemon] if daemon else []), *parents, *tasks]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def down(self) -> None:
        """End all jobs and all daemons."""
        if self._pid("slurmctld"):
            with suppress(RuntimeError, subprocess.TimeoutExpired):
                self.call("scancel", f"--user={self.user}", timeout=10)
        for node in NODES:
            self.kill(node)
        for name in ("slurmctld", "munged"):
            _end(self._pid(name), signal.SIGTERM)

    def status(self) -> str:
        """The nodes and the queue, as SLURM tells them."""
        if not self._pid("slurmctld"):
            return f"no cluster is up in {self.folder}\n"
        told = self.call("sinfo", "--Node", "--long") + self.call("squeue", "--array")
        return f"{told}export SLURM_CONF={self.configuration}\n"

    def _pid(self, name: str) -> int | None:
        """The process of a daemon that is up."""
        try:
            pid = int((self.folder / f"{name}.pid").read_text())
            os.kill(pid, 0)
        except (OSError, ValueError):
            return None
        return pid


# -- the machine ------------------------------------------------------------------------------------------------------


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def _end(pid: int | None, number: signal.Signals) -> None:
    """Send a process a signal and wait until it is gone; after ten seconds it is killed."""
    deadline = time.monotonic() + 10
    while pid is not None and _alive(pid):
        with suppress(ProcessLookupError):
            os.kill(pid, number if time.monotonic() < deadline else signal.SIGKILL)
        time.sleep(0.1)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _environment(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", choices=["up", "down", "status"])
    parser.add_argument("folder", nargs="?", type=Path, default=Path(f"/tmp/fewstep-slurm-{os.getuid()}"))
    options = parser.parse_args()
    cluster = Cluster(options.folder.resolve())
    try:
        if options.what == "up":
            cluster.up()
        elif options.what == "down":
            cluster.down()
        print(cluster.status(), end="")
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
