"""The fraud pipeline's workers under load, and what is done to them. A slot is a stage's instance; one that ends is started again."""
import datetime
import random
import threading

from ledger import *  # noqa: F403  (support.py chooses the Python that has the next ones)
from confluent_kafka import IsolationLevel, KafkaException  # isort: skip
from confluent_kafka.admin import OffsetSpec  # isort: skip

FAULT_BIN = os.path.abspath(os.environ.get("MILLRACE_FAULT_BIN", "build/fault/bin"))
WORKERS = {"customer": "preprocess", "terminal": "preprocess", "learn": "train", "score": "score", "alert": "alert"}
WRITES = {"customer": "enriched", "terminal": "features", "score": "scores"}  # what comes with each payment
SESSION_S = 6  # the least that a broker allows
# Payments that lie ready, so that no task is ever at its input's end: idle tasks are a wall clock's matter. A process that is stopped amid a
# transaction hides what all others put out until its session is over, and they take 2,000 a second at most.
BACKLOG = 40000


def pipeline_changes(p):
    for stage in ("learn", "score"):
        p["stages"][stage]["model"] = p["pipeline"]
    p["stages"]["score"]["model.wait"] = "1d"
    p["stages"]["learn"]["every"] = "7d"
    p["stages"]["learn"]["xgboost"]["rounds"] = 20
    p["topics"]["scores"]["key"] = "customer_id"  # without one a file has no partitions
    p["kafka"] = {"session.timeout.ms": str(SESSION_S * 1000)}


class Slot:
    def __init__(self, stage, i):
        self.stage, self.i, self.name = stage, i, f"{stage}.{i}"
        self.process = None
        self.wanted = True
        self.expected = set()  # processes that we made to end
        self.started_ms = 0


class Fleet:
    def __init__(self, p, throttle_ms):
        self.p, self.throttle_ms = p, throttle_ms
        self.slots, self.lock, self.over = {}, threading.RLock(), threading.Event()
        self.ended = []  # (slot, exit status, what it said) of processes that ended though nobody made them
        self.admin = self.new_admin()
        self.groups = {stage: Committed(self.group(stage)) for stage in WORKERS}
        os.mkdir(f"{p.folder}/log")
        self.watcher = threading.Thread(target=self.watch, daemon=True)
        self.watcher.start()

    # ---- processes

    def launch(self, slot, fail=""):
        rules = ([f"stage.after_take:0:delay={self.throttle_ms}"] if slot.stage == "customer" and self.throttle_ms else []) + \
            ([fail] if fail else [])
        batch = ["--batch", "50"] if slot.stage == "customer" else []
        slot.started_ms = time.time() * 1000
        slot.process = self.p.start(WORKERS[slot.stage], self.p.file, slot.stage, "--instance", str(slot.i), *batch,
                                    log=f"log/{slot.name}", folder=FAULT_BIN if rules else BIN, MILLRACE_FAIL=",".join(rules))
        return slot.process

    def start(self, stage, i, fail=""):
        with self.lock:
            slot = self.slots.setdefault(f"{stage}.{i}", Slot(stage, i))
            slot.wanted = True
            self.launch(slot, fail)
        return slot

    def watch(self):
        while not self.over.wait(0.005):
            with self.lock:
                for slot in self.slots.values():
                    if slot.wanted and slot.process.poll() is not None:
                        if slot.process not in slot.expected:
                            said = re.findall(r'event=stopped reason="(.*)"', self.log(slot))
                            self.ended.append((slot.name, slot.process.returncode, said[-1] if said else ""))
                        self.launch(slot)

    def kill(self, slot, fail=""):
        """kill -9, and at once the next; the time of the kill in ms."""
        with self.lock:
            slot.expected.add(slot.process)
            slot.process.kill()
            at = time.time() * 1000
            slot.process.wait()
            self.launch(slot, fail)
        return at

    def retire(self, slot):
        """SIGTERM, and none in its place; its exit status."""
        with self.lock:
            slot.wanted = False
        return end(slot.process)

    def stop(self):
        self.over.set()
        self.watcher.join()
        for slot in self.slots.values():
            if slot.process.poll() is None:
                slot.process.terminate()
        return {s.name: status for s in self.slots.values() if s.wanted and (status := end_of(s.process)) != 0}

    def log(self, slot):
        return open(f"{self.p.folder}/log/{slot.name}.log", errors="replace").read()

    def times(self, slot, event):
        """When its processes said so, in ms."""
        said = re.findall(rf"^(\S+) level=\S+ worker=\S+ event={event} ", self.log(slot), re.M)
        return [datetime.datetime.fromisoformat(t).timestamp() * 1000 for t in said]

    def forgotten(self):
        """Stages whose group the broker has forgotten: it came back as one that had never seen it (docs/guarantees.md)."""
        return {slot.stage for slot in self.slots.values() if self.times(slot, "offsets_forgotten")}

    def has_started(self, slot):
        return any(t > slot.started_ms for t in self.times(slot, "started"))

    # ---- what Kafka says of them

    def group(self, stage):
        return f"{self.p.name}.{stage}"

    def inputs(self, stage):
        of = self.p.stages[stage]["from"]
        return [self.p.topic(t) for t in ([of] if isinstance(of, str) else of)]

    @staticmethod
    def new_admin():
        return AdminClient({"bootstrap.servers": BROKERS, "log_level": 0})

    def tasks(self, stage):
        """{instance: its tasks}. A client that has seen its coordinator die may time out for ever: then a new one asks."""
        try:
            got = self.admin.describe_consumer_groups([self.group(stage)], request_timeout=4)[self.group(stage)].result(5)
        except KafkaException:
            self.admin = self.new_admin()
            return {}
        return {int(m.group_instance_id.rpartition(".")[2]): sorted({tp.partition for tp in m.assignment.topic_partitions})
                for m in got.members if m.group_instance_id and m.assignment}

    def committed(self, stage):
        """{(topic, partition): offset}"""
        return self.groups[stage].offsets(*self.inputs(stage))

    def progress(self, stage, tasks):
        return sum(offset for (_, part), offset in self.committed(stage).items() if part in tasks)

    def goes_on(self, stage, tasks=range(PARTITIONS), seconds=WAIT_S):
        """Waits until the tasks have committed more; why not, or None."""
        before = wait_for("committed offsets", lambda: self.progress(stage, tasks))
        return None if wait_for(f"{stage} {list(tasks)} to go on", lambda: self.progress(stage, tasks) > (before or 0), seconds) \
            else f"{stage}: no commit of {list(tasks)} within {seconds} s"

    def ends(self, topics, level=IsolationLevel.READ_UNCOMMITTED):
        parts = [TopicPartition(t, part) for t in topics for part in self.admin.list_topics(t, 10).topics[t].partitions]
        got = self.admin.list_offsets({tp: OffsetSpec.latest() for tp in parts}, isolation_level=level, request_timeout=10)
        return {(tp.topic, tp.partition): f.result(15).offset for tp, f in got.items()}


def end_of(process, seconds=30):
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return "does not end"


def state_of(process):
    """The letter of /proc/PID/stat: T is stopped."""
    try:
        return open(f"/proc/{process.pid}/stat").read().rpartition(")")[2].split()[0]
    except OSError:
        return "gone"


class Load:
    """Publishes the payments in order, BACKLOG ahead of what the pipeline has taken, until it is told to stop."""

    def __init__(self, p, live, rows):
        self.live, self.rows, self.n, self.n_failed = live, rows, 0, 0
        self.topic, self.schema = p.topic("transactions"), schema("Transaction")
        self.producer = Producer({"bootstrap.servers": BROKERS, "enable.idempotence": True, "linger.ms": 5, "log_level": 0,
                                  "error_cb": lambda _: None, "message.timeout.ms": 120000})
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.step()
        self.producer.flush(60)  # it lies there before anybody looks
        self.thread.start()

    def delivered(self, error, _):
        self.n_failed += error is not None

    def step(self):
        while self.n < len(self.rows) and self.n - self.live.count("enriched") < BACKLOG:
            key, at, record = self.rows[self.n]
            self.producer.produce(self.topic, frame(self.schema, record), key, at, on_delivery=self.delivered)
            self.n += 1
            if self.n % 1000 == 0:
                self.producer.poll(0)
        self.producer.poll(0)

    def run(self):
        while not self.over.wait(0.02):
            self.step()

    def stop(self):
        self.over.set()
        self.over_ms = time.time() * 1000
        self.thread.join()
        self.producer.flush(60)
        return self.n
