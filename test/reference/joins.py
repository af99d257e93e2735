"""Random streams for pipelines/cards.json, and what `enrich` makes of them: by a look through all records before each, as docs/pipeline.md has it.

Customers and findings change at any time, in disorder and at the moments of payments; payments come late, some customers are unknown.
"""
import csv
import random

DAY, T0 = 86400000, 1600000000000
HEADS = {"customers": ["customer_id", "changed_ts", "tier", "card_limit", "is_closed"],
         "labels": ["tx_id", "terminal_id", "customer_id", "amount", "reported_ts"],
         "transactions": ["tx_id", "ts", "customer_id", "terminal_id", "amount"]}
TIME = {"customers": "changed_ts", "labels": "reported_ts", "transactions": "ts"}
LATENESS = {"customers": 30 * DAY, "labels": DAY // 24, "transactions": DAY // 24}
TIERS = [None, "gold", "basic", "none of those that a short field would hold", "platinum " * 30, "Größe Ω"]


def make(seed, n, days=200, customers=60):
    """{topic: rows in their order}"""
    rnd, rows = random.Random(seed), {t: [] for t in HEADS}
    step = days * DAY // n
    for i in range(n):
        now = T0 + i * step // 1000 * 1000
        ts = now - (rnd.randrange(LATENESS["transactions"]) // 1000 * 1000 if rnd.random() < 0.1 else 0)
        rows["transactions"].append({"tx_id": i, "ts": ts, "customer_id": str(rnd.randrange(customers)), "terminal_id": str(rnd.randrange(4)),
                                     "amount": rnd.randrange(1, 30000) / 100})
        if rnd.random() < 0.4:
            behind = rnd.choice([0, 0, 1000, rnd.randrange(LATENESS["customers"]) // 1000 * 1000])
            rows["customers"].append({"customer_id": str(rnd.randrange(customers * 3 // 4)), "changed_ts": now - behind, "tier": rnd.choice(TIERS),
                                      "card_limit": rnd.choice([None, rnd.randrange(100, 100000) / 100]), "is_closed": rnd.random() < 0.2})
        if rnd.random() < 0.2:
            rows["labels"].append({"tx_id": i, "terminal_id": str(rnd.randrange(4)), "customer_id": str(rnd.randrange(customers)), "amount": 1.5,
                                   "reported_ts": now - rnd.choice([0, 1000])})
    return rows


def write(folder, rows):
    """CSV files, whose empty cells are nulls."""
    for topic, head in HEADS.items():
        with open(f"{folder}/{topic}.csv", "w", newline="") as f:
            out = csv.writer(f, lineterminator="\n", quoting=csv.QUOTE_NONE, escapechar="\\")
            out.writerow(head)
            for row in rows[topic]:
                out.writerow(["" if row[h] is None else str(row[h]).lower() if isinstance(row[h], bool) else row[h] for h in head])


def with_progress(rows, partition):
    """{topic: [(at, row)]}: at is the largest time so far of the row's partition."""
    out = {}
    for topic, its in rows.items():
        at = {}
        out[topic] = []
        for row in its:
            p = partition(row["customer_id"].encode(), 4)
            at[p] = max(at.get(p, 0), row[TIME[topic]])
            out[topic].append((at[p], row))
    return out


def latest(table, key, time, at, until, within=None):
    """Of what was taken before an event of that progress, the latest up to `until`; of several at once the last."""
    found = None
    for its_at, row in table.get(key, []):
        if its_at <= at and row[time] <= until and (found is None or row[time] >= found[time]):
            found = row
    return found if found and (within is None or found[time] > until - within) else None


def want(rows, partition):
    """{tx_id: the features}"""
    flow, out, tables = with_progress(rows, partition), {}, {"customers": {}, "labels": {}}
    for topic, by_key in tables.items():
        for at, row in flow[topic]:
            by_key.setdefault(row["customer_id"], []).append((at, row))
    for at, tx in flow["transactions"]:
        key, ts = tx["customer_id"], tx["ts"]
        c = latest(tables["customers"], key, "changed_ts", at, ts) or {}
        f = latest(tables["labels"], key, "reported_ts", at, ts - 7 * DAY, 90 * DAY) or {}
        n = sum(its_at <= at and ts - 97 * DAY < row["reported_ts"] <= ts - 7 * DAY for its_at, row in tables["labels"].get(key, []))
        limit = None if c.get("is_closed") else c.get("card_limit")
        out[tx["tx_id"]] = {
            "customer_tier": c.get("tier"), "customer_card_limit": c.get("card_limit"), "customer_is_closed": c.get("is_closed"),
            "customer_age": ts - c["changed_ts"] if c else None, "of_limit": tx["amount"] / limit if limit else None,
            "fraud_terminal_id": f.get("terminal_id"), "fraud_reported_ts": f.get("reported_ts"), "frauds_90d": n,
            "fraud_here": tx["terminal_id"] == f["terminal_id"] if f else None}
    return out


def different(wanted, got):
    """got: records with lineage, by their tx_id. None, or the first that is another."""
    if sorted(wanted) != sorted(got):
        return f"{len(got)} records, not {len(wanted)}"
    for tx, features in wanted.items():
        its = {name: got[tx][name] for name in features}
        if its != features:
            return f"tx_id {tx} has {its}, not {features}"
    return None
