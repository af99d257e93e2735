"""The stages of a running pipeline, for tests: by `millrace up`, or as an orchestrator starts them, several processes a stage."""
import os
import signal
import threading
import urllib.request

from support import end

STAGES = {"customer": "preprocess", "terminal": "preprocess", "learn": "train", "score": "score", "alert": "alert"}
HALT_S, RUN_S = 0.18, 0.02  # tenfold slower


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
            for halt, seconds in (signal.SIGSTOP, HALT_S), (signal.SIGCONT, RUN_S):
                for name, child in list(self.children.items()):
                    if name.endswith(".0") and name != "learn.0":
                        child.send_signal(halt)
                self.over.wait(seconds if halt == signal.SIGCONT or not self.over.is_set() else 0)

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
