"""The stages of a running pipeline, for tests: by `millrace up`, or as an orchestrator starts them, several processes a stage."""
import os
import signal
import threading
import time
import urllib.request

from support import end

STAGES = {"customer": "preprocess", "terminal": "preprocess", "learn": "train", "score": "score", "alert": "alert"}
# Tenfold slower. On a busy machine a run lasts until the process had a core for half of that, or nothing to do.
HALT_S, RUN_S, RUN_S_MAX = 0.18, 0.02, 0.5


def metrics(p, process):
    """{name: value} of a process's own page, labels cut down to the outcome; empty while it does not answer."""
    try:
        port = open(f"{p.folder}/build/run/{p.name}/{process}.http").read().strip()
        page = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=2).read().decode()
    except (OSError, ValueError):
        return {}
    values = {}
    for line in page.splitlines():
        if not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            outcome = name.partition('outcome="')[2].partition('"')[0]
            values[name.partition("{")[0] + ("/" + outcome if outcome else "")] = float(value)
    return values


def log_of(p, stage):
    path = f"{p.folder}/log/{stage}.log"
    return open(path).read() if os.path.exists(path) else ""


def worked_s(process):
    """How long its loop had a core."""
    try:
        return int(open(f"/proc/{process.pid}/schedstat").read().split()[0]) / 1e9
    except (OSError, IndexError):
        return 0


def is_ready(process):
    try:
        return open(f"/proc/{process.pid}/stat").read().rpartition(")")[2].split()[0] == "R"
    except OSError:
        return False


class Up:
    """A process a stage, by `millrace up`."""

    def __init__(self, p):
        self.p, self.names = p, list(STAGES)
        self.process = p.start("millrace", "up", p.file, "--log-dir", f"{p.folder}/log", log="up")

    def died(self):
        return self.process.poll() is not None

    def step(self):
        """What is to be done meanwhile; whether all of it is done."""
        return True

    def stop(self):
        return end(self.process)


class Several:
    """`count` processes a stage (train: one) with batches of that size, started and restarted as an orchestrator does. slowed: the
    first of each stage but train halts nine tenths of the time. options: of a stage's processes, more of them."""

    def __init__(self, p, count, batch=1000, slowed=False, stages=STAGES, **options):
        os.makedirs(f"{p.folder}/build/run/{p.name}", exist_ok=True)
        os.makedirs(f"{p.folder}/log", exist_ok=True)
        p.run("millrace", "models", "list")  # makes the keys
        self.p, self.restarts, self.over = p, 0, threading.Event()
        self.commands = {f"{stage}.{i}": [worker, p.file, stage, "--instance", str(i), "--batch", str(batch), "--http",
                                          "127.0.0.1:0", "--http-file", f"{p.folder}/build/run/{p.name}/{stage}.{i}.http",
                                          *options.get(stage, [])]
                         for stage, worker in stages.items() for i in range(1 if worker == "train" else count)}
        self.names = list(self.commands)
        self.children = {name: self.start(name) for name in self.names}
        self.slowing = threading.Thread(target=self.slow, daemon=True)
        if slowed:
            self.slowing.start()

    def start(self, name):
        stage, _, i = name.partition(".")
        return self.p.start(*self.commands[name], log=f"log/{stage if i == '0' else name}")

    def slow(self):
        while not self.over.is_set():
            slowed = [child for name, child in self.children.items() if name.endswith(".0") and name != "learn.0"]
            for child in slowed:
                child.send_signal(signal.SIGSTOP)
            self.over.wait(HALT_S)
            worked, until = [worked_s(child) for child in slowed], time.monotonic() + RUN_S_MAX
            for child in slowed:
                child.send_signal(signal.SIGCONT)
            self.over.wait(RUN_S)
            while not self.over.is_set() and time.monotonic() < until and \
                    any(is_ready(c) and worked_s(c) - w < RUN_S / 2 for c, w in zip(slowed, worked)):
                self.over.wait(RUN_S / 4)

    def died(self):
        return False

    def step(self):
        for name, child in self.children.items():
            if child.poll() is not None:
                self.restarts += 1
                self.children[name] = self.start(name)
        return True

    def stop(self):
        self.over.set()
        if self.slowing.ident:
            self.slowing.join()
        print(f"{self.restarts} restarts")
        return max(end(c) for c in self.children.values())
