"""A shop's sales per item and local day, computed from the definition of tumbling windows (docs/adr/0008) and nothing of Millrace."""
import datetime
import random
import zoneinfo

ZONE = zoneinfo.ZoneInfo("Europe/London")
HOUR, DAY = 3600000, 86400000
PARTITIONS, LATENESS, ALLOWED, FILL_FOR = 3, 3 * DAY, 36 * HOUR, 10 * DAY

SALE = {"type": "record", "name": "Sale", "fields": [
    {"name": "item", "type": "string"}, {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "quantity", "type": "int"}, {"name": "price", "type": "double", "scale": 2}]}
TUMBLING = {"every": "1d", "zone": "Europe/London", "allowed": "36h", "fill.for": "10d", "values": {
    "quantity": {"sum": "quantity", "where": "quantity > 0"}, "price": {"last": "price"},
    "least": {"min": "price", "fill": -1}, "n": {"count": "sales"}}}
PIPELINE = {
    "pipeline": "shop", "schemas": "schemas",
    "topics": {"sales": {"schema": "Sale", "key": "item", "time": "ts", "partitions": PARTITIONS, "lateness": "3d"}, "days": {}, "rows": {}},
    "stages": {
        "intake": {"worker": "ingest", "to": "sales"},
        "daily": {"worker": "preprocess", "from": "sales", "to": "days", "tumbling": TUMBLING},
        "lags": {"worker": "preprocess", "from": "days", "to": "rows",
                 "features": {"before": {"previous": "quantity"}, "week": {"mean": "quantity", "over": "7d"},
                              "most": {"max": "price", "over": "last3"}, "dow": "weekday(start, 'Europe/London')"}}}}


def sales(seed, days, items=40, per_day=60):
    """[(item, ms, quantity, price)]: most in order, some hours or days late; a fast and a slow season of each item; over the
    days on which London's clocks change."""
    rand = random.Random(seed)
    begin = int(datetime.datetime(2024, 3, 20, tzinfo=datetime.timezone.utc).timestamp() * 1000)
    out = []
    for n in range(days * per_day):
        ms = begin + n * DAY // per_day + rand.randrange(DAY // per_day)
        if rand.random() < 0.2:
            ms -= rand.choice((2 * HOUR, DAY, 2 * DAY, 3 * DAY + 4 * HOUR)) - rand.randrange(HOUR)
        item = rand.randrange(items) if rand.random() < 0.3 else (n // (per_day * 9) * 7 + rand.randrange(7)) % items
        out.append((f"i{item}", ms, rand.choice((-1, 1, 1, 2, 3, 12)), rand.randrange(100, 2000) / 100))
    return out


def murmur2(key):
    """As Java clients have it."""
    m, mask = 0x5bd1e995, 0xffffffff
    h = (0x9747b28c ^ len(key)) & mask
    for i in range(0, len(key) // 4 * 4, 4):
        k = int.from_bytes(key[i:i + 4], "little") * m & mask
        h = (h * m ^ (k ^ k >> 24) * m) & mask
    tail = key[len(key) // 4 * 4:]
    if tail:
        h = (h ^ int.from_bytes(tail, "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return (h ^ h >> 15) & 0x7fffffff


def local_day(ms):
    return datetime.datetime.fromtimestamp(ms / 1000, ZONE).date()


def begins(day):
    return int(datetime.datetime(day.year, day.month, day.day, tzinfo=ZONE).timestamp() * 1000)


NEXT = datetime.timedelta(1)


class Task:
    """One partition."""

    def __init__(self):
        self.at, self.events, self.out = None, {}, {}  # events: {item: {day: [sale]}}; out: {(item, day): times}

    def is_there(self, item, day):
        events = self.events.get(item, {})
        last = max((s[1] for d, of in events.items() if d < day for s in of), default=None)
        return day in events or (last is not None and begins(day) - last <= FILL_FOR)

    def row(self, item, day):
        of = self.events.get(item, {}).get(day, [])
        revision = self.out.get((item, day), 0)
        self.out[item, day] = revision + 1
        return {"item": item, "start": begins(day), "end": begins(day + NEXT), "revision": revision,
                "quantity": float(sum(s[2] for s in of if s[2] > 0)), "price": max(enumerate(of), key=lambda s: (s[1][1], s[0]))[1][3] if of else None,
                "least": min((s[3] for s in of), default=-1.0), "n": len(of)}

    def close(self, ms):
        """Rows of all windows that end at or before ms."""
        if self.at is None:
            return
        day = local_day(self.at)
        while begins(day + NEXT) <= ms:
            yield from (self.row(item, day) for item in sorted(self.events) if self.is_there(item, day))
            day += NEXT

    def take(self, sale):
        """The rows that come out at this sale; None at the end: it is too late."""
        item, ms = sale[:2]
        if self.at is not None and ms < self.at - LATENESS:
            yield None
            return
        yield from self.close(ms)
        self.at = ms if self.at is None else max(self.at, ms)
        day = local_day(ms)
        if begins(day + NEXT) <= self.at - ALLOWED:
            yield None
            return
        self.events.setdefault(item, {}).setdefault(day, []).append(sale)
        if begins(day + NEXT) > self.at:
            return
        yield self.row(item, day)
        while begins((day := day + NEXT) + NEXT) <= self.at:
            if self.is_there(item, day) and (item, day) not in self.out:
                yield self.row(item, day)


def windows(all_sales):
    """([(partition, row)], how many are too late), in the order in which the sales make them."""
    tasks, rows, late = [Task() for _ in range(PARTITIONS)], [], 0
    for sale in all_sales:
        p = murmur2(sale[0].encode()) % PARTITIONS
        for row in tasks[p].take(sale):
            late += row is None
            rows += [(p, row)] if row else []
    return rows, late


class Lags:
    """Of one partition: each row with what it says of those before it, and again those behind it that are out already."""

    def __init__(self):
        self.days, self.out = {}, {}  # {item: {end: row}}; {(item, end): times}

    def row(self, item, end):
        days = self.days[item]
        before = [days[e] for e in sorted(days) if e <= end]
        week = [r["quantity"] for r in before if r["end"] > end - 7 * DAY]
        revision = self.out.get((item, end), 0)
        self.out[item, end] = revision + 1
        return {**days[end], "revision": revision, "before": before[-2]["quantity"] if len(before) > 1 else None, "week_7d": sum(week) / len(week),
                "most_last3": max((r["price"] for r in before[-3:] if r["price"] is not None), default=None),
                "dow": datetime.datetime.fromtimestamp(days[end]["start"] / 1000, ZONE).weekday()}

    def take(self, day):
        item, end = day["item"], day["end"]
        self.days.setdefault(item, {})[end] = day
        yield self.row(item, end)
        yield from (self.row(item, e) for e in sorted(self.days[item]) if e > end)


def lags(days):
    """[(partition, row)] of those of windows()."""
    tasks = [Lags() for _ in range(PARTITIONS)]
    return [(p, row) for p, day in days for row in tasks[p].take(day)]
