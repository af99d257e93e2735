"""What a committed reader must see of the fraud pipeline, judged record by record while faults go on, and byte by byte afterwards.

A chain is what keeps its order all the way: the payments of one partition of `transactions` whose terminals share one partition of
`enriched`. Of each chain every payment comes once and in order in `enriched`, `features` and `scores`, wherever tasks, processes and
restarts cut it. The source's offset in lineage says which payment a record is.
"""
import array
import hashlib
import io
import json
import multiprocessing
import os
import signal
import sys

sys.path.insert(0, "test/integration")
sys.path.insert(0, "test/reference")
import avro_file  # noqa: E402
import support  # noqa: E402
from support import *  # noqa: E402, F403

WAIT_S = 180  # a busy machine is no fault
ONCE = ["enriched", "features", "scores"]
TOPICS = [*ONCE, "alerts", "dead_letters"]
PARTITIONS = 4
CHAINS = PARTITIONS * PARTITIONS
ERRORS_MAX = 10


def wait_for(what, condition, seconds=WAIT_S):
    return support.wait_for(what, condition, seconds)


def long(b, i):
    c = b[i]
    i += 1
    if c < 0x80:
        return (c >> 1) ^ -(c & 1), i
    v, shift = c & 0x7F, 7
    while True:
        c = b[i]
        i += 1
        v |= (c & 0x7F) << shift
        if c < 0x80:
            return (v >> 1) ^ -(v & 1), i
        shift += 7


def split(b, at, mark):
    """A record at `at` of b: (digest of its bytes without lineage's offsets, source partition, source offset, task, index, its end).
    lineage (schemas/Lineage.avsc) is its last field; mark: the source topic's name as lineage begins with it."""
    source, i = long(b, b.index(mark, at) + len(mark))
    a = i
    offset, c = long(b, i)
    task, d = long(b, c)
    _, begin = long(b, d)  # offset of the record that the writer took
    parts = [b[at:a], b[c:d]]
    index, i = long(b, begin)
    for _ in range(3):  # tasks, epoch, at
        _, i = long(b, i)
    n, i = long(b, i)
    while n:  # seen
        for _ in range(n):
            chars, i = long(b, i)
            _, i = long(b, i + chars)
            parts.append(b[begin:i])
            _, begin = long(b, i)
            i = begin
        n, i = long(b, i)
    there, i = long(b, i)
    if there:  # feature set
        chars, i = long(b, i)
        i += chars
    there, i = long(b, i)
    if there:  # model: name, version
        chars, i = long(b, i)
        _, i = long(b, i + chars)
    there, i = long(b, i)
    if there:  # routing
        _, i = long(b, i)
    for _ in range(2):  # input, channel
        _, i = long(b, i)
    parts.append(b[begin:i])
    return hashlib.blake2b(b"".join(parts), digest_size=8).digest(), source, offset, task, index, i


class Payments:
    """The payments in the order in which they are published: by (partition, offset) their chain and their place in it."""

    def __init__(self, name, rows, is_late):
        """rows: (customer, terminal); offsets are counts, as a producer without transactions makes them."""
        text = f"{name}.transactions".encode()
        self.mark = bytes([len(text) * 2]) + text
        self.place = [array.array("q") for _ in range(PARTITIONS)]  # -1: late
        self.n_rows, self.chain_of = 0, array.array("b")
        counts = [0] * CHAINS
        of = {}
        for customer, terminal in rows:
            key = customer, terminal
            if key not in of:
                of[key] = partition(customer.encode(), PARTITIONS) * PARTITIONS + partition(terminal.encode(), PARTITIONS)
            chain = of[key]
            late = is_late(self.n_rows)
            self.place[chain // PARTITIONS].append(-1 if late else counts[chain] * CHAINS + chain)
            self.chain_of.append(-1 if late else chain)
            counts[chain] += not late
            self.n_rows += 1

    def counts(self, n_rows):
        """How many of the first n_rows each chain has, and how many are late."""
        counts = [0] * CHAINS
        for chain in self.chain_of[:n_rows]:
            if chain >= 0:
                counts[chain] += 1
        return counts, n_rows - sum(counts)


class Ledger:
    """Takes records as a reader sees them; errors: what must not be, in words."""

    def __init__(self, payments):
        self.payments = payments
        self.next = {(t, c): 0 for t in TOPICS for c in range(CHAINS)}
        self.digests = {(t, c): bytearray() for t in TOPICS for c in range(CHAINS)}
        self.letters, self.frames, self.errors = set(), {}, []
        self.lost = self.again = 0

    def error(self, text):
        if len(self.errors) < ERRORS_MAX:
            self.errors.append(text)

    def record(self, topic, part, b, at=5):
        """One record of an output topic; returns (its task, its end in b). part None: a file, which has no partitions."""
        try:
            digest, source, offset, task, index, end = split(b, at, self.payments.mark)
            place = self.payments.place[source][offset]
        except (ValueError, IndexError):
            self.error(f"{topic}/{part}: bytes that are no output of a payment")
            return None, len(b)
        chain, k = place % CHAINS, place // CHAINS
        what = f"{topic}/{part}: transactions/{source}/{offset}"
        where = {"enriched": (chain % PARTITIONS, source), "alerts": (source, source)}.get(topic, (source, chain % PARTITIONS))
        if place < 0:
            self.error(f"{what} was late and is there all the same")
        elif part is not None and (part, task) != where:
            self.error(f"{what} by task {task}, not in {where[0]} by {where[1]}")
        if topic == "alerts":  # several of a payment, or none
            k = k * 256 + index
            if k < self.next[topic, chain]:
                self.again += 1
                self.error(f"{what} index {index}: again, or out of order")
        elif k > self.next[topic, chain]:
            self.lost += k - self.next[topic, chain]
            self.error(f"{what}: {k - self.next[topic, chain]} payments of its chain are missing before it")
        elif k < self.next[topic, chain] or index != 0:
            self.again += 1
            self.error(f"{what}: again, {self.next[topic, chain] - k} behind its chain")
        self.next[topic, chain] = k + 1
        self.digests[topic, chain] += digest
        return task, end

    def message(self, topic, part, value):
        """A record of Kafka; the task that put it out, or None."""
        if topic == "dead_letters":
            return self.letter(value)
        if self.frames.setdefault(topic, value[:5]) != value[:5]:
            self.error(f"{topic}/{part}: frames of two schemas")
        task, end = self.record(topic, part, value)
        if end != len(value):
            self.error(f"{topic}/{part}: {len(value) - end} bytes behind a record")
        return part if topic == "scores" else task  # a stage without state leaves lineage's task as it is

    def letter(self, value):
        d = avro_file.body(LETTER, value[5:])
        at = d["topic"], d["partition"], d["offset"]
        if d["topic"] != self.payments.mark[1:].decode() or self.payments.place[d["partition"]][d["offset"]] >= 0:
            self.error(f"dead letter of {at}: {d['reason']}")
        if at in self.letters:
            self.again += 1
            self.error(f"dead letter of {at}: again")
        self.letters.add(at)

    def file(self, topic, path):
        for _, n, b in avro_file.bodies(path):
            at = 0
            for _ in range(n):
                _, at = self.record(topic, None, b, at)

    def n(self, topic):
        return sum(len(self.digests[topic, c]) // 8 for c in range(CHAINS))


LETTER = json.load(open("schemas/DeadLetter.avsc"))


def differences(a, b, what_a, what_b):
    """Lines: where two ledgers differ, and the first difference of each."""
    for key in a.digests:
        x, y = a.digests[key], b.digests[key]
        if x != y:
            i = next((i for i in range(0, min(len(x), len(y)), 8) if x[i:i + 8] != y[i:i + 8]), min(len(x), len(y)))
            yield (f"{key[0]}, chain {key[1]}: {len(x) // 8} records {what_a}, {len(y) // 8} {what_b}; the first that differs is "
                   f"number {i // 8}")


def read_once(p, payments):
    """A ledger of what the topics hold in the end, by a reader that saw nothing of the faults; and when a task of the first stage rested."""
    ledger, reading = Ledger(payments), Reading(*map(p.topic, TOPICS))
    wait_for("the ends of the topics", lambda: feed(p, reading, ledger.message) or len(reading.ended) == len(reading.parts), 300)
    reading.close()
    return ledger, reading.rests[p.topic(ONCE[0])]


def feed(p, reading, take):
    for topic, rows in reading.more().rows.items():
        short = topic[len(p.name) + 1:]
        for _, value, part, *_ in rows:
            take(short, part, value)
        rows.clear()


class Live:
    """A read_committed reader in a process of its own that reads along while the faults go on. `counts` per topic;
    `moments(topic, task)`: when records of a task came, as (appended, seen) in ms, at most each 5 ms."""

    def __init__(self, p, payments):
        self.p, self.payments = p, payments
        self.counts = multiprocessing.Array("q", len(TOPICS), lock=False)
        self.appended = multiprocessing.Array("d", len(TOPICS) * PARTITIONS, lock=False)
        self.wrong = multiprocessing.Value("b", 0)
        self.pipe, far = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=self.run, args=(far,), daemon=True)
        self.process.start()

    def count(self, topic):
        return self.counts[TOPICS.index(topic)]

    def seen_since(self, topic, tasks, ms):
        """Whether a record of one of the tasks came that was appended at ms or later."""
        return any(self.appended[TOPICS.index(topic) * PARTITIONS + t] >= ms for t in tasks)

    def end(self, ends):
        """Reads to the ends {(topic, partition): offset}; the ledger and the moments."""
        self.pipe.send(ends)
        got = self.pipe.recv() if self.pipe.poll(300) else (Ledger(self.payments), {})
        self.process.join(10)
        got[0].payments = self.payments
        return got

    def run(self, pipe):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        ledger, moments = Ledger(self.payments), {}
        reading = Reading(*map(self.p.topic, TOPICS))
        ends = None
        while ends is None or any(reading.ended.get(at, -1) < end for at, end in ends.items()):
            reading.more()
            now = time.time() * 1000
            for topic, rows in reading.rows.items():
                short = topic[len(self.p.name) + 1:]
                t = TOPICS.index(short)
                for _, value, part, _, _, appended in rows:
                    task = ledger.message(short, part, value)
                    if task is None:
                        continue
                    if appended >= self.appended[t * PARTITIONS + task] + 5:
                        self.appended[t * PARTITIONS + task] = appended
                        moments.setdefault((short, task), []).append((appended, now))
                self.counts[t] += len(rows)
                rows.clear()
            if ledger.errors and not self.wrong.value:
                self.wrong.value = 1
                print("live: " + ledger.errors[0], flush=True)
            if ends is None and pipe.poll():
                ends = pipe.recv()
        ledger.payments = None
        pipe.send((ledger, moments))
        reading.close()
