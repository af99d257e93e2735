"""What the integration tests in Python share: a pipeline of a name of its own, framing, topics, processes.

A check prints `ok NAME` or `not ok NAME: why`; the test goes on after a failed one and ends with finish().
"""
import functools
import glob
import io
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

PYTHON = os.environ.get("MILLRACE_VENV", "build/deps/venv") + "/bin/python3"
if not os.path.exists(PYTHON):
    print(f"skip: there is no {PYTHON}: run deploy/deps test")
    sys.exit(77)
if sys.prefix == sys.base_prefix:
    os.execv(PYTHON, [PYTHON, "-B", *sys.argv])

import fastavro  # noqa: E402
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition  # noqa: E402
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType  # noqa: E402
from fastavro.schema import fingerprint, to_parsing_canonical_form  # noqa: E402

sys.path.append(os.path.abspath("test/reference"))
from murmur2 import partition  # noqa: E402

BROKERS = os.environ.get("MILLRACE_BROKERS", "")
if not BROKERS:
    print("skip: MILLRACE_BROKERS names no broker")
    sys.exit(77)
BIN = os.path.abspath(os.environ.get("MILLRACE_BIN", "build/release/bin"))
WAIT_S = 60
MARK = "millrace.mark"  # the header of a mark: its last byte says whether its task rests
failed = 0


def check(name, why):
    """why: what is wrong, or nothing."""
    global failed
    failed += bool(why)
    print(f"not ok {name}: {why}" if why else f"ok {name}", flush=True)


def finish():
    sys.exit(1 if failed else 0)


def wait_for(what, condition, seconds=WAIT_S):
    """The first true result of condition(), or None when the time is over."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        got = condition()
        if got:
            return got
        time.sleep(0.05)  # poll
    print(f"waited {seconds} s in vain for {what}", flush=True)
    return None


def plain(node):
    """A schema without logical types: times stay integers, whatever their values; the id is the same."""
    if isinstance(node, dict):
        return {k: plain(v) for k, v in node.items() if k != "logicalType"}
    return [plain(v) for v in node] if isinstance(node, list) else node


def schema(name):
    return fastavro.parse_schema(plain(json.load(open(f"schemas/{name}.avsc"))))


@functools.cache
def schema_id(name):
    """The low 31 bits of the fingerprint of schemas/<name>.avsc."""
    parsed = schema(name)
    crc = int.from_bytes(bytes.fromhex(fingerprint(to_parsing_canonical_form(parsed), "CRC-64-AVRO")), "little")
    return crc & 0x7FFFFFFF


def frame(parsed, record):
    out = io.BytesIO()
    out.write(b"\0" + struct.pack(">I", schema_id(parsed["name"])))
    fastavro.schemaless_writer(out, parsed, record)
    return out.getvalue()


class Schemas:
    """Writers' schemas by id, as millrace.schemas holds them."""

    def __init__(self):
        self.by_id = {int(key): fastavro.parse_schema(plain(json.loads(value)))
                      for key, value, *_ in read_all("millrace.schemas")}

    def decode(self, value):
        body = io.BytesIO(value[5:])
        record = fastavro.schemaless_reader(body, self.by_id[struct.unpack(">I", value[1:5])[0]])
        assert body.read() == b"", "bytes after the record"
        return record


class Reading:
    """Reads topics from their beginnings, committed records only; more() goes on where it was."""

    def __init__(self, *topics):
        self.rows = {t: [] for t in topics}  # (key, value, partition, offset, headers, append time in ms)
        self.rests = {t: [] for t in topics}  # append times of the marks by which a task says that it rests
        self.ended = {}  # partitions at whose end it is: that end
        self.consumer = Consumer({"bootstrap.servers": BROKERS, "group.id": "test", "isolation.level": "read_committed",
                                  "enable.partition.eof": True, "enable.auto.commit": False, "log_level": 0,
                                  "fetch.wait.max.ms": 50})
        self.parts = [TopicPartition(t, p, 0) for t in topics
                      for p in self.consumer.list_topics(t, 10).topics[t].partitions]
        self.consumer.assign(self.parts)

    def more(self):
        for m in self.consumer.consume(5000, 0.1):
            at = (m.topic(), m.partition())
            if m.error():
                assert m.error().code() == KafkaError._PARTITION_EOF, m.error()
                self.ended[at] = m.offset()
                continue
            self.ended.pop(at, None)
            if m.value() is not None:  # else a mark
                self.rows[m.topic()].append((m.key(), m.value(), m.partition(), m.offset(), m.headers() or [],
                                             m.timestamp()[1]))
            elif dict(m.headers() or {}).get(MARK, b"\0")[-1]:
                self.rests[m.topic()].append(m.timestamp()[1])
        return self

    def until(self, what, enough, seconds=WAIT_S):
        """Reads until enough(self); what: in words. Then to the ends, so that there is not more than enough."""
        met = wait_for(what, lambda: enough(self.more()), seconds)
        wait_for("the ends", lambda: len(self.more().ended) == len(self.parts), seconds)
        return met

    def close(self):
        self.consumer.close()


def read_all(topic):
    """Every committed record of a topic, up to its ends now."""
    r = Reading(topic)
    r.until("the ends", lambda r: len(r.ended) == len(r.parts))
    r.close()
    return r.rows[topic]


class Committed:
    """What a group has committed. By a consumer that never joins it: asked by an AdminClient, librdkafka 2.16 writes to address 0
    where the group's coordinator has just started (its issue 5040)."""

    def __init__(self, group, brokers=BROKERS):
        self.consumer = Consumer({"bootstrap.servers": brokers, "group.id": group, "isolation.level": "read_uncommitted",
                                  "log_level": 0})

    def offsets(self, *topics):
        """{(topic, partition): offset}, of those that have one; empty where nobody answers."""
        try:
            parts = [TopicPartition(t, p) for t in topics for p in self.consumer.list_topics(t, 10).topics[t].partitions]
            return {(tp.topic, tp.partition): tp.offset for tp in self.consumer.committed(parts, 10) if tp.offset >= 0}
        except KafkaException:
            return {}


class Repeats:
    """What a reader from outside need not take of one topic. (offset, index) rises per partition, task, input and channel; a dead
    letter's repeat is the same bytes."""

    def __init__(self):
        self.last, self.letters, self.n = {}, set(), 0

    def is_new(self, part, record, value):
        n = record.get("lineage")
        if n:
            at, origin = (n["offset"], n["index"]), (part, n["task"], n["input"], n["channel"])
            new = at > self.last.get(origin, (-1, -1))
            if new:
                self.last[origin] = at
        else:
            new = value not in self.letters
            self.letters.add(value)
        self.n += not new
        return new


class Pipeline:
    """pipelines/fraud.json under a name of this test's own, in a folder that ends with it."""

    def __init__(self, name, change=None):
        self.name = f"{name}{os.getpid()}"
        self.folder = tempfile.mkdtemp(prefix="millrace-")
        self.file = f"{self.folder}/{self.name}.json"
        self.env = dict(os.environ, MILLRACE_BROKERS=BROKERS, MILLRACE_KEYS=f"{self.folder}/keys")
        self.started = []
        p = json.load(open("pipelines/fraud.json"))
        p = {"pipeline": self.name, "schemas": os.path.abspath("schemas"), **{k: p[k] for k in ("topics", "stages")}}
        if change:
            change(p)
        json.dump(p, open(self.file, "w"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.started:
            if process.poll() is None:
                process.kill()
                process.wait()
        if failed or os.environ.get("KEEP"):
            for log in sorted(glob.glob("**/*.log", root_dir=self.folder, recursive=True)):
                print(f"--- {log}\n" + open(f"{self.folder}/{log}", errors="replace").read()[-2000:])
        shutil.rmtree(self.folder)

    def topic(self, name):
        return f"{self.name}.{name}"

    def run(self, *args, seconds=WAIT_S, **kwargs):
        """A program of build/release/bin to its end."""
        return subprocess.run([f"{BIN}/{args[0]}", *args[1:]], env=self.env, capture_output=True, text=True,
                              timeout=seconds, cwd=self.folder, **kwargs)

    def start(self, *args, log=None, folder=BIN, **env):
        process = subprocess.Popen([f"{folder}/{args[0]}", *args[1:]], env={**self.env, **env}, cwd=self.folder,
                                   stdout=subprocess.DEVNULL, stderr=open(f"{self.folder}/{log or args[0]}.log", "a"))
        self.started.append(process)
        return process

    def make_topics(self):
        done = self.run("millrace", "topics", self.file)
        assert done.returncode == 0, done.stderr

    def set_topic(self, topic, **settings):
        admin = AdminClient({"bootstrap.servers": BROKERS, "log_level": 0})
        resource = ConfigResource(ResourceType.TOPIC, topic, set_config={k.replace("_", "."): v for k, v in settings.items()})
        for future in admin.alter_configs([resource]).values():
            future.result(10)

        def is_set(): # a broker takes it up a moment after it was accepted
            got = admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)])
            return all(f.result(10)[k.replace("_", ".")].value == v for f in got.values() for k, v in settings.items())
        wait_for(f"the settings of {topic}", is_set)


def end(process, seconds=30):
    """SIGTERM and the exit status; None: it did not end."""
    process.send_signal(signal.SIGTERM)
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
