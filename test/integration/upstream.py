"""A stage's upstream that is a test: it writes what the tasks of stage `customer` would, and when it likes."""
from support import *

TASKS = 4
T0 = 1600000000000
MINUTE = 60000


def varint(n):
    n = (n << 1) ^ (n >> 63)
    out = b""
    while n > 0x7F:
        out += bytes([n & 0x7F | 0x80])
        n >>= 7
    return out + bytes([n])


def mark(task, at, idle=False, epoch=0, tasks=TASKS):
    return b"".join(map(varint, (epoch, task, tasks, at))) + bytes([idle])


class Upstream:
    """Writes what the tasks of stage `customer` would: records and marks, each call in one transaction of the task's own."""

    def __init__(self, p, topic="enriched"):
        self.p, self.topic, self.producers, self.n = p, p.topic(topic), {}, 0
        rows = read_all_with_headers("millrace.schemas")
        key, value = next((k, v) for k, v, h in rows if ("subject", f"{self.topic}-value".encode()) in h)
        self.id, self.schema = int(key), fastavro.parse_schema(plain(json.loads(value)))

    def producer(self, task):
        if task not in self.producers:
            self.producers[task] = Producer({"bootstrap.servers": BROKERS, "transactional.id": f"{self.p.name}.upstream.{task}",
                                             "transaction.timeout.ms": 300000, "log_level": 0})
            self.producers[task].init_transactions(30)
        return self.producers[task]

    def value(self, task, at, /, **lies):
        self.n += 1
        lineage = {"source": {"topic": "a", "partition": 0, "offset": self.n}, "task": task, "offset": self.n, "index": 0,
                   "tasks": TASKS, "epoch": 0, "at": at, "seen": [], "feature_set": None, "model": None, "routing": None, **lies}
        record = {f["name"]: None for f in self.schema["fields"]}
        record |= {"tx_id": self.n, "ts": at, "customer_id": "1", "terminal_id": "2", "amount": 1.0, "lineage": lineage}
        for f in self.schema["fields"]:
            if record[f["name"]] is None and "null" not in f["type"]:
                record[f["name"]] = 0
        out = io.BytesIO()
        out.write(b"\0" + struct.pack(">I", self.id))
        fastavro.schemaless_writer(out, self.schema, record)
        return out.getvalue()

    def say(self, task, at, records=(), idle=False, commit=True, **lies):
        """records: (partition, at). The mark goes to every partition behind them."""
        p = self.producer(task)
        p.begin_transaction()
        for partition, its in records:
            p.produce(self.topic, self.value(task, its, **lies), b"2", partition)
        for partition in range(TASKS):
            p.produce(self.topic, None, None, partition, headers=[(MARK, mark(task, at, idle, lies.get("epoch", 0)))])
        p.flush(30)
        if commit:
            p.commit_transaction(30)

    def raw(self, partition, value, header=None):
        p = self.producer("raw")
        p.begin_transaction()
        p.produce(self.topic, value, b"2" if value else None, partition, headers=[(MARK, header)] if header is not None else None)
        p.commit_transaction(30)

    def rest(self, at, epoch=0):
        for task in range(TASKS):
            self.say(task, at, idle=True, epoch=epoch)


def read_all_with_headers(topic):
    r = Reading(topic)
    r.until("the ends", lambda r: len(r.ended) == len(r.parts))
    r.close()
    return [(k, v, h) for k, v, _, _, h, *_ in r.rows[topic]]
