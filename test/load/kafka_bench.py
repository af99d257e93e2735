"""What the benches on a real Kafka share: the fraud pipeline with a champion, the programs at work, figures."""
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

BIN = os.path.abspath("build/release/bin")
LOAD = os.path.abspath("build/release/test/load")
DAYS, SEED = 50, 1
TRAIN_FROM, TRAIN_TO, AS_OF = "2018-04-02", "2018-04-08", "2018-04-15"  # the first of them is 2018-04-01
STOP_S, STILL_S, POLL_S = 30, 60, 0.05

if not os.environ.get("MILLRACE_BROKERS"):
    print("skipped: MILLRACE_BROKERS names no broker")
    sys.exit(77)


def wait_for(what, condition, seconds):
    """The first true result of condition(); without one the bench ends."""
    end = time.monotonic() + seconds
    while not (got := condition()):
        if time.monotonic() > end:
            sys.exit(f"waited {seconds} s in vain for {what}")
        time.sleep(POLL_S)  # poll
    return got


class Running:
    """A process with what it used: `seconds` of CPU and `rss` in bytes are there once it has ended."""

    def __init__(self, what, log, env):
        self.what, self.log, self.began = what, log, time.monotonic()
        self.process = subprocess.Popen(what, stderr=open(log, "a"), stdout=open(log, "a"), env=env)
        self.pid = self.process.pid

    def end(self):
        _, status, used = os.wait4(self.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        if self.process.returncode != 0:
            sys.exit(f"{' '.join(self.what)}: exit status {self.process.returncode}\n" + open(self.log).read()[-2000:])
        self.seconds, self.rss = used.ru_utime + used.ru_stime, used.ru_maxrss * 1024

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.end()

    def kill(self):
        if self.process.returncode is None:
            self.process.kill()
            self.process.wait()


class Bench:
    def __init__(self, name):
        self.name, self.folder = name, tempfile.mkdtemp(prefix="millrace-")
        self.env = dict(os.environ, MILLRACE_KEYS=f"{self.folder}/keys")
        self.running, self.model = [], f"{name}{os.getpid()}"

    def figure(self, name, value, unit):
        print(f"{name} {value:.4g} {unit}" if value < 1000 else f"{name} {value:.0f} {unit}", flush=True)
        os.makedirs("build/bench", exist_ok=True)
        with open(f"build/bench/{self.name}.jsonl", "a") as f:
            f.write(json.dumps({"bench": self.name, "name": name, "value": value, "unit": unit}) + "\n")

    def figures(self, name, values, unit):
        """The median, the least and the most of some rounds."""
        self.figure(name, statistics.median(values), unit)
        self.figure(name + "_min", min(values), unit)
        self.figure(name + "_max", max(values), unit)

    def run(self, *what):
        done = subprocess.run(what, env=self.env, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{' '.join(what)}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def millrace(self, *args):
        return self.run(f"{BIN}/millrace", *args)

    def load(self, *args):
        return self.run(f"{LOAD}/load", *map(str, args))

    def start(self, *what):
        self.running.append(Running(what, f"{self.folder}/log", self.env))
        return self.running[-1]

    def stage(self, worker, file, stage):
        return self.start(f"{BIN}/{worker}", file, stage, "--http", "127.0.0.1:0")

    def kill(self):
        for r in self.running:
            r.kill()

    def pipeline(self, name, stages=None, change=None, trains=True):
        """The fraud pipeline under another name, with a model of this bench's own; stages: others besides; change: of its own;
        trains: else it scores by the model of another that does."""
        p = json.load(open("pipelines/fraud.json"))
        p = {"pipeline": name, "schemas": os.path.abspath("schemas"), **{k: p[k] for k in ("topics", "stages")}}
        for stage in ("learn", "score"):
            p["stages"][stage]["model"] = self.model  # millrace.models may hold others of the usual name
        p["stages"]["learn"]["every"] = "365d"  # trained by command: nobody waits for a verdict that is due
        for stage, changes in (change or {}).items():
            p["stages"][stage].update(changes)
        for copy, (of, changes) in (stages or {}).items():
            p["stages"][copy] = dict(p["stages"][of], to=f"to_{copy}", **changes)
            p["topics"][f"to_{copy}"] = dict(p["topics"][p["stages"][of]["to"]])
        if not trains:
            del p["stages"]["learn"]
        file = f"{self.folder}/{name}.json"
        json.dump(p, open(file, "w"))
        self.millrace("topics", file)
        return file

    def publish(self, name, file, days=DAYS):
        """Generated transactions and their labels on the topics of pipeline `name`."""
        self.millrace("generate", "fraud", "--days", str(days), "--seed", str(SEED), "--out", self.folder)
        for topic in ("labels", "transactions"):
            self.millrace("publish", f"{name}.{topic}", f"{self.folder}/{topic}.csv", "--pipeline", file)

    def features(self, name, file):
        """Every transaction's features on their topic."""
        stages = [("customer", "transactions"), ("terminal", "enriched")]
        running = [self.stage("preprocess", file, stage) for stage, _ in stages]
        for (stage, topic), r in zip(stages, running):
            self.load("await", f"{name}.{stage}", f"{name}.{topic}", r.pid)
        for r in running:
            r.stop()

    def train(self, file):
        self.millrace("train", self.model, "--from", TRAIN_FROM, "--to", TRAIN_TO, "--as-of", AS_OF, "--pipeline", file)


def run(bench, measure):
    """measure(bench) gives the exit status; what it started ends with it."""
    try:
        status = measure(bench)
    finally:
        bench.kill()
        shutil.rmtree(bench.folder)
    sys.exit(status)


__all__ = [n for n in dir() if n[0] != "_"]
