#!/usr/bin/env python3
"""An independent reference of the fraud pipeline's 15 features: the published CSV in, one CSV line per transaction out.

usage: features.py HANDBOOK_TX_CSV_ZST > features.csv

Written from the definitions alone (windows (t-w, t] with the row itself; per terminal ending 7 days ago; a label is
known exactly 7 days after its transaction), sharing no code with common/feature. Rows at equal seconds: those before
in the file count, later ones do not. At equal times a label comes before a transaction.
"""
import datetime
import subprocess
import sys
from bisect import bisect_right

DAY = 86400
WINDOWS = (DAY, 7 * DAY, 30 * DAY)
DELAY = 7 * DAY


def upto(times, t):
    return bisect_right(times, t)


def features(rows):
    """rows: (tx, seconds, customer, terminal, cents, is_fraud) in the file's order. Yields (tx, the 15 features)."""
    bought, spent = {}, {}  # customer: times, running cents (one more than times)
    used, known = {}, {}  # terminal: times, times at which frauds are reported
    waiting, done = [], 0  # frauds not yet reported, in order of time
    calendar = {}
    for tx, t, customer, terminal, cents, fraud in rows:
        while done < len(waiting) and waiting[done][0] <= t:
            known.setdefault(waiting[done][1], []).append(waiting[done][0])
            done += 1
        day = t // DAY
        if day not in calendar:
            calendar[day] = datetime.datetime.fromtimestamp(t, datetime.timezone.utc).weekday() >= 5
        times = bought.setdefault(customer, [])
        sums = spent.setdefault(customer, [0])
        times.append(t)
        sums.append(sums[-1] + cents)
        counts, means = [], []
        for w in WINDOWS:
            first = upto(times, t - w)
            counts.append(len(times) - first)
            means.append((sums[-1] - sums[first]) / 100 / counts[-1])
        seen = used.setdefault(terminal, [])
        seen.append(t)
        bad = known.get(terminal, [])
        ns, risks = [], []
        for w in WINDOWS:
            n = upto(seen, t - DELAY) - upto(seen, t - DELAY - w)
            frauds = upto(bad, t) - upto(bad, t - w)
            ns.append(n)
            risks.append(frauds / n if n else 0.0)
        if fraud:
            waiting.append((t + DELAY, terminal))
        yield tx, [cents / 100, int(calendar[day]), int(t % DAY // 3600 <= 6), *counts, *means, *ns, *risks]


def cents_of(amount):
    whole, _, cents = amount.partition(".")
    return int(whole) * 100 + int(cents.ljust(2, "0"))


def published(path):
    lines = subprocess.Popen(["zstd", "-dc", path], stdout=subprocess.PIPE, text=True).stdout
    assert next(lines).strip() == "tx_id,ts,customer_id,terminal_id,amount,fraud,scenario"
    for line in lines:
        tx, ts, customer, terminal, amount, fraud, _ = line.split(",")
        yield tx, int(ts), customer, terminal, cents_of(amount), fraud == "1"


def main():
    out = sys.stdout
    out.write("tx_id,amount,weekend,night,n1,n7,n30,m1,m7,m30,t1,t7,t30,r1,r7,r30\n")
    for tx, (amount, weekend, night, *rest) in features(published(sys.argv[1])):
        out.write(f"{tx},{amount:.2f},{weekend},{night}," + ",".join(f"{v:.9f}" if isinstance(v, float) else str(v) for v in rest) +
                  "\n")


if __name__ == "__main__":
    main()
