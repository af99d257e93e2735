"""One trial: the pipeline under load, faults, the end of the load, and the verdict on every record. check() prints each part of it."""
import csv

from harm import *  # noqa: F403

DAY_MS = 86400000
CUSTOMERS, TERMINALS = 300, 600  # about 600 payments a day
LATE_EVERY = 997


def is_late(i):
    return i % LATE_EVERY == 500


def payments(p, n_rows):
    """The CSV's rows as [(key, partition, record)]; some are late."""
    made = p.run("millrace", "generate", "fraud", "--days", str(n_rows // 570), "--customers", str(CUSTOMERS), "--terminals",
                 str(TERMINALS), "--seed", "3", "--out", p.folder)
    assert made.returncode == 0, made.stderr
    rows = []
    with open(f"{p.folder}/transactions.csv", newline="") as f:
        for i, r in enumerate(csv.DictReader(f)):
            key = r["customer_id"].encode()
            rows.append((key, partition(key, PARTITIONS), {
                "tx_id": int(r["tx_id"]), "ts": int(r["ts"]) - DAY_MS * is_late(i), "customer_id": r["customer_id"],
                "terminal_id": r["terminal_id"], "amount": float(r["amount"])}))
    return rows


def publish_labels(p, rows):
    """All before the first payment; and one at the far end of each partition, so that none is ever at its end."""
    done = p.run("millrace", "publish", p.topic("labels"), f"{p.folder}/labels.csv", "--pipeline", p.file)
    assert done.returncode == 0, done.stderr
    with open(f"{p.folder}/last.csv", "w") as f:
        print("tx_id,terminal_id,customer_id,amount,reported_ts", file=f)
        for part in range(PARTITIONS):
            terminal = next(t for t in range(TERMINALS) if partition(str(t).encode(), PARTITIONS) == part)
            print(f"{-1 - part},{terminal},0,0,{rows[-1][2]['ts'] + 60 * DAY_MS}", file=f)
    done = p.run("millrace", "publish", p.topic("labels"), f"{p.folder}/last.csv", "--pipeline", p.file)
    assert done.returncode == 0, done.stderr


# ---- what must have come: the same records through the same workers on files

def to_file(p, topic, path):
    """The topic's committed records in an Avro file, in the order of their publication; their offsets by partition."""
    parsed, got, offsets = schema(path.partition(".")[0].rpartition("/")[2]), [], [[] for _ in range(PARTITIONS)]
    for n, (_, value, part, offset, *_) in enumerate(read_all(topic)):
        got.append((n, fastavro.schemaless_reader(io.BytesIO(value[5:]), parsed)))
        offsets[part].append(offset)
    if "tx_id" in got[0][1] and "ts" in got[0][1]:
        got.sort(key=lambda r: r[1]["tx_id"])
    with open(path, "wb") as f:
        fastavro.writer(f, parsed, (r for _, r in got))
    return offsets


def quiet(p, load):
    """A ledger of what the file driver makes of the input topics."""
    folder = p.folder
    offsets = to_file(p, p.topic("transactions"), f"{folder}/Transaction.avro")
    to_file(p, p.topic("labels"), f"{folder}/FraudLabel.avro")
    check("the input topic holds what was published, at the offsets that were foreseen",
          [list(range(len(o))) for o in offsets] != offsets and "other offsets" or sum(map(len, offsets)) != load.n and
          f"{sum(map(len, offsets))} of {load.n}")
    for args in (["preprocess", "customer", "--in", "Transaction.avro", "--out", "enriched.avro", "--out", "dead_letters=dead.avro"],
                 ["preprocess", "terminal", "--in", "FraudLabel.avro", "--in", "enriched.avro", "--out", "features.avro"],
                 ["train", "learn", "--in", "features.avro", "--in", "FraudLabel.avro", "--out", "models.avro"],
                 ["score", "score", "--in", "features.avro", "--in", "models.avro", "--out", "scores.avro"],
                 ["alert", "alert", "--in", "scores.avro", "--out", "alerts.avro"]):
        done = p.run(args[0], p.file, *args[1:], seconds=600)
        assert done.returncode == 0, f"{args}: {done.stderr[-1000:]}"
    ledger = Ledger(load.payments)
    for topic in [*ONCE, "alerts"]:
        ledger.file(topic, f"{folder}/{topic}.avro")
    return ledger


# ---- the end

def unfinished(fleet, live, counts, n_late):
    """What is still to come, in words; None when all is out and committed."""
    for topic in ONCE:
        if live.count(topic) != sum(counts):
            return f"{live.count(topic)} of {sum(counts)} {topic}"
    if live.count("dead_letters") != n_late:
        return f"{live.count('dead_letters')} of {n_late} dead letters"
    p = fleet.p
    for stage in WORKERS:
        ends = fleet.ends(fleet.inputs(stage))
        committed = fleet.committed(stage)
        lag = {at: (committed.get(at), end) for at, end in ends.items() if end and committed.get(at) != end}
        if lag:
            return f"{stage} lags: (committed, end) {lag}"
    return None


def drain(fleet, live, load):
    counts, n_late = load.payments.counts(load.n)
    last = {}

    def done():
        last["why"] = unfinished(fleet, live, counts, n_late)
        return last["why"] is None
    finished = wait_for("all records to be processed", done, 300)
    check("everything that was published is processed, and no stage lags", not finished and last["why"])


def open_transactions(fleet):
    """Partitions whose committed records end before their last record."""
    topics = [t for t in fleet.admin.list_topics(timeout=10).topics if t.startswith(fleet.p.name + ".")]
    found = {}

    def none():
        ends, stable = fleet.ends(topics), fleet.ends(topics, IsolationLevel.READ_COMMITTED)
        found["at"] = {at: (stable[at], end) for at, end in ends.items() if stable[at] != end}
        return not found["at"]
    return None if wait_for("no transaction to be open", none, 30) else f"open: (committed to, end) {found['at']}"


def judge(p, load, fleet, live):
    """The verdict on every record; figures."""
    seen, moments = live.end(fleet.ends([p.topic(t) for t in TOPICS]))
    (got, rests), want = read_once(p, load.payments), quiet(p, load)
    counts, n_late = load.payments.counts(load.n)
    rests = [t for t in rests if t < load.over_ms]
    check("no task of the first stage was ever at its input's end while the faults went on", rests and
          f"{len(rests)} marks say so, the first {rests[0] / 1000:.3f}: raise BACKLOG")
    check("a read_committed reader saw no gap, no repetition, no disorder while the faults went on", "; ".join(seen.errors))
    check("nor does one that reads it all afterwards", "; ".join(got.errors))
    check("both saw the same, byte for byte", "; ".join(differences(seen, got, "seen along", "read afterwards")))
    check(f"the {sum(want.n(t) for t in TOPICS)} records are those of the file driver, byte for byte but for lineage's offsets",
          "; ".join(differences(want, got, "on files", "on Kafka")))
    check("every stage has put out what there was to put out",
          ", ".join(f"{want.n(t)} {t}" for t in [*ONCE, "alerts"] if not want.n(t)) or want.errors)
    check(f"the {n_late} late payments are the dead letters", len(got.letters) != n_late and f"{len(got.letters)}")
    lost = got.lost + sum(n - got.next[t, c] for t in ONCE for c, n in enumerate(counts))
    return {"records": sum(got.n(t) for t in TOPICS), "lost": lost, "duplicated": got.again}, moments


def trial(name, plan, rows_max):
    """Prints checks; returns figures, and the seconds from each kill to the slot's next output."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the workers end with it
    with Pipeline(name, pipeline_changes) as p:
        p.stages = json.load(open(p.file))["stages"]
        rows = payments(p, rows_max)
        p.make_topics()
        assert p.run("millrace", "models", "list").returncode == 0  # makes the keys
        publish_labels(p, rows)
        placed = Payments(p.name, ((r["customer_id"], r["terminal_id"]) for *_, r in rows), is_late)
        live = Live(p, placed)
        fleet = Fleet(p, plan.throttle_ms)
        load = Load(p, live, rows)
        load.payments = placed
        try:
            return under_load(p, plan, fleet, live, load)
        finally:
            fleet.over.set()
            fleet.watcher.join()


def under_load(p, plan, fleet, live, load):
    for stage, n in PARTS.items():
        for i in range(n):
            fleet.start(stage, i)
    faults = Faults(fleet, live, plan)
    wait_for("the first scores", lambda: live.count("scores") > 1000)
    began = time.monotonic()
    faults.all()
    seconds = time.monotonic() - began
    check("the load was there all the time", load.n >= len(load.rows) and f"all {load.n} payments were published before the end")
    n = load.stop()
    check("the load itself lost nothing", load.n_failed and f"{load.n_failed} payments could not be published")
    print(f"{n} payments in {seconds:.0f} s of faults", flush=True)
    fleet.throttle_ms = 0
    for slot in [s for s in fleet.slots.values() if s.stage == "customer"]:
        fleet.kill(slot)
    drain(fleet, live, load)
    check("no transaction is open", open_transactions(fleet))
    check("every worker ends when told to", fleet.stop())
    figures, moments = judge(p, load, fleet, live)
    check("every fault did what it was to do, and the pipeline went on", "; ".join(faults.wrong))
    check("no worker ended but by what was done to it", fleet.ended and f"(slot, exit status, why) {fleet.ended}")
    check("every fail point of the code was reached", points_missed(faults, plan))
    after_kill = latencies(faults.kills, moments)
    figures.update(kills=len(faults.kills), zombies=faults.zombies, broker_restarts=faults.brokers, scalings=faults.scalings,
                   fail_points=len(faults.reached), groups_forgotten=len(fleet.forgotten()))
    print(f"{figures}; kill to output, s: " + " ".join(f"{s:.2f}" for s in after_kill), flush=True)
    if support.failed or os.environ.get("KEEP"):
        shutil.copytree(p.folder, f"build/check/{p.name}", dirs_exist_ok=True)
    return figures, after_kill


def points_missed(faults, plan):
    code = set()
    for path in glob.glob("common/*/*.c") + glob.glob("workers/*/*.c"):
        code |= set(re.findall(r'\bFAIL\("([^"]+)"', open(path).read()))
    if code != set(POINTS):
        return f"not of one mind: the code has {sorted(code)}, the test {sorted(POINTS)}"
    goal = {p: plan.scalings if p == "log.revoking" else plan.points for p in code}
    missed = {p: f"{n} of {goal[p]}" for p in code if (n := faults.reached.count(p)) < goal[p]}
    return missed and f"{missed}"
