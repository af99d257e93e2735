/* test/sim/oracle.c */
/*
 * What the chain must put out, computed the slow way: all records of a partition in one list, in the order that the log
 * decides, and for each a loop over those before it. Shares no code with common/feature or common/stage.
 *
 * customer   per partition in the order of offsets; a record further behind the newest event time than 10 minutes is late
 * terminal   per partition: labels and enriched records by (`at`, labels first, writer's task, order within it); `at` is the newest
 *            event time of the writer's partition so far
 * score      the model that was promoted last for the event's own time
 * hourly     per partition, enriched records in that order: before one whose `at` is beyond the end of an hour, and at last up to the newest `at` of all
 *            partitions, a row for each terminal that had an event in it or in the three hours before; behind one of an hour that is over
 *            another row of that hour, and of hours that come into being by it
 */
#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "test/sim/sim.h"
#include "wire/avro.h"

#define EVENTS_MAX 256
#define HOUR INT64_C(3600000)
#define LATENESS_MS 600000
#define FILL_MS (3 * HOUR)
#define HOURS_MAX 4096

struct event {
    bool label;
    int64_t id, ts, at;
    int partition; /* of the record from outside */
    char customer[8], terminal[8];
    double amount, n_1h, sum_1h, mean_6h;
};

/* What stands in a row of a terminal's hour. */
struct hour {
    char terminal[8];
    int64_t end, revision;
    double n, total;
};

static struct event events[EVENTS_MAX];
static size_t n_events;
static int64_t last_at; /* of all transactions */
static struct hour hours[HOURS_MAX];
static size_t n_hours;

static bool read_text(struct avro_reader *r, char ret[8])
{
    struct view v;

    if (!avro_get_bytes(r, &v) || v.n >= 8)
        return false;
    memcpy(ret, v.data, v.n);
    ret[v.n] = '\0';
    return true;
}

/* False: there is nothing to be read. *ret_whole: all of it is. */
static bool read_event(const struct record *r, bool label, struct event *e, bool *ret_whole)
{
    struct avro_reader in = {r->value.data + 5, r->value.data + r->value.n};

    *e = (struct event){.label = label};
    *ret_whole = false;
    if (r->value.n < 6 || r->value.data[0] != 0)
        return false;
    if (label) {
        *ret_whole = avro_get_long(&in, &e->id) && read_text(&in, e->terminal) && read_text(&in, e->customer) &&
                     avro_get_double(&in, &e->amount) && avro_get_long(&in, &e->ts);
        return *ret_whole;
    }
    if (!avro_get_long(&in, &e->id) || !avro_get_long(&in, &e->ts))
        return false;
    *ret_whole = read_text(&in, e->customer) && read_text(&in, e->terminal) && avro_get_double(&in, &e->amount);
    return true;
}

/* Good events of one partition in the order of their offsets, with their `at`. */
static void take_partition(int topic, int partition, bool label)
{
    const struct partition *p = &sim.broker->topics[topic].partitions[partition];
    int64_t at = INT64_MIN;

    for (int64_t o = 0; o < p->n; o++) {
        struct event e;
        bool whole;

        if (!read_event(&p->records[o], label, &e, &whole) || (at != INT64_MIN && e.ts < at - (label ? HOUR : LATENESS_MS)))
            continue;
        at = e.ts > at ? e.ts : at;
        last_at = !label && at > last_at ? at : last_at;
        e.at = at;
        e.partition = partition;
        if (whole && kafka_partition(p->records[o].key, sim.broker->topics[topic].n_partitions) == partition)
            events[n_events++] = e;
    }
}

static int in_order(const void *a, const void *b)
{
    const struct event *x = a, *y = b;

    if (x->at != y->at)
        return x->at < y->at ? -1 : 1;
    if (x->label != y->label)
        return x->label ? -1 : 1;
    if (x->partition != y->partition)
        return x->partition - y->partition;
    return x < y ? -1 : 1; /* a merge sort keeps the order of equal ones, qsort of glibc is one for few elements */
}

struct sums {
    double n, sum, weighted;
};

/* Over the events before and at `now` of the same key whose time lies in (from, to]. */
static struct sums over(size_t now, bool labels, bool by_customer, int64_t from, int64_t to)
{
    struct sums s = {0};

    for (size_t i = 0; i <= now; i++) {
        const struct event *e = &events[i], *n = &events[now];
        bool same = by_customer ? strcmp(e->customer, n->customer) == 0 : strcmp(e->terminal, n->terminal) == 0;

        if (e->label != labels || !same || e->ts <= from || e->ts > to)
            continue;
        s.n++;
        s.sum += e->amount;
        s.weighted += e->amount * e->n_1h;
    }
    return s;
}

static bool expect(const struct event *e, const char *topic, const char *name, double want)
{
    double got;

    if (!check_value(topic, e->id, name, &got)) {
        fail("the quiet run's %s has no record of event %" PRId64, topic, e->id);
        return false;
    }
    if ((isnan(got) && isnan(want)) || fabs(got - want) <= 1e-9 * (1 + fabs(want)))
        return true;
    fail("the quiet run's %s, event %" PRId64 ": %s is %.12g, the oracle says %.12g", topic, e->id, name, got, want);
    return false;
}

static bool check_customer(size_t i)
{
    struct event *e = &events[i];
    int64_t t = e->ts;
    struct sums h = over(i, false, true, t - HOUR, t), h6 = over(i, false, true, t - 6 * HOUR, t),
                all = over(i, false, true, t - 720 * HOUR, t);

    e->n_1h = h.n;
    e->sum_1h = h.sum;
    e->mean_6h = h6.sum / h6.n;
    return expect(e, "sim.enriched", "customer_n_1h", h.n) && expect(e, "sim.enriched", "customer_n_6h", h6.n) &&
           expect(e, "sim.enriched", "customer_n_30d", all.n) && expect(e, "sim.enriched", "customer_sum_1h", h.sum) &&
           expect(e, "sim.enriched", "customer_sum_30d", all.sum) && expect(e, "sim.enriched", "customer_mean_6h", h6.sum / h6.n);
}

/* The model that holds at the event's own time, by libxgboost. */
static bool check_score(const struct event *e, double n_2h, double frauds_30d, double sum_30d)
{
    const double row[TRAINER_FEATURES] = {e->n_1h, e->sum_1h, e->mean_6h, n_2h, frauds_30d, sum_30d};
    int32_t version = records_version_at(e->ts);

    return expect(e, "sim.scores", "score", version ? trainer_predict(version, row) : (double)NAN) &&
           expect(e, "sim.scores", "lineage.model.version", version ? (double)version : (double)NAN) &&
           expect(e, "sim.scores", "lineage.routing", version ? (double)version : (double)NAN);
}

static bool check_terminal(size_t i)
{
    const struct event *e = &events[i];
    int64_t t = e->ts;
    struct sums all = over(i, false, false, t - 720 * HOUR, t);
    double n_2h = over(i, false, false, t - 2 * HOUR, t).n, frauds_30d = over(i, true, false, t - 720 * HOUR, t).n;

    return check_score(e, n_2h, frauds_30d, all.weighted) && expect(e, "sim.features", "terminal_n_2h", n_2h) &&
           expect(e, "sim.features", "terminal_n_30d", all.n) &&
           expect(e, "sim.features", "terminal_late_6h", over(i, false, false, t - 7 * HOUR, t - HOUR).n) &&
           expect(e, "sim.features", "terminal_frauds_6h", over(i, true, false, t - 6 * HOUR, t).n) &&
           expect(e, "sim.features", "terminal_frauds_30d", frauds_30d) &&
           expect(e, "sim.features", "terminal_sum_30d", all.weighted);
}

/* ---- hours ---- */

static int64_t hour_of(int64_t ms)
{
    return ms / HOUR * HOUR;
}

static bool is_there(size_t n, const char *terminal, int64_t start)
{
    for (size_t i = 0; i < n; i++)
        if (!events[i].label && strcmp(events[i].terminal, terminal) == 0 && events[i].ts < start + HOUR && start - events[i].ts <= FILL_MS)
            return true;
    return false;
}

static int64_t times_out(const char *terminal, int64_t end)
{
    int64_t n = 0;

    for (size_t i = 0; i < n_hours; i++)
        n += hours[i].end == end && strcmp(hours[i].terminal, terminal) == 0;
    return n;
}

/* As the first n events say. */
static void put_hour(size_t n, const char *terminal, int64_t start)
{
    struct hour h = {.end = start + HOUR, .revision = times_out(terminal, start + HOUR)};

    memcpy(h.terminal, terminal, sizeof(h.terminal));
    for (size_t i = 0; i < n; i++)
        if (!events[i].label && strcmp(events[i].terminal, terminal) == 0 && hour_of(events[i].ts) == start) {
            h.n++;
            h.total += events[i].amount;
        }
    assert(n_hours < HOURS_MAX);
    hours[n_hours++] = h;
}

static bool is_of(const char *terminal, int partition)
{
    return kafka_partition(view_str(terminal), PARTITIONS) == partition;
}

static void close_hours(int partition, size_t n, int64_t from, int64_t to)
{
    for (int64_t start = hour_of(from); start + HOUR <= to; start += HOUR)
        for (char c = '0'; c <= '9'; c++) {
            const char terminal[8] = {'t', c};

            if (is_of(terminal, partition) && is_there(n, terminal, start))
                put_hour(n, terminal, start);
        }
}

static void put_hours(int partition)
{
    int64_t at = INT64_MIN;

    n_hours = 0;
    for (size_t i = 0; i < n_events; i++) {
        const struct event *e = &events[i];

        if (e->label || !is_of(e->terminal, partition))
            continue;
        if (at != INT64_MIN)
            close_hours(partition, i, at, e->at);
        at = e->at;
        for (int64_t start = hour_of(e->ts); start + HOUR <= at; start += HOUR)
            if (start == hour_of(e->ts) || (is_there(i + 1, e->terminal, start) && times_out(e->terminal, start + HOUR) == 0))
                put_hour(i + 1, e->terminal, start);
    }
    if (at != INT64_MIN)
        close_hours(partition, n_events, at, last_at);
}

static bool check_hour(int partition, size_t i, const char *name, double want)
{
    const struct hour *h = &hours[i];
    struct view key;
    double got;

    if (!check_line("sim.windows", partition, i, name, &got, &key))
        fail("the quiet run's sim.windows/%d has no record %zu, the oracle one of %s up to %" PRId64, partition, i, h->terminal, h->end);
    else if (!view_eq(key, view_str(h->terminal)) || fabs(got - want) > 1e-9 * (1 + fabs(want)))
        fail("the quiet run's sim.windows/%d record %zu is of %.*s, its %s %.12g; the oracle says %s up to %" PRId64 ", %.12g", partition, i,
             (int)key.n, (const char *)key.data, name, got, h->terminal, h->end, want);
    else
        return true;
    return false;
}

/* The events are sorted. */
static void check_hours(void)
{
    size_t n_all = 0;
    bool ok = true;

    for (int p = 0; p < PARTITIONS && ok; p++) {
        put_hours(p);
        n_all += n_hours;
        for (size_t i = 0; i < n_hours && ok; i++)
            ok = check_hour(p, i, "end", (double)hours[i].end) && check_hour(p, i, "revision", (double)hours[i].revision) &&
                 check_hour(p, i, "n", hours[i].n) && check_hour(p, i, "total", hours[i].total);
    }
    if (ok && check_count("sim.windows") != n_all)
        fail("the quiet run's sim.windows has %zu records, the oracle %zu", check_count("sim.windows"), n_all);
}

void oracle_check(void)
{
    int transactions = broker_topic(sim.broker, "sim.transactions"), labels = broker_topic(sim.broker, "sim.labels");
    int64_t first_at;
    bool ok = true;

    n_events = 0;
    last_at = INT64_MIN;
    for (int p = 0; p < sim.broker->topics[transactions].n_partitions; p++)
        take_partition(transactions, p, false);
    for (size_t i = 0; i < n_events && ok; i++)
        ok = check_customer(i);
    for (int i = CUSTOMER; i <= SCORE && ok; i++) {
        static const char *const outputs[] = {"sim.enriched", "sim.features", "sim.scores"};

        if (check_count(outputs[i]) != n_events)
            fail("the quiet run's %s has %zu records, the oracle %zu", outputs[i], check_count(outputs[i]), n_events);
    }
    for (int p = 0; p < sim.broker->topics[labels].n_partitions; p++)
        take_partition(labels, p, true);
    first_at = n_events ? events[0].at : 0;
    for (size_t i = 0; i < n_events; i++)
        first_at = !events[i].label && events[i].at < first_at ? events[i].at : first_at;
    if (!records_begin_at(first_at))
        fail("the trainer's first boundary does not lie behind the first record's `at`, %" PRId64, first_at);
    qsort(events, n_events, sizeof(events[0]), in_order);
    for (size_t i = 0; i < n_events && ok; i++)
        ok = events[i].label || check_terminal(i);
    if (ok)
        check_hours();
}
