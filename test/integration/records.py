"""What a run of the fraud pipeline put out, in a form that equal runs share.

Offsets are a log's own: transactions and marks take some of them. So each offset in a record is told by what it names: of `source` and
`offset` the tx_id of the record there, of `seen` how many records lie before it. Left out is the pipeline's name in topics, and of a
dead letter when the broker took it, and the frame of its value. Nothing else: all other fields are compared, text for text.
"""
import bisect
import csv
import json
import os
import sys

from support import BROKERS, Producer, Schemas, frame, partition, read_all, schema

sys.path.append(os.path.abspath("test/reference"))
import avro_file  # noqa: E402

PARTITIONS = 4
KEYS = {"transactions": "customer_id", "labels": "terminal_id", "enriched": "terminal_id", "features": "customer_id",
        "scores": "customer_id", "alerts": "customer_id"}
# What lineage's task and offset name: a score takes them over from its row.
TAKEN = {"enriched": "transactions", "features": "enriched", "scores": "enriched", "alerts": "scores"}
OUTPUTS = [*TAKEN, "dead_letters"]


def publish_plainly(p, topic, name, path):
    """A CSV's rows by a producer without transactions, as any Kafka client may: then offsets only count the topic's records."""
    parsed, producer = schema(name), Producer({"bootstrap.servers": BROKERS, "enable.idempotence": True, "linger.ms": 5})
    types = {f["name"]: {"long": int, "double": float}.get(f["type"]["type"] if isinstance(f["type"], dict) else f["type"], str)
             for f in parsed["fields"]}
    for row in csv.DictReader(open(path)):
        key = row[KEYS[topic]].encode()
        record = {f: of(row[f]) for f, of in types.items()}
        while True:
            try:
                producer.produce(p.topic(topic), frame(parsed, record), key, partition(key, PARTITIONS))
                break
            except BufferError:
                producer.poll(0.1)
    assert producer.flush(60) == 0, "not all was published"


def of_kafka(p):
    """{topic: [(partition, offset, key, record)]}"""
    schemas = Schemas()
    return {t: [(part, offset, key, schemas.decode(value)) for key, value, part, offset, *_ in read_all(p.topic(t))]
            for t in [*KEYS, "dead_letters"]}


def of_files(folder):
    """The same of files, where a partition's records are counted."""
    logs = {}
    for t in [*KEYS, "dead_letters"]:
        counts, logs[t] = [0] * PARTITIONS, []
        for record in avro_file.records(f"{folder}/{t}.avro"):
            key = record[KEYS[t]].encode() if t in KEYS else record["key"]
            part = partition(key or b"", PARTITIONS) if t in KEYS else record["partition"]
            logs[t].append((part, counts[part], key, record))
            counts[part] += 1
    return logs


def told(logs, name, files=False):
    """{topic: {channel: [(key, text)]}}: a channel is (partition, writer's task), of dead letters (topic, partition). files: to be
    compared with those of files, whose dead letters have no key."""
    at = {t: {(part, offset): record["tx_id"] for part, offset, _, record in logs[t]} for t in [*TAKEN, "transactions"]}
    before = {t: {p: sorted(offset for part, offset, *_ in logs[t] if part == p) for p in range(PARTITIONS)} for t in KEYS}
    out = {t: {} for t in OUTPUTS}

    def position(p, names):
        topic = p["topic"].partition(".")[2]
        what = at[topic].get((p["partition"], p["offset"]), f"nothing at {p}") if names else \
            bisect.bisect_left(before[topic][p["partition"]], p["offset"])
        return {"topic": topic, "partition": p["partition"], "offset": what}

    for t in TAKEN:
        for part, _, key, record in logs[t]:
            lin = record["lineage"]
            model = lin["model"] and {**lin["model"], "name": lin["model"]["name"].replace(name, "")}
            plain = {**record, "lineage": {**lin, "source": position(lin["source"], True), "model": model,
                                           "offset": at[TAKEN[t]].get((lin["task"], lin["offset"]), f"nothing at {lin['offset']}"),
                                           "seen": [position(p, False) for p in lin["seen"]]}}
            out[t].setdefault((part, lin["task"]), []).append((key, json.dumps(plain, sort_keys=True)))
    for part, _, key, dead in logs["dead_letters"]:
        where = position(dead, True)
        value = dead["value"][5:] if dead["value"][:1] == b"\0" else dead["value"]
        plain = {**dead, **where, "value": value.hex(), "key": (dead["key"] or b"").hex(), "arrival_ms": None}
        if files:
            key, plain["key"] = None, None
        out["dead_letters"].setdefault((where["topic"], where["partition"]), []).append((key, json.dumps(plain, sort_keys=True)))
    return out


def different(want, got, topic, as_sets=False):
    """What is wrong between the channels of a topic of two runs, or None. as_sets: whatever the order within a channel."""
    order = sorted if as_sets else list
    for channel in sorted(set(want[topic]) | set(got[topic])):
        w, g = order(want[topic].get(channel, [])), order(got[topic].get(channel, []))
        if w != g:
            i = next((i for i, (a, b) in enumerate(zip(w, g)) if a != b), min(len(w), len(g)))
            return f"channel {channel} of {len(w)} records, not {len(g)}: record {i} is {g[i:i + 1]}, not {w[i:i + 1]}"
    return None


def count(out, topic):
    return sum(map(len, out[topic].values()))


def with_disorder(path):
    """Two more transactions, out of order: one half an hour late, which is inserted in place, one two days; its tx_id: too late."""
    rows = list(csv.reader(open(path)))
    head, rows = rows[0], rows[1:]
    ts, tx = head.index("ts"), head.index("tx_id")
    for i, behind_ms in ((len(rows) // 3, 1800000), (len(rows) // 2, 2 * 86400000)):
        row = list(rows[i])
        row[tx], row[ts] = str(len(rows)), str(int(row[ts]) - behind_ms)
        rows.insert(i + 1, row)
    with open(path, "w", newline="") as f:
        csv.writer(f, lineterminator="\n").writerows([head, *rows])
    return len(rows) - 1
