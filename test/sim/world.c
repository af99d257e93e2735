/* test/sim/world.c */
/*
 * What there is besides the broker: a chain of three stages and one beside the second, the slots in which their instances run, when the next wave of records
 * (records.c) comes, and when all is quiet. At the end all instances are stopped, fresh ones restore the state from the
 * changelogs, and a last record for each key shows what they know.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "test/sim/sim.h"
#include "wire/avro.h"
#include "workers/preprocess/preprocess.h"
#include "workers/score/worker.h"

#define STABLE_US 500000
#define QUIET_TICK_US 40000

struct slot {
    bool wanted;
    int64_t start_us; /* INT64_MAX: not to be started */
    struct instance *live;
};

static const struct worker preprocess = {
    .name = "preprocess", .open = preprocess_open, .transform = preprocess_transform, .due = preprocess_due,
    .make_due = preprocess_make_due, .close = preprocess_close};
static const struct worker score = {.name = "score", .stateless_order = true, .open = worker_open, .transform = worker_transform,
                                    .turn = worker_turn, .limit = worker_limit, .waits = worker_waits, .close = worker_close};
/* How often the pipeline file was given one more for a stage's state, and since when the stage runs by it. */
struct epochs {
    int n;
    int64_t since_ms[EPOCHS_MAX]; /* INT64_MAX: not yet */
};

static const char *const stage_names[] = {"customer", "terminal", "score", "hourly"};
static const int writers[] = {-1, CUSTOMER, TERMINAL, CUSTOMER}; /* of their inputs from inside */
static struct stage *templates[2][STAGES_MAX]; /* [1]: at_least_once */

static struct slot slots[STAGES_MAX][SLOTS_MAX];
static struct epochs epochs[STAGES_MAX];
static size_t wave, n_decided, n_made;
static int64_t spoke_us; /* the last wave or decision */
static bool restarted, done;
static int64_t stable_since_us, stable_sum;
static char why[128]; /* it is not quiet */

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

const struct pipeline *world_pipeline(void)
{
    return templates[0][0]->pipeline;
}

enum status world_open(const char *path, struct error *err)
{
    for (int k = 0; k < 2 * world_stages(); k++) {
        struct stage *s = xcalloc(1, sizeof(*s));
        int i = k / 2;

        s->worker = i == SCORE ? &score : &preprocess;
        s->opt = (struct stage_options){.batch = 1000, .from_ms = INT64_MIN, .to_ms = INT64_MAX, .pipeline = path,
                                        .stage = stage_names[i], .brokers = "sim", .instance = "0"};
        if (stage_load(s, err) != OK)
            return err->status;
        s->def->at_least_once = k % 2 == 1;
        for (size_t n = 0; n < s->n_inputs; n++)
            s->inputs[n].repeats = s->def->at_least_once && !s->inputs[n].outside;
        templates[k % 2][i] = s;
    }
    if (trainer_open(templates[0][SCORE]->def->feature_set, err) != OK)
        return err->status;
    records_open();
    return OK;
}

/* ---- slots ---- */

static void make_topics(void)
{
    struct broker *b = sim.broker;
    static const char *const names[] = {"sim.transactions", "sim.labels", "sim.enriched", "sim.features", "sim.scores",
                                        "sim.windows"};

    for (size_t t = 0; t < ARRAY_LEN(names); t++)
        broker_make_topic(b, names[t], PARTITIONS, false);
    broker_make_topic(b, "sim.dead_letters", 1, false);
    for (int i = 0; i < world_stages(); i++)
        if (templates[0][i]->has_changelog)
            broker_make_topic(b, templates[0][i]->changelog, PARTITIONS, true);
    broker_make_topic(b, SCHEMAS_TOPIC, 1, true);
    broker_make_topic(b, MODELS_TOPIC, 1, true);
}

static void write_wave(void)
{
    const struct records *w = records_now();

    story("wave %zu of %zu is written", wave + 1, w->n_waves);
    for (size_t i = w->waves[wave].begin; i < w->waves[wave].end; i++)
        broker_append(sim.broker, &w->records[i]);
    wave++;
    spoke_us = sim.now_us;
}

/* A boundary that a wave has passed, when its time has come. */
static bool is_passed(void)
{
    const struct records *w = records_now();

    return n_decided < w->n_decisions && w->decisions[n_decided].wave < wave;
}

static void decide(void)
{
    const struct decision *d = &records_now()->decisions[n_decided];

    if (!is_passed() || sim.now_us < spoke_us + d->delay_us)
        return;
    trainer_publish(d);
    n_decided++;
    spoke_us = sim.now_us;
}

/* Its own epoch and those of its inputs are what the pipeline file says now. */
static void read_epochs(struct stage *s, struct stage_def *def, int stage)
{
    *def = *s->def;
    def->epoch = epochs[stage].n;
    s->def = def;
    for (size_t i = 0; i < s->n_inputs; i++)
        if (!s->inputs[i].outside)
            s->inputs[i].epoch = epochs[writers[stage]].n;
}

static bool is_outdated(const struct instance *i)
{
    bool own = i->s->def->epoch == epochs[i->stage].n;

    for (size_t k = 0; k < i->s->n_inputs; k++)
        own &= i->s->inputs[k].outside || i->s->inputs[k].epoch == epochs[writers[i->stage]].n;
    return !own;
}

static struct stage *incarnate(int stage, int slot)
{
    static const char *const instances[SLOTS_MAX] = {"0", "1", "2"};
    static struct stage *made[INSTANCES_MAX];
    static struct stage_def defs[ARRAY_LEN(made)];
    struct stage *s;

    if (n_made == ARRAY_LEN(made)) {
        fail("an instance of %s ends whenever it is started", world_stage_name(stage));
        return NULL;
    }
    s = made[n_made] ? made[n_made] : (made[n_made] = xmalloc(sizeof(*s)));
    *s = *templates[sim.schedule.at_least_once][stage];
    read_epochs(s, &defs[n_made++], stage);
    s->ops = ops_new(&s->metrics);
    s->opt.instance = instances[slot];
    s->changelog_bytes = s->changelog_bytes_max = (size_t)sim.schedule.changelog_bytes;
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
    for (int i = 0; i < STAGES_MAX; i++) {
        epochs[i].n = 0;
        for (int e = 0; e < EPOCHS_MAX; e++)
            epochs[i].since_ms[e] = INT64_MAX;
    }
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

/* ---- epochs ---- */

int world_epoch_at(int stage, int64_t arrival_ms)
{
    int epoch = 0;

    for (int e = 1; e <= epochs[stage].n; e++)
        if (epochs[stage].since_ms[e] < arrival_ms)
            epoch = e;
    return epoch;
}

bool world_new_epoch(struct instance *by, int how)
{
    static const int64_t start_us[] = {20000, 0, 500000, 12000000};
    bool asked = how == 1, whole = how == 1 || how == 2; /* by SIGTERM; with all other stages */
    int stage = by->stage;
    size_t n;
    struct instance *all = sched_instances(&n);

    while (!templates[0][stage]->stateful)
        stage = writers[stage];
    epochs[stage].n++;
    story("the pipeline file says epoch %d of %s", epochs[stage].n, world_stage_name(stage));
    for (size_t i = 0; i < n; i++)
        if (all[i].life != LIFE_ENDED && (whole || all[i].stage == stage)) {
            all[i].stopping |= asked;
            if (!asked && &all[i] != by)
                sched_kill(&all[i]);
        }
    for (int i = 0; i < world_stages() && !asked; i++)
        for (int k = 0; k < SLOTS_MAX; k++)
            if (slots[i][k].wanted && (whole || i == stage))
                slots[i][k] = (struct slot){.wanted = true, .start_us = sim.now_us + start_us[how]};
    return !asked && (whole || by->stage == stage);
}

/* Before the first instance of a new epoch starts, all of the former have ended. */
static bool may_start(int stage)
{
    size_t n;
    const struct instance *all = sched_instances(&n);

    for (size_t i = 0; i < n; i++)
        if (all[i].life != LIFE_ENDED && all[i].stage == stage && all[i].s->def->epoch != epochs[stage].n)
            return false;
    return true;
}

/* A chunk's bytes within its record (stage/changelog.c). */
static struct view chunk_of(struct view value)
{
    struct avro_reader r = {value.data + 5, value.data + value.n};
    struct view chunk = {0};
    int64_t n = -1, skipped;
    bool idle, ok = true;

    for (int i = 0; i < 3; i++)
        ok = ok && avro_get_long(&r, &skipped);
    while (ok && avro_get_block(&r, &n) && n != 0)
        for (int64_t k = 0; k < 6 * n; k++)
            ok = ok && (k % 6 == 4 ? avro_get_bool(&r, &idle) : avro_get_long(&r, &skipped));
    ok = ok && avro_get_block(&r, &n) && n == 0 && avro_get_bytes(&r, &chunk);
    assert(ok);
    return chunk;
}

static struct view spoiled(struct view value)
{
    uint8_t *own = memcpy(xmalloc(value.n), value.data, value.n);
    struct view chunk = chunk_of(view_of(own, value.n));

    for (uint8_t *b = own + (chunk.data - own); b < chunk.data + chunk.n; b++)
        *b = (uint8_t)(*b + 0x55);
    return view_of(own, value.n);
}

/* What the state's chunks hold means something else from now on: nobody may make use of them. */
static void spoil_state(int stage)
{
    struct topic_log *t = &sim.broker->topics[broker_topic(sim.broker, templates[0][stage]->changelog)];

    for (int p = 0; p < t->n_partitions; p++)
        for (int64_t o = 0; o < t->partitions[p].n; o++) {
            struct record *r = &t->partitions[p].records[o];

            if (r->kind == KIND_DATA && r->key.n > 4)
                r->value = spoiled(r->value);
        }
}

static void begin_epoch(int stage)
{
    int64_t *since_ms = &epochs[stage].since_ms[epochs[stage].n];

    if (epochs[stage].n == 0 || *since_ms != INT64_MAX)
        return;
    *since_ms = sim.broker->wall_ms + sim.now_us / 1000;
    spoil_state(stage);
}

/* Another of its name was there in its time: a zombie, or its heir. */
static bool has_rival(const struct instance *i)
{
    size_t n;
    const struct instance *all = sched_instances(&n);

    for (size_t k = 0; k < n; k++)
        if (&all[k] != i && all[k].stage == i->stage && all[k].slot == i->slot &&
            (all[k].life != LIFE_ENDED || all[k].ended_us > i->began_us))
            return true;
    return false;
}

/* The orchestrator starts what has ended again. Nobody but another of its name may make an instance give up. */
void world_ended(struct instance *i)
{
    struct slot *s = &slots[i->stage][i->slot];

    if (s->live != i)
        return;
    if (i->started && !i->stopping && !has_rival(i) && !is_outdated(i))
        fail("%s gave up though nobody has its place: %s", i->name, i->err.text);
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
    static const int inputs[][2] = {{TRANSACTIONS, -1}, {LABELS, ENRICHED}, {FEATURES, -1}, {ENRICHED, -1}};
    struct broker *b = sim.broker;

    for (int i = 0; i < world_stages(); i++) {
        static const char *const groups[] = {"sim.customer", "sim.terminal", "sim.score", "sim.hourly"};
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

/* Where nothing comes any more all state gets written: what a restore would read of the inputs besides, they forget. */
static bool all_written(void)
{
    size_t n;
    const struct instance *all = sched_instances(&n);

    for (size_t i = 0; i < n; i++)
        for (size_t t = 0; all[i].life != LIFE_ENDED && all[i].s->stateful && t < all[i].s->n_tasks; t++)
            if (state_since_min(all[i].s->tasks[t]->state) != INT64_MAX)
                return false;
    return true;
}

static bool is_quiet(void)
{
    int64_t sum = sum_of_all();

    snprintf(why, sizeof(why), "%s", !all_run() ? "an instance is not there" : broker_has_open(sim.broker) ? "a transaction is open"
             : sched_in_flight() ? "a request is on its way" : !all_written() ? "state is not on its changelog" : "records keep coming");
    if (sum == stable_sum && !is_passed() && !broker_has_open(sim.broker) && !sched_in_flight() && all_run() && all_written() && all_committed())
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
        if (all[i].life != LIFE_ENDED) {
            sched_kill(&all[i]);
        }
    want_all(sim.now_us + 10000);
    restarted = true;
}

int64_t world_tick(void)
{
    const struct records *w = records_now();

    for (int i = 0; i < world_stages(); i++)
        for (int k = 0; k < SLOTS_MAX; k++)
            if (slots[i][k].start_us <= sim.now_us && may_start(i)) {
                struct stage *s = incarnate(i, k);

                if (s == NULL)
                    return INT64_MAX;
                begin_epoch(i);
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
