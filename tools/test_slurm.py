#!/usr/bin/env python3
"""Runs a manifest on a real Slurm of one node and under GNU parallel, disturbs it, and compares every bit with a local run.

Debian's slurm-wlm and munge are installed where they are missing. Both run under a folder and ports of this test's own and
end with it, whatever happens. Needs root, as slurmd does. Results, not exit codes or accounting, are what is believed.
"""

import json
import math
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PINBENCH = ROOT / "target/release/pinbench"
PACKAGES = ["slurm-wlm", "slurmctld", "slurmd", "munge", "parallel"]
BEGAN = time.monotonic()

# 40 trials of a moment, and one that its time limit meets.
SMALL = """
title = "many"
why = "as many tasks as a small study has"
data = { set = "mnist", validation = 0.2, train_limit = 512, eval_limit = 64 }
model = { name = "simple_cnn", activation = "relu", dropout = 0.5 }
optim = { name = "adam", lr = 0.001 }
train = { batch = 64, epochs = 2 }
[[factors]]
key = "train.batch"
label = "batch"
levels = [{ value = 32 }, { value = 64 }, { value = 128 }, { value = 256 }]
[profiles]
smoke = { seeds = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9] }
"""
LONG = """
title = "long"
why = "longer than its time limit"
data = { set = "mnist", validation = 0.2, train_limit = 12000, eval_limit = 256 }
model = { name = "simple_cnn", activation = "relu", dropout = 0.5 }
optim = { name = "adam", lr = 0.001 }
train = { batch = 64, epochs = EPOCHS }
[profiles]
smoke = { seeds = [0] }
"""
# Alone on the machine, in seconds: beside others it takes longer, and its limit is a minute.
LONG_TAKES = 90

CONF = """
ClusterName=pinbench
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={home}/munge/socket,cred_expire=5
SlurmUser=root
SlurmdUser=root
StateSaveLocation={home}/state
SlurmdSpoolDir={home}/spool
SlurmctldPidFile={home}/slurmctld.pid
SlurmdPidFile={home}/slurmd.pid
SlurmctldLogFile={home}/slurmctld.log
SlurmdLogFile={home}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=1
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=2,bf_interval=2
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 State=UNKNOWN
PartitionName=test Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def say(text: str) -> None:
    print(f"[{time.monotonic() - BEGAN:5.1f} s] {text}", flush=True)


def need(is_so: bool, text: str) -> None:
    if not is_so:
        raise SystemExit(f"test-slurm: {text}")


def free_port() -> int:
    with socket.socket() as any_socket:
        any_socket.bind(("127.0.0.1", 0))
        return any_socket.getsockname()[1]


def wait_for(what: str, is_so, seconds: float = 120, pause: float = 0.2):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found = is_so()
        if found:
            return found
        time.sleep(pause)
    raise SystemExit(f"test-slurm: still waiting for {what} after {seconds:.0f} s")


class Cluster:
    """munged, slurmctld and slurmd on loopback; ended by `close`."""

    def __init__(self, home: pathlib.Path) -> None:
        self.home, self.host, self.servers = home, socket.gethostname().split(".")[0], []
        for folder in ["state", "spool", "munge"]:
            (home / folder).mkdir()
        self.env = {**os.environ, "SLURM_CONF": str(home / "slurm.conf")}
        conf = CONF.format(home=home, host=self.host, controller=free_port(), node=free_port())
        (home / "slurm.conf").write_text(conf)

    def start(self) -> None:
        munge, key = self.home / "munge", self.home / "munge/key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        for path in [munge, key]:
            shutil.chown(path, "munge", "munge")
        own = [f"--{name}={munge / place}" for name, place in
               [("key-file", "key"), ("socket", "socket"), ("pid-file", "pid"), ("log-file", "log"), ("seed-file", "seed")]]
        self.serve(["setpriv", "--reuid=munge", "--regid=munge", "--clear-groups", "munged", "--foreground", *own])
        wait_for("munged", lambda: (munge / "socket").exists())
        for server in ["slurmctld", "slurmd"]:
            self.serve([server, "-D", "-f", str(self.home / "slurm.conf")])
        try:
            wait_for("the node", lambda: self.node_state().startswith("IDLE"), 60)
        except SystemExit:
            self.show_logs()
            raise

    def serve(self, command: list[str]) -> None:
        log = open(self.home / f"{pathlib.Path(command[0]).name}.out", "wb")
        self.servers.append(subprocess.Popen(command, env=self.env, stdout=log, stderr=log, start_new_session=True))

    def ask(self, *command: str) -> str:
        done = subprocess.run(command, env=self.env, capture_output=True, text=True)
        need(done.returncode == 0, f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def node_state(self) -> str:
        done = subprocess.run(["scontrol", "show", "node", "--oneliner"], env=self.env, capture_output=True, text=True)
        return next((word[6:] for word in done.stdout.split() if word.startswith("State=")), "")

    def show_logs(self) -> None:
        for log in sorted([*self.home.glob("*.log"), *self.home.glob("*.out"), *self.home.glob("munge/log")]):
            print(f"--- {log.name}", *log.read_text(errors="replace").splitlines()[-15:], sep="\n", file=sys.stderr)

    def close(self) -> None:
        """Tasks first: they are slurmd's, and would outlive it."""
        subprocess.run(["scancel", "--user=root"], env=self.env, capture_output=True, timeout=30)
        until = time.monotonic() + 10
        while time.monotonic() < until and (tasks(self.home) or steps(self.home)):
            time.sleep(0.2)
        for process in tasks(self.home) + steps(self.home):
            os.kill(process, signal.SIGKILL)
        for server in reversed(self.servers):
            server.terminate()
        for server in reversed(self.servers):
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def tasks(home: pathlib.Path, manifest: str = "", index: str = "") -> list[int]:
    """Processes that run an index of a manifest of this test: of any, where none is named."""
    found = []
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue  # gone since it was listed
        def has(option: str, start: str) -> bool:
            return option in words and words[words.index(option) + 1].startswith(start)

        if has("--manifest", f"{home}/{manifest}") and (not index or words[words.index("--index") + 1] == index):
            found.append(int(process.name))
    return found


def steps(home: pathlib.Path) -> list[int]:
    """Slurm's own processes around this test's tasks."""
    found = []
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            is_step = (process / "comm").read_text().strip() == "slurmstepd"
            if is_step and f"SLURM_CONF={home}/".encode() in (process / "environ").read_bytes():
                found.append(int(process.name))
        except OSError:
            continue  # gone since it was listed
    return found


class Study:
    def __init__(self, home: pathlib.Path) -> None:
        self.home = home
        (home / "experiments").mkdir()
        (home / "experiments/many.toml").write_text(SMALL)
        self.long(1)
        self.env = {key: value for key, value in os.environ.items() if key != "PINBENCH_STORE"}
        self.env["PINBENCH_LOCK_DIR"] = str(home)

    def long(self, epochs: int) -> None:
        (self.home / "experiments/long.toml").write_text(LONG.replace("EPOCHS", str(epochs)))

    def lengthen(self) -> None:
        """So many epochs that no machine is done before the limit: one of them is timed here."""
        self.pinbench("run", "long", "--profile", "smoke", "--no-diagnostics", "--store", "timed", "--quiet")
        outcome = self.records("timed")[0]["outcome"]
        seconds = (outcome["train_ns"] + outcome["evaluate_ns"]) / 1e9
        epochs = max(2, math.ceil(LONG_TAKES / seconds))
        self.long(epochs)
        say(f"an epoch of the long training takes {seconds:.1f} s here: it has {epochs}")

    def pinbench(self, *arguments: str) -> str:
        command = [str(PINBENCH), *arguments]
        done = subprocess.run(command, cwd=self.home, env=self.env, capture_output=True, text=True)
        need(done.returncode == 0, f"pinbench {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}")
        for line in done.stderr.splitlines():
            print(f"          {line}")
        return done.stdout

    def records(self, store: str) -> list[dict]:
        return [json.loads(path.read_text()) for path in sorted((self.home / store).glob("trials/**/run.json"))]

    def finished(self, store: str) -> dict[str, list[dict]]:
        by_trial: dict[str, list[dict]] = {}
        for record in self.records(store):
            if record["status"]["state"] == "finished":
                by_trial.setdefault(record["trial_id"], []).append(record)
        return by_trial

    def script(self, name: str, store: str, *options: str) -> pathlib.Path:
        text = self.pinbench("manifest", f"{name}.json", "--print", "slurm", "--store", store, "--notice", "60", *options)
        path = self.home / f"{name}.sh"
        path.write_text(text)
        return path


def install() -> None:
    tools = ["sbatch", "slurmctld", "slurmd", "munged", "parallel"]
    if all(shutil.which(tool) or pathlib.Path("/usr/sbin", tool).exists() for tool in tools):
        return
    need(shutil.which("apt-get") is not None, f"needs Debian's {', '.join(PACKAGES)}: install them")
    say("installing " + ", ".join(PACKAGES))
    command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *PACKAGES]
    quiet = {"stdout": subprocess.DEVNULL, "env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}}
    if subprocess.run(command, **quiet).returncode != 0:
        subprocess.run(["apt-get", "update", "-qq"], check=True, **quiet)
        subprocess.run(command, check=True, **quiet)


def submit(cluster: Cluster, study: Study, script: pathlib.Path) -> None:
    """As a user does. The store's `--missing` says what there is to submit."""
    done = subprocess.run(["bash", str(script)], cwd=study.home, env={**cluster.env, **study.env}, capture_output=True, text=True)
    need(done.returncode == 0, f"bash {script.name}: {done.stderr}")
    say(f"bash {script.name}: {' '.join((done.stdout + done.stderr).split())}")


def disturb(cluster: Cluster, study: Study) -> None:
    def running(than=()) -> list[str]:
        """Tasks of the array as `7_3`, but for those named."""
        lines = cluster.ask("squeue", "--noheader", "--array", "--states=RUNNING", "--format=%i %o").splitlines()
        jobs = [line.split()[0] for line in lines if "many.sh" in line]
        return [job for job in jobs if job not in than]

    # A task that is killed fails, and is submitted again later.
    killed = wait_for("a task", running)[0]
    process = wait_for("its process", lambda: tasks(study.home, "many.json", killed.split("_")[1]))
    os.kill(process[0], signal.SIGKILL)
    say(f"killed task {killed} (SIGKILL)")
    requeued = wait_for("another task", lambda: running([killed]))[0]
    cluster.ask("scontrol", "requeue", requeued)
    say(f"requeued task {requeued}")
    before = wait_for("two tasks", lambda: (found := running([killed, requeued])) and len(found) >= 2 and found)
    cluster.ask("scontrol", "update", f"NodeName={cluster.host}", "State=DOWN", "Reason=test")
    say(f"node down with {', '.join(before)} on it: {cluster.node_state()}")
    time.sleep(2)
    cluster.ask("scontrol", "update", f"NodeName={cluster.host}", "State=RESUME")
    wait_for("the node", lambda: "DOWN" not in cluster.node_state())
    say(f"node up again: {cluster.node_state()}")


def on_slurm(cluster: Cluster, study: Study) -> None:
    study.lengthen()
    for name in ["many", "long"]:
        (study.home / f"{name}.json").write_text(study.pinbench("manifest", name, "--profile", "smoke", "--no-diagnostics"))
    scripts = {
        "long": study.script("long", "slurm", "--time", "1"),
        "many": study.script("many", "slurm", "--at-once", "2", "--time", "5"),
    }
    for script in scripts.values():
        submit(cluster, study, script)
    disturb(cluster, study)
    rounds = {name: 1 for name in scripts}
    until = time.monotonic() + 270
    while True:
        need(time.monotonic() < until, f"not done: {cluster.ask('squeue')}")
        time.sleep(1)
        active = cluster.ask("squeue", "--noheader", "--format=%j %o %T")
        open_ = False
        for name, script in scripts.items():
            if str(script) in active or f"{name}.sh" in active:
                open_ = True
            elif study.pinbench("manifest", f"{name}.json", "--missing", "--store", "slurm", "--quiet").strip():
                open_, rounds[name] = True, rounds[name] + 1
                submit(cluster, study, script)
        if not open_:
            break
    say(f"nothing is missing; submitted: many {rounds['many']} times, long {rounds['long']} times")
    need(rounds["many"] > 1 and rounds["long"] > 1, "neither the kill nor the limit left anything to submit again")


def check(study: Study) -> None:
    found = study.finished("slurm")
    twice = {trial: runs for trial, runs in found.items() if len(runs) > 1}
    need(len(found) == 41 and not twice, f"expected 41 trials once each, found {len(found)}, twice: {sorted(twice)}")
    long = next(runs[0] for runs in found.values() if runs[0]["experiment"] == "long")
    need(bool(long["outcome"].get("resumed")), "the long task was never resumed")
    failed = [record for record in study.records("slurm") if record["status"]["state"] == "failed"]
    hosts = {runs[0]["environment"]["host"] for runs in found.values()}
    beside = {runs[0]["beside"] for runs in found.values()}
    need(0 not in beside, "a task says that it was alone")
    say(f"every one of {len(found)} trials once, on {', '.join(hosts)}, beside others; the long one resumed after steps "
        f"{long['outcome']['resumed']} of {long['outcome']['steps']}; failed records: {len(failed)}")
    logs = "".join(path.read_text(errors="replace") for path in study.home.glob("pinbench-*.log"))
    said = [line for line in logs.splitlines() if line.startswith("stopped")]
    say(f"what stopped tasks said: {sorted(set(said))}")


def locally(study: Study) -> None:
    study.pinbench("run", "long", "many", "--profile", "smoke", "--no-diagnostics", "--jobs", "2", "--store", "local", "--quiet")
    say("the same 41 trials trained here, two at a time")
    local, cluster = study.finished("local"), study.finished("slurm")
    weights = lambda runs: runs[0]["outcome"]["final_weights"]
    equal = sum(weights(local[trial]) == weights(cluster[trial]) for trial in cluster)
    need(equal == 41, f"only {equal} of 41 have equal weights")
    merged = study.pinbench("merge", "local", "--store", "slurm").strip()
    need(", 41 there already, 0 conflicts, 0 damaged" in merged, merged)
    say(f"weights equal: {equal} of 41; chains of every step too, by merge: {merged.split(': ')[1]}")


def under_parallel(study: Study) -> None:
    (study.home / "few.json").write_text(study.pinbench("manifest", "many", "--profile", "smoke", "--seeds", "2", "--no-diagnostics"))
    line = study.pinbench("manifest", "few.json", "--print", "parallel", "--at-once", "2", "--store", "parallel").strip()
    print(f"          {line.replace(str(study.home), '…').replace(str(ROOT), '…')}")
    for attempt in ["first", "second"]:
        began = time.monotonic()
        done = subprocess.run(["sh", "-c", line], cwd=study.home, env=study.env, capture_output=True, text=True)
        need(done.returncode == 0, f"parallel: {done.returncode}\n{done.stderr}")
        say(f"GNU parallel, {attempt} time: {time.monotonic() - began:.1f} s, {done.stderr.count('finished already')} done already")
    need(len(study.finished("parallel")) == 8, "expected 8 trials")
    merged = study.pinbench("merge", "parallel", "--store", "slurm").strip()
    need(", 8 there already, 0 conflicts, 0 damaged" in merged, merged)
    say(f"the same bits as on Slurm: {merged.split(': ')[1]}")


def main() -> None:
    need(os.geteuid() == 0, "needs root, as slurmd does; in a container, or with sudo")
    need(PINBENCH.exists(), "no target/release/pinbench: run `just build`")
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    install()
    home = pathlib.Path(tempfile.mkdtemp(prefix="pinbench-slurm-"))
    home.chmod(0o755)
    cluster, study = Cluster(home), Study(home)
    # Also when somebody ends the test.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        cluster.start()
        say(f"Slurm {cluster.ask('sinfo', '--version').split()[1]}, one node, 4 places on {os.cpu_count()} cores")
        on_slurm(cluster, study)
        check(study)
        locally(study)
        under_parallel(study)
    except BaseException:
        cluster.show_logs()
        for log in sorted(study.home.glob("pinbench-*.log"))[:50]:
            print(f"--- {log.name}", log.read_text(errors="replace")[-600:], sep="\n", file=sys.stderr)
        raise
    finally:
        cluster.close()
        if "--keep" not in sys.argv:
            shutil.rmtree(home, ignore_errors=True)
    say("done")


if __name__ == "__main__":
    main()
