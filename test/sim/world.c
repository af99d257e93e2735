/* test/sim/world.c */
/*
 * What there is besides the broker: a chain of three stages, the records that come from outside, the slots in which instances run.
 *
 * Two kinds of worlds. In a catch-up all records lie there from the beginning. In waves, each wave is written when the one
 * before is done with, channels have gone idle meanwhile, and all of it is later in event time: an idle channel that wakes with
 * older events than others have brought is the named exception of the order, so a wave comes into one partition of one topic.
 * At the end all instances are stopped, fresh ones restore the state from the changelogs, and a last record for each key shows
 * what they know.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/rand.h"
#include "test/sim/sim.h"
#include "wire/avro.h"
#include "wire/frame.h"
#include "workers/preprocess/preprocess.h"
#include "workers/score/worker.h"

#define PARTITIONS 3
#define WORLDS 6
#define WAVES_MAX 40
#define DECISIONS_MAX 32
#define RECORDS_MAX 128
#define BASE_MS INT64_C(1700000000000)
#define EVERY_MS INT64_C(7200000) /* as the pipeline file says */
#define LAG_MS INT64_C(1800000)
#define CUSTOMERS 8
#define TERMINALS 6
#define STABLE_US 500000
#define QUIET_TICK_US 40000

enum { TRANSACTIONS, LABELS, ENRICHED, FEATURES, SCORES, DEAD, CUSTOMER_LOG, TERMINAL_LOG, SCHEMAS };

struct wave {
    size_t begin, end; /* of the world's records */
    bool last;         /* it comes after the restart */
};

struct records {
    struct produced records[RECORDS_MAX];
    int64_t ts[RECORDS_MAX];
    struct decision decisions[DECISIONS_MAX];
    size_t n_decisions;
    size_t n;
    struct wave waves[WAVES_MAX];
    size_t n_waves;
};

struct slot {
    bool wanted;
    int64_t start_us; /* INT64_MAX: not to be started */
    struct instance *live;
};

static const struct worker preprocess = {
    .name = "preprocess", .open = preprocess_open, .transform = preprocess_transform, .close = preprocess_close};
static const struct worker score = {.name = "score", .stateless_order = true, .open = worker_open, .transform = worker_transform,
                                    .turn = worker_turn, .limit = worker_limit, .close = worker_close};
static const char *const stage_names[] = {"customer", "terminal", "score"};
static struct stage *templates[2][STAGES_MAX]; /* [1]: at_least_once */
static struct records worlds[WORLDS];

static struct slot slots[STAGES_MAX][SLOTS_MAX];
static size_t wave, n_decided, n_made;
static int64_t spoke_us; /* the last wave or decision */
static bool restarted, done;
static int64_t stable_since_us, stable_sum;
static char why[128]; /* it is not quiet */

int world_n(void)
{
    return WORLDS;
}

int world_stages(void)
{
    return (int)ARRAY_LEN(stage_names);
}

const char *world_stage_name(int stage)
{
    return stage_names[stage];
}

bool world_done(void)
{
    return done;
}

/* ---- records ---- */

const struct pipeline *world_pipeline(void)
{
    return templates[0][0]->pipeline;
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

/* What cannot be processed: cut short, no frame, in the wrong partition, too late behind a good one. */
static void add_bad(struct records *w, struct rand *r, int64_t now_ms)
{
    int partition = w->records[w->n - 1].partition;
    struct produced *p;

    add_transaction(w, (int)rand_below(r, CUSTOMERS), 0, now_ms, 1);
    p = &w->records[w->n - 1];
    switch (rand_below(r, 4)) {
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
            add_bad(w, r, *now_ms);
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

        *now_ms += 700000;
        for (int i = 0; i < n && !labels; i++) {
            int64_t ts = i == 0 ? *now_ms : next_ms(r, now_ms);

            add_transaction(w, customer_in(r, partition), (int)rand_below(r, TERMINALS), ts, (double)rand_below(r, 10000) / 100);
        }
        if (labels)
            add_label(w, 0, (int)rand_below(r, TERMINALS), *now_ms);
        else if (rand_below(r, 3) == 0)
            add_bad(w, r, *now_ms);
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

int32_t world_version_at(int64_t event_ms)
{
    const struct records *w = &worlds[sim.schedule.world];
    int32_t version = 0;

    for (size_t i = 0; i < w->n_decisions; i++)
        if (w->decisions[i].version && !w->decisions[i].garbled && w->decisions[i].from_ms <= event_ms)
            version = w->decisions[i].version;
    return version;
}

bool world_begins_at(int64_t first_at)
{
    return worlds[sim.schedule.world].decisions[0].boundary_ms == boundary_after(first_at);
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

enum status world_open(const char *path, struct error *err)
{
    for (int k = 0; k < 2 * world_stages(); k++) {
        struct stage *s = xcalloc(1, sizeof(*s));
        int i = k / 2;

        s->worker = i == world_stages() - 1 ? &score : &preprocess;
        s->opt = (struct stage_options){.batch = 1000, .from_ms = INT64_MIN, .to_ms = INT64_MAX, .pipeline = path,
                                        .stage = stage_names[i], .brokers = "sim", .instance = "0"};
        if (stage_load(s, err) != OK)
            return err->status;
        s->def->at_least_once = k % 2 == 1;
        for (size_t n = 0; n < s->n_inputs; n++)
            s->inputs[n].repeats = s->def->at_least_once && !s->inputs[n].outside;
        templates[k % 2][i] = s;
    }
    if (trainer_open(templates[0][world_stages() - 1]->def->feature_set, err) != OK)
        return err->status;
    for (int i = 0; i < WORLDS; i++)
        make_world(&worlds[i], (uint64_t)i);
    return OK;
}

/* ---- slots ---- */

static void make_topics(void)
{
    struct broker *b = sim.broker;
    static const char *const names[] = {"sim.transactions", "sim.labels", "sim.enriched", "sim.features", "sim.scores"};

    for (size_t t = 0; t < ARRAY_LEN(names); t++)
        broker_make_topic(b, names[t], PARTITIONS, false);
    broker_make_topic(b, "sim.dead_letters", 1, false);
    broker_make_topic(b, "sim.customer.changelog", PARTITIONS, true);
    broker_make_topic(b, "sim.terminal.changelog", PARTITIONS, true);
    broker_make_topic(b, SCHEMAS_TOPIC, 1, true);
    broker_make_topic(b, MODELS_TOPIC, 1, true);
}

static void write_wave(void)
{
    const struct records *w = &worlds[sim.schedule.world];

    story("wave %zu of %zu is written", wave + 1, w->n_waves);
    for (size_t i = w->waves[wave].begin; i < w->waves[wave].end; i++)
        broker_append(sim.broker, &w->records[i]);
    wave++;
    spoke_us = sim.now_us;
}

/* A boundary that a wave has passed, when its time has come. */
static bool is_passed(void)
{
    const struct records *w = &worlds[sim.schedule.world];

    return n_decided < w->n_decisions && w->decisions[n_decided].wave < wave;
}

static void decide(void)
{
    const struct decision *d = &worlds[sim.schedule.world].decisions[n_decided];

    if (!is_passed() || sim.now_us < spoke_us + d->delay_us)
        return;
    trainer_publish(d);
    n_decided++;
    spoke_us = sim.now_us;
}

static struct stage *incarnate(int stage, int slot)
{
    static const char *const instances[SLOTS_MAX] = {"0", "1", "2"};
    static struct stage *made[64];
    struct stage *s;

    if (n_made == ARRAY_LEN(made)) {
        fail("an instance of %s ends whenever it is started", world_stage_name(stage));
        return NULL;
    }
    s = made[n_made] ? made[n_made] : (made[n_made] = xmalloc(sizeof(*s)));
    n_made++;
    *s = *templates[sim.schedule.at_least_once][stage];
    s->ops = ops_new(&s->metrics);
    s->opt.instance = instances[slot];
    s->changelog_bytes = (size_t)sim.schedule.changelog_bytes;
    return s;
}

static void want_all(int64_t at_us)
{
    for (int i = 0; i < world_stages(); i++)
        for (int k = 0; k < SLOTS_MAX; k++) {
            slots[i][k].wanted |= k < sim.schedule.slots[i];
            slots[i][k].live = NULL;
            slots[i][k].start_us = slots[i][k].wanted ? at_us : INT64_MAX;
        }
}

void world_begin(void)
{
    memset(slots, 0, sizeof(slots));
    wave = n_decided = n_made = 0;
    restarted = done = false;
    stable_since_us = stable_sum = 0;
    sim.broker->wall_ms = BASE_MS + INT64_C(30) * 86400000;
    sim.broker->visible = check_visible;
    make_topics();
    want_all(0);
    write_wave();
}

void world_struck(struct instance *i, enum fault fault, int how)
{
    static const int64_t kill_us[] = {20000, 500000, 4000000, 14000000}, zombie_us[] = {50000, 500000, 3500000, 5000000};
    struct slot *s = &slots[i->stage][i->slot];

    if (fault == FAULT_JOIN) {
        for (int k = 0; k < SLOTS_MAX; k++)
            if (!slots[i->stage][k].wanted) {
                slots[i->stage][k] = (struct slot){.wanted = true, .start_us = sim.now_us};
                return;
            }
        return;
    }
    if (s->live != i)
        return; /* it has a successor */
    if (fault == FAULT_LEAVE) {
        i->how_killed = how;
        return; /* when it has ended */
    }
    s->live = NULL;
    s->start_us = sim.now_us + (fault == FAULT_ZOMBIE ? zombie_us[how] : kill_us[how]);
}

/* The orchestrator starts what has ended again. */
void world_ended(struct instance *i)
{
    struct slot *s = &slots[i->stage][i->slot];

    if (s->live != i)
        return;
    s->live = NULL;
    s->start_us = sim.now_us + (i->stopping ? (int64_t[]){50000, 1000000, 5000000, 12000000}[i->how_killed] : 100000);
}

/* ---- when all is done with ---- */

static bool all_run(void)
{
    size_t n;
    const struct instance *all = sched_instances(&n);

    for (size_t i = 0; i < n; i++)
        if (all[i].life == LIFE_STOPPED || (all[i].life == LIFE_RUNS && slots[all[i].stage][all[i].slot].live != &all[i]))
            return false; /* a zombie */
    for (int i = 0; i < world_stages(); i++)
        for (int k = 0; k < SLOTS_MAX; k++)
            if (slots[i][k].wanted && slots[i][k].live == NULL)
                return false;
    return true;
}

static bool all_committed(void)
{
    static const int inputs[][2] = {{TRANSACTIONS, -1}, {LABELS, ENRICHED}, {FEATURES, -1}};
    struct broker *b = sim.broker;

    for (int i = 0; i < world_stages(); i++) {
        static const char *const groups[] = {"sim.customer", "sim.terminal", "sim.score"};
        int g = group_of(b, groups[i]);

        for (int k = 0; k < 2 && inputs[i][k] >= 0; k++)
            for (int p = 0; p < PARTITIONS; p++) {
                int64_t n = b->topics[inputs[i][k]].partitions[p].n, at = b->groups[g].committed.at[inputs[i][k]][p].offset;

                if ((at < 0 ? 0 : at) != n) {
                    snprintf(why, sizeof(why), "%s has committed %lld of %lld in %s/%d", stage_names[i], (long long)at, (long long)n,
                             b->topics[inputs[i][k]].name, p);
                    return false;
                }
            }
    }
    return true;
}

static int64_t sum_of_all(void)
{
    int64_t sum = 0;

    for (size_t t = 0; t < sim.broker->n_topics; t++)
        for (int p = 0; p < sim.broker->topics[t].n_partitions; p++)
            sum += sim.broker->topics[t].partitions[p].n;
    return sum;
}

const char *world_why(void)
{
    return why;
}

static bool is_quiet(void)
{
    int64_t sum = sum_of_all();

    snprintf(why, sizeof(why), "%s", !all_run() ? "an instance is not there" : broker_has_open(sim.broker) ? "a transaction is open"
             : sched_in_flight() ? "a request is on its way" : "records keep coming");
    if (sum == stable_sum && !is_passed() && !broker_has_open(sim.broker) && !sched_in_flight() && all_run() && all_committed())
        return sim.now_us - stable_since_us >= STABLE_US;
    stable_sum = sum;
    stable_since_us = sim.now_us;
    return false;
}

/* All instances end here; others restore what they knew. */
static void restart(void)
{
    size_t n;
    struct instance *all = sched_instances(&n);

    for (size_t i = 0; i < n; i++)
        if (all[i].life != LIFE_ENDED)
            sched_kill(&all[i]);
    want_all(sim.now_us + 10000);
    restarted = true;
}

int64_t world_tick(void)
{
    const struct records *w = &worlds[sim.schedule.world];

    for (int i = 0; i < world_stages(); i++)
        for (int k = 0; k < SLOTS_MAX; k++)
            if (slots[i][k].start_us <= sim.now_us) {
                struct stage *s = incarnate(i, k);

                if (s == NULL)
                    return INT64_MAX;
                slots[i][k].start_us = INT64_MAX;
                slots[i][k].live = sched_start(s, i, k);
            }
    if (!sim.down)
        decide();
    if (!sim.down && is_quiet()) {
        stable_since_us = sim.now_us;
        if (wave < w->n_waves && w->waves[wave].last && !restarted)
            restart();
        else if (wave < w->n_waves)
            write_wave();
        else
            done = true;
    }
    return sim.now_us + QUIET_TICK_US;
}
