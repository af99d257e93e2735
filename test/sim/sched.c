/* test/sim/sched.c: instances as coroutines, one clock, and where the schedule's faults strike. */
#undef _FORTIFY_SOURCE /* its longjmp may only go down the same stack */
#include <assert.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/rand.h"
#include "ops/signals.h"
#include "test/sim/sim.h"

#define STACK_BYTES ((size_t)512 * 1024)
#define STEPS_MAX 400000

struct sim sim;

static struct instance instances[INSTANCES_MAX];
static size_t n_instances;
static void *stacks[INSTANCES_MAX];
static ucontext_t world_entry;
static jmp_buf world;

static struct {
    int64_t at_us;
    struct request request;
} flight[64];
static size_t n_flight;

/* ---- what the shipped code asks of the machine ---- */

int64_t clock_wall_ms(void)
{
    return sim.broker->wall_ms + sim.now_us / 1000;
}

int64_t clock_mono_us(void)
{
    return sim.now_us;
}

int64_t clock_mono_ms(void)
{
    return sim.now_us / 1000;
}

void clock_nap_ms(int ms)
{
    int how;

    (void)step_begin(STEP_NAP, (int64_t)ms * 1000, &how);
    step_end(0);
}

enum status signals_start(struct error *err)
{
    (void)err;
    return OK;
}

bool signals_stopping(void)
{
    return sim.me && sim.me->stopping;
}

int signals_fd(void)
{
    return -1;
}

void signals_stop(void)
{
    sim.me->stopping = true;
}

void log_name(const char *name)
{
    (void)name;
}

static void mix(uint64_t v)
{
    sim.trace = (sim.trace ^ v) * 0x9e3779b97f4a7c15u;
    sim.trace ^= sim.trace >> 29;
}

static void say(const char *event, const char *fmt, va_list ap)
{
    char text[1400];

    for (const char *c = event; *c; c++)
        mix((uint64_t)*c);
    if (!sim.story)
        return;
    vsnprintf(text, sizeof(text), fmt, ap);
    printf("%10.4f  %-14s %s %s\n", (double)sim.now_us / 1e6, sim.me ? sim.me->name : "", event, text);
}

#define DEFINE_LEVEL(level)                          \
    void log_##level(const char *event, const char *fmt, ...) \
    {                                                \
        va_list ap;                                  \
                                                     \
        va_start(ap, fmt);                           \
        say(event, fmt, ap);                         \
        va_end(ap);                                  \
    }

DEFINE_LEVEL(info)
DEFINE_LEVEL(warn)
DEFINE_LEVEL(error)

bool log_every_ms(int64_t *last, int64_t ms)
{
    (void)last, (void)ms;
    return true;
}

void story(const char *fmt, ...)
{
    va_list ap;

    if (!sim.story)
        return;
    va_start(ap, fmt);
    say("-", fmt, ap);
    va_end(ap);
}

void fail(const char *fmt, ...)
{
    va_list ap;

    if (sim.failure[0])
        return;
    va_start(ap, fmt);
    vsnprintf(sim.failure, sizeof(sim.failure), fmt, ap);
    va_end(ap);
    story("FAILED: %s", sim.failure);
}

uint64_t jitter_below(uint64_t n)
{
    return sim.schedule.jitter ? rand_below(&sim.jitter, n) : 0;
}

/* ---- coroutines ---- */

void sched_begin(const struct schedule *s)
{
    bool tell = sim.story;

    n_instances = n_flight = 0;
    sim = (struct sim){.schedule = *s, .story = tell, .broker = broker_new()};
    rand_seed(&sim.jitter, s->jitter);
    if (s->lazy_sweep)
        sim.broker->sweep_us = 10000000;
}

static void run_stage(void)
{
    struct instance *i = sim.me;
    struct stage *s = i->s;

    i->status = stage_start(s, &i->err);
    i->started = i->status == OK;
    if (i->started)
        i->status = loop_run(s, &i->err);
    story("ends: %s", i->status == OK ? "as asked" : i->err.text);
    if (s->log) {
        loop_drop_tasks(s);
        s->log->ops->close(s->log);
    }
    if (s->worker->close && s->ctx)
        s->worker->close(s->ctx);
    i->life = LIFE_ENDED;
    i->ended_us = sim.now_us;
    world_ended(i);
    _longjmp(world, 1);
}

/* Begins or goes on; back when the instance lets go. swapcontext would ask the kernel for the signals' mask each time. */
static void enter(struct instance *i)
{
    if (_setjmp(world) != 0)
        return;
    if (i->entered)
        _longjmp(i->at, 1);
    i->entered = true;
    swapcontext(&world_entry, &i->context);
}

static void let_go(struct instance *i)
{
    if (_setjmp(i->at) == 0)
        _longjmp(world, 1);
}

struct instance *sched_start(struct stage *s, int stage, int slot)
{
    struct instance *i = &instances[n_instances];

    assert(n_instances < INSTANCES_MAX);
    if (stacks[n_instances] == NULL)
        stacks[n_instances] = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    *i = (struct instance){.life = LIFE_RUNS, .stage = stage, .slot = slot, .s = s, .began_us = sim.now_us, .wake_us = sim.now_us};
    snprintf(i->name, sizeof(i->name), "%.12s/%d#%zu", world_stage_name(stage), slot, n_instances);
    getcontext(&i->context);
    i->context.uc_stack.ss_sp = stacks[n_instances];
    i->context.uc_stack.ss_size = STACK_BYTES;
    makecontext(&i->context, run_stage, 0);
    n_instances++;
    story("%s starts", i->name);
    return i;
}

struct instance *sched_instances(size_t *ret_n)
{
    *ret_n = n_instances;
    return instances;
}

/* Whatever it had in memory is gone; what it sent is on its way. */
void sched_kill(struct instance *i)
{
    story("%s is killed", i->name);
    i->life = LIFE_ENDED;
    i->ended_us = sim.now_us;
    i->clients = NULL;
}

void sched_post(const struct request *r, int64_t delay_us)
{
    if (n_flight == sizeof(flight) / sizeof(flight[0]))
        return;
    flight[n_flight].at_us = sim.now_us + delay_us;
    flight[n_flight++].request = *r;
}

bool sched_in_flight(void)
{
    return n_flight != 0;
}

/* Timers of broker, clients, wire and world; returns when the next is. */
static int64_t timers(void)
{
    int64_t next = sim.away_until_us, at;

    if (sim.down && sim.now_us >= sim.away_until_us) {
        sim.down = false;
        group_hear_all(sim.broker);
    }
    if (!sim.down)
        broker_tick(sim.broker, sim.now_us, &next);
    for (size_t k = 0; k < n_flight;) {
        struct request r = flight[k].request;

        if (flight[k].at_us > sim.now_us || sim.now_us < sim.away_until_us) {
            at = flight[k].at_us > sim.now_us ? flight[k].at_us : sim.away_until_us;
            next = at < next ? at : next;
            k++;
            continue;
        }
        flight[k] = flight[--n_flight];
        story("a late request of pid %d epoch %d arrives: %s", r.pid, r.epoch, rd_kafka_err2str(r.handle(sim.broker, &r)));
    }
    for (size_t k = 0; k < n_instances; k++) {
        struct instance *i = &instances[k];

        if (i->life == LIFE_STOPPED && i->resume_us <= sim.now_us) {
            i->life = LIFE_RUNS;
            i->wake_us = sim.now_us;
            story("%s goes on", i->name);
        }
        if (i->life == LIFE_STOPPED)
            next = i->resume_us < next ? i->resume_us : next;
        for (struct rd_kafka_s **rk = &i->clients; i->life == LIFE_RUNS && *rk; rk = (struct rd_kafka_s **)*rk) {
            at = client_tick(*rk); /* its first member is the next client */
            next = at < next ? at : next;
        }
    }
    at = world_tick();
    return at < next ? at : next;
}

static int64_t next_timer_us;

static struct instance *next_instance(void)
{
    struct instance *best = NULL;

    for (size_t k = 0; k < n_instances; k++)
        if (instances[k].life == LIFE_RUNS && (best == NULL || instances[k].wake_us < best->wake_us))
            best = &instances[k];
    return best;
}

void sched_run(void)
{
    next_timer_us = 0;
    while (!world_done() && sim.failure[0] == '\0') {
        struct instance *i = next_instance();

        if (i == NULL || next_timer_us <= i->wake_us) {
            sim.now_us = next_timer_us > sim.now_us ? next_timer_us : sim.now_us;
            sim.broker->now_us = sim.now_us;
            next_timer_us = timers();
            continue;
        }
        sim.now_us = i->wake_us > sim.now_us ? i->wake_us : sim.now_us;
        sim.broker->now_us = sim.now_us;
        sim.me = i;
        enter(i);
        sim.me = NULL;
        if (sim.n_steps > STEPS_MAX)
            fail("stuck after %" PRId64 " steps, %.0f s: %s", sim.n_steps, (double)sim.now_us / 1e6, world_why());
    }
}

/* Lets time pass for this instance; others run meanwhile. */
static void yield(int64_t us)
{
    struct instance *me = sim.me, *next;

    if (jitter_below(8) == 1)
        us += (int64_t[]){200, 1000, 5000, 20000}[jitter_below(4)];
    me->wake_us = sim.now_us + us;
    next = me->life == LIFE_RUNS && me->wake_us < next_timer_us ? next_instance() : NULL;
    if (next == me) { /* nobody else comes first */
        sim.now_us = me->wake_us;
        sim.broker->now_us = sim.now_us;
        return;
    }
    let_go(me);
}

/* ---- steps and faults ---- */

static void end(struct instance *me)
{
    sched_kill(me);
    _longjmp(world, 1);
}

static void die(struct instance *me, int how)
{
    world_struck(me, FAULT_KILL, how);
    end(me);
}

static void stop(struct instance *me, int64_t us)
{
    me->life = LIFE_STOPPED;
    me->resume_us = sim.now_us + us;
    next_timer_us = sim.now_us;
    let_go(me);
}

static struct rd_kafka_s *client_of(struct instance *me, bool txn)
{
    for (struct rd_kafka_s *rk = me->clients; rk; rk = *(struct rd_kafka_s **)rk)
        if (txn ? client_txn_id(rk) != NULL : client_group_instance(rk) != NULL)
            return rk;
    return NULL;
}

static bool strike_broker(struct instance *me, enum fault fault, int how)
{
    static const int64_t away_us[] = {300000, 2000000, 7000000, 35000000};
    struct broker *b = sim.broker;
    bool txn_side = fault < FAULT_KICK || fault > FAULT_SESSION;
    struct rd_kafka_s *rk = client_of(me, txn_side);
    int txn = rk && txn_side ? broker_txn(b, client_txn_id(rk)) : -1;

    if (fault == FAULT_UNDECIDED && rk) {
        group_hold(b, client_group(rk));
    } else if ((fault == FAULT_KICK || fault == FAULT_FORGET || fault == FAULT_GHOST) && rk) {
        if (fault == FAULT_KICK)
            group_kick(b, client_group(rk), client_group_instance(rk));
        else if (fault == FAULT_GHOST)
            group_ghost(b, client_group(rk), client_group_instance(rk));
        else
            group_forget(b, client_group(rk));
        if (how > 1)
            client_beat(rk); /* it hears of it at once */
    }
    else if (fault == FAULT_SESSION && rk) {
        client_forget(rk);
        if (how > 1)
            client_beat(rk);
    } else if (fault == FAULT_TXN_TIMEOUT && txn >= 0)
        broker_time_out(b, txn);
    else if (fault == FAULT_FENCE && txn >= 0) {
        int pid, epoch;

        (void)broker_init(b, client_txn_id(rk), b->txns[txn].timeout_us, &pid, &epoch);
    } else if (fault == FAULT_COMPACT)
        broker_compact(b);
    else if (fault == FAULT_AWAY || fault == FAULT_DOWN) {
        size_t n;
        struct instance *all = sched_instances(&n);

        sim.away_until_us = sim.now_us + away_us[how];
        sim.down |= fault == FAULT_DOWN;
        for (size_t i = 0; i < n; i++)
            for (rk = all[i].life == LIFE_ENDED ? NULL : all[i].clients; rk; rk = *(struct rd_kafka_s **)rk)
                client_lost(rk);
    } else
        return false;
    return true;
}

/* Faults of the process and at the broker strike here; those of the wire are the caller's. */
static enum fault strike(struct instance *me, enum step step, enum fault fault, int how)
{
    static const int64_t stop_us[] = {300000, 1000000, 2900000, 8000000}, zombie_us[] = {1500000, 4500000, 9000000, 16000000};

    switch (fault) {
    case FAULT_KILL:
        die(me, how);
        return FAULT_NONE;
    case FAULT_KILL_AFTER:
        me->kill_after = true;
        me->how_killed = how;
        return FAULT_NONE;
    case FAULT_STOP:
        stop(me, stop_us[how]);
        return FAULT_NONE;
    case FAULT_ZOMBIE:
        world_struck(me, FAULT_ZOMBIE, how);
        stop(me, zombie_us[how]);
        return FAULT_NONE;
    case FAULT_LEAVE:
        me->stopping = true;
        world_struck(me, FAULT_LEAVE, how);
        return FAULT_NONE;
    case FAULT_JOIN:
        world_struck(me, FAULT_JOIN, how);
        next_timer_us = sim.now_us;
        return FAULT_NONE;
    case FAULT_EPOCH:
        if (world_new_epoch(me, how))
            end(me);
        next_timer_us = sim.now_us;
        return FAULT_NONE;
    case FAULT_KICK: case FAULT_FORGET: case FAULT_GHOST: case FAULT_UNDECIDED: case FAULT_SESSION: case FAULT_FENCE: case FAULT_TXN_TIMEOUT: case FAULT_COMPACT: case FAULT_AWAY: case FAULT_DOWN:
        (void)strike_broker(me, fault, how);
        next_timer_us = sim.now_us;
        return fault >= FAULT_AWAY && how == 3 && schedule_cannot(step, FAULT_LOST_ANSWER) == NULL ? FAULT_LOST_ANSWER : FAULT_NONE;
    default:
        return fault;
    }
}

enum fault step_begin(enum step step, int64_t cost_us, int *ret_how)
{
    struct instance *me = sim.me;
    enum fault fault = FAULT_NONE;
    int nth = ++sim.counts[me->stage][step];

    sim.n_steps++;
    mix((uint64_t)(me - instances) * 64 + (uint64_t)step);
    mix((uint64_t)sim.now_us);
    yield(cost_us);
    for (size_t k = 0; k < sim.schedule.n_items; k++) {
        const struct item *it = &sim.schedule.items[k];

        if (sim.item_done[k] || it->stage != me->stage || it->step != step || nth - sim.item_from[k] < it->nth ||
            (it->then && k && !sim.item_done[k - 1]))
            continue;
        sim.item_done[k] = true;
        if (k + 1 < sim.schedule.n_items && it[1].then)
            sim.item_from[k + 1] = sim.counts[it[1].stage][it[1].step];
        sim.struck[step][it->fault]++;
        story("*** %s at its %s (the stage's %d.), how %d", fault_names[it->fault], step_names[step], nth, it->how);
        *ret_how = it->how;
        fault = strike(me, step, it->fault, it->how);
        break;
    }
    return fault;
}

void step_wait(int64_t us)
{
    yield(us);
}

void step_end(int64_t cost_us)
{
    struct instance *me = sim.me;

    if (me->kill_after)
        die(me, me->how_killed);
    if (cost_us)
        yield(cost_us);
}
