/*
 * What comes from outside, by the world's number: transactions and labels in waves, and what the trainer decides about each boundary
 * that they pass.
 *
 * Two kinds of worlds. In a catch-up all records lie there from the beginning. In waves, each wave is written when the one
 * before is done with, channels have gone idle meanwhile, and all of it is later in event time: an idle channel that wakes with
 * older events than others have brought is the named exception of the order, so a wave comes into one partition of one topic.
 */
#include <assert.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/rand.h"
#include "test/sim/sim.h"
#include "wire/avro.h"
#include "wire/frame.h"

#define EVERY_MS INT64_C(7200000) /* as the pipeline file says */
#define LAG_MS INT64_C(1800000)
#define CUSTOMERS 8
#define TERMINALS 6

static struct records worlds[WORLDS];

const struct records *records_now(void)
{
    return &worlds[sim.schedule.world];
}

static const struct topic *topic(int t)
{
    return &world_pipeline()->topics[t];
}

static struct view copy(struct bytes *b)
{
    return view_of(b->data, b->n); /* for ever */
}

static void add(struct records *w, int t, const char *key, struct view value, int64_t ts)
{
    char *own = xstrdup(key);

    assert(w->n < RECORDS_MAX);
    w->ts[w->n] = ts;
    w->records[w->n++] = (struct produced){.topic = t, .partition = kafka_partition(view_str(own), PARTITIONS),
                                           .key = view_str(own), .value = value};
}

static const char *name_of(char kind, int i)
{
    static char text[8];

    snprintf(text, sizeof(text), "%c%d", kind, i);
    return text;
}

static void add_transaction(struct records *w, int customer, int terminal, int64_t ts, double amount)
{
    struct bytes b = BYTES_EMPTY;
    char who[8];

    snprintf(who, sizeof(who), "%s", name_of('c', customer));
    frame_put(&b, schema_id(topic(TRANSACTIONS)->schema));
    avro_put_long(&b, (int64_t)w->n);
    avro_put_long(&b, ts);
    avro_put_str(&b, who);
    avro_put_str(&b, name_of('t', terminal));
    avro_put_double(&b, amount);
    add(w, TRANSACTIONS, who, copy(&b), ts);
}

static void add_label(struct records *w, int customer, int terminal, int64_t ts)
{
    struct bytes b = BYTES_EMPTY;
    char where[8];

    snprintf(where, sizeof(where), "%s", name_of('t', terminal));
    frame_put(&b, schema_id(topic(LABELS)->schema));
    avro_put_long(&b, (int64_t)w->n);
    avro_put_str(&b, where);
    avro_put_str(&b, name_of('c', customer));
    avro_put_double(&b, 1);
    avro_put_long(&b, ts);
    add(w, LABELS, where, copy(&b), ts);
}

static int customer_in(struct rand *r, int partition)
{
    for (;;) {
        int c = (int)rand_below(r, CUSTOMERS);

        if (kafka_partition(view_str(name_of('c', c)), PARTITIONS) == partition)
            return c;
    }
}

/* What cannot be processed: cut short, no frame, in the wrong partition, too late behind a good one. stray_ms: of one in the wrong partition, whose
 * channel may be idle. */
static void add_bad(struct records *w, struct rand *r, int64_t now_ms, int64_t stray_ms)
{
    int partition = w->records[w->n - 1].partition;
    struct produced *p;

    uint64_t kind = rand_below(r, 4);

    add_transaction(w, (int)rand_below(r, CUSTOMERS), 0, kind == 2 ? stray_ms : now_ms, 1);
    p = &w->records[w->n - 1];
    switch (kind) {
    case 0:
        p->value.n -= 3;
        break;
    case 1:
        p->value = view_str("bad");
        break;
    case 2:
        p->partition = (p->partition + 1) % PARTITIONS;
        break;
    default:
        w->n--;
        add_transaction(w, customer_in(r, partition), 0, BASE_MS - 86400000, 1);
    }
}

static void end_wave(struct records *w, bool last)
{
    size_t begin = w->n_waves ? w->waves[w->n_waves - 1].end : 0;

    assert(w->n_waves < WAVES_MAX);
    if (w->n > begin)
        w->waves[w->n_waves++] = (struct wave){begin, w->n, last};
}

/* Some minutes further; often the same instant, sometimes some minutes back. */
static int64_t next_ms(struct rand *r, int64_t *now_ms)
{
    *now_ms += rand_below(r, 4) == 0 ? 0 : (int64_t)rand_below(r, 1800000);
    return *now_ms - (rand_below(r, 6) == 0 ? (int64_t)rand_below(r, 500000) : 0);
}

static void make_catch_up(struct records *w, struct rand *r, int64_t *now_ms)
{
    int64_t first_ms = *now_ms;

    for (int i = 0; i < 40; i++) {
        int64_t ts = next_ms(r, now_ms);

        add_transaction(w, (int)rand_below(r, CUSTOMERS), (int)rand_below(r, TERMINALS), ts, (double)rand_below(r, 10000) / 100);
        if (rand_below(r, 14) == 0)
            add_bad(w, r, *now_ms, *now_ms);
    }
    for (int i = 0; i < 14; i++) /* of the whole span, in order, each partition until its end */
        add_label(w, (int)rand_below(r, CUSTOMERS), (int)rand_below(r, TERMINALS), first_ms + i * (*now_ms - first_ms) / 13);
    end_wave(w, false);
}

static void make_waves(struct records *w, struct rand *r, int64_t *now_ms)
{
    for (int k = 0; k < 10; k++) {
        int partition = (int)rand_below(r, PARTITIONS), n = 2 + (int)rand_below(r, 5);
        bool labels = rand_below(r, 4) == 0;
        int64_t first_ms = *now_ms += 700000;

        for (int i = 0; i < n && !labels; i++) {
            int64_t ts = i == 0 ? *now_ms : next_ms(r, now_ms);

            add_transaction(w, customer_in(r, partition), (int)rand_below(r, TERMINALS), ts, (double)rand_below(r, 10000) / 100);
        }
        if (labels)
            add_label(w, 0, (int)rand_below(r, TERMINALS), *now_ms);
        else if (rand_below(r, 3) == 0)
            add_bad(w, r, *now_ms, first_ms);
        end_wave(w, false);
    }
}

/* One record for each customer and terminal shows all that their states know. */
static void make_last(struct records *w, struct rand *r, int64_t *now_ms)
{
    for (int p = 0; p < PARTITIONS; p++) {
        for (int c = 0; c < CUSTOMERS; c++)
            if (kafka_partition(view_str(name_of('c', c)), PARTITIONS) == p) {
                *now_ms += 60000;
                add_transaction(w, c, c % TERMINALS, *now_ms, (double)rand_below(r, 100));
            }
        end_wave(w, true);
        *now_ms += 700000;
    }
}

/* The first multiple of `every` behind ms. */
static int64_t boundary_after(int64_t ms)
{
    return (ms / EVERY_MS + 1) * EVERY_MS;
}

/* Each boundary that the records pass is decided, some time after the wave that passes it: a model, no model, or rubbish. */
static void make_decisions(struct records *w, struct rand *r)
{
    int64_t first = INT64_MAX, b = INT64_MAX;
    bool has[PARTITIONS] = {false};
    int32_t version = 0;

    for (size_t i = 0; i < w->n; i++) {
        const struct produced *p = &w->records[i];

        if (p->topic == TRANSACTIONS && !has[p->partition] && w->ts[i] < first)
            first = w->ts[i];
        has[p->partition] |= p->topic == TRANSACTIONS;
    }
    b = boundary_after(first);
    for (size_t k = 0; k < w->n_waves; k++)
        for (size_t i = w->waves[k].begin; i < w->waves[k].end; i++)
            for (; w->ts[i] >= b; b += EVERY_MS) {
                struct decision d = {.boundary_ms = b, .from_ms = b + LAG_MS, .wave = k, .delay_us = (int64_t)rand_below(r, 1000000)};

                if (rand_below(r, 4) != 0)
                    d.version = ++version;
                d.garbled = d.version > 1 && rand_below(r, 5) == 0;
                assert(w->n_decisions < DECISIONS_MAX);
                w->decisions[w->n_decisions++] = d;
            }
}

int32_t records_version_at(int64_t event_ms)
{
    const struct records *w = records_now();
    int32_t version = 0;

    for (size_t i = 0; i < w->n_decisions; i++)
        if (w->decisions[i].version && !w->decisions[i].garbled && w->decisions[i].from_ms <= event_ms)
            version = w->decisions[i].version;
    return version;
}

bool records_begin_at(int64_t first_at)
{
    return records_now()->decisions[0].boundary_ms == boundary_after(first_at);
}

static void make_world(struct records *w, uint64_t seed)
{
    int64_t now_ms = BASE_MS;
    struct rand r;

    rand_seed(&r, seed);
    if (seed % 2 == 0)
        make_catch_up(w, &r, &now_ms);
    else
        make_waves(w, &r, &now_ms);
    now_ms += 700000;
    make_last(w, &r, &now_ms);
    make_decisions(w, &r);
}

void records_open(void)
{
    for (int i = 0; i < WORLDS; i++)
        make_world(&worlds[i], (uint64_t)i);
}
