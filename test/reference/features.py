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


def main():
    lines = subprocess.Popen(["zstd", "-dc", sys.argv[1]], stdout=subprocess.PIPE, text=True).stdout
    assert next(lines).strip() == "tx_id,ts,customer_id,terminal_id,amount,fraud,scenario"
    bought, spent = {}, {}  # customer: times, running cents (one more than times)
    used, known = {}, {}  # terminal: times, times at which frauds are reported
    waiting, done = [], 0  # frauds not yet reported, in order of time
    calendar = {}
    out = sys.stdout
    out.write("tx_id,amount,weekend,night,n1,n7,n30,m1,m7,m30,t1,t7,t30,r1,r7,r30\n")
    for line in lines:
        tx, ts, customer, terminal, amount, fraud, _ = line.split(",")
        t = int(ts)
        while done < len(waiting) and waiting[done][0] <= t:
            known.setdefault(waiting[done][1], []).append(waiting[done][0])
            done += 1
        day = t // DAY
        if day not in calendar:
            calendar[day] = datetime.datetime.fromtimestamp(t, datetime.timezone.utc).weekday() >= 5
        whole, cents = amount.split(".")
        cents = int(whole) * 100 + int(cents)
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
        if fraud == "1":
            waiting.append((t + DELAY, terminal))
        out.write(f"{tx},{amount},{int(calendar[day])},{int(t % DAY // 3600 <= 6)},{counts[0]},{counts[1]},{counts[2]},"
                  f"{means[0]:.9f},{means[1]:.9f},{means[2]:.9f},{ns[0]},{ns[1]},{ns[2]},"
                  f"{risks[0]:.9f},{risks[1]:.9f},{risks[2]:.9f}\n")


main()
