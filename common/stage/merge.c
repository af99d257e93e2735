#include "stage/merge.h"

#include <assert.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/mutant.h"

static const struct said UNHEARD = {INT64_MIN, INT64_MIN, false};

/* ---- rings ---- */

static void pendings_push(struct pendings *q, const struct pending *p)
{
    if (q->n == q->cap) {
        size_t cap = q->cap ? q->cap * 2 : 64;
        struct pending *ring = xmalloc(cap * sizeof(*ring));

        for (size_t k = 0; k < q->n; k++)
            ring[k] = q->ring[(q->head + k) & (q->cap - 1)];
        free(q->ring);
        *q = (struct pendings){.ring = ring, .n = q->n, .cap = cap};
    }
    q->ring[(q->head + q->n++) & (q->cap - 1)] = *p;
}

static struct pending *pendings_head(const struct pendings *q)
{
    return q->n == 0 ? NULL : &q->ring[q->head];
}

static struct pending pendings_pop(struct pendings *q)
{
    struct pending p = q->ring[q->head];

    q->head = (q->head + 1) & (q->cap - 1);
    q->n--;
    return p;
}

static void pendings_done(struct pendings *q, void (*release)(void *ctx, struct pending *p), void *ctx)
{
    for (size_t k = 0; k < q->n; k++)
        release(ctx, &q->ring[(q->head + k) & (q->cap - 1)]);
    free(q->ring);
}

/* ---- channels ---- */

void merge_init(struct merge *m, int tasks)
{
    *m = (struct merge){.tasks = tasks, .known = INT64_MIN};
    for (int t = 0; t < tasks; t++)
        merge_channel(m, t);
}

void merge_done(struct merge *m, void (*release)(void *ctx, struct pending *p), void *ctx)
{
    for (size_t i = 0; i < m->n_channels; i++)
        pendings_done(&m->channels[i].waiting, release, ctx);
    pendings_done(&m->ready, release, ctx);
    free(m->channels);
    free(m->steps);
    *m = (struct merge){0};
}

struct channel *merge_channel(struct merge *m, int task)
{
    size_t i = 0;

    while (i < m->n_channels && m->channels[i].task < task)
        i++;
    if (i < m->n_channels && m->channels[i].task == task)
        return &m->channels[i];
    m->channels = xrealloc(m->channels, (m->n_channels + 1) * sizeof(*m->channels));
    memmove(&m->channels[i + 1], &m->channels[i], (m->n_channels - i) * sizeof(*m->channels));
    m->channels[i] = (struct channel){.task = task, .now = UNHEARD, .low = UNHEARD};
    m->n_channels++;
    return &m->channels[i];
}

/* Where it was written at least once, what says no more than is known may be a zombie's, and wakes no idle channel. */
static void hear(const struct merge *m, struct said *s, int64_t at, bool record, bool idle)
{
    s->idle = idle || (s->idle && m->repeats && at <= s->at);
    s->at = at > s->at ? at : s->at;
    s->record_at = record && at > s->record_at ? at : s->record_at;
}

/* ---- from the lowest that is not taken on ---- */

static struct merge_step *step_at(const struct merge *m, uint64_t number)
{
    return &m->steps[number & (m->cap_steps - 1)];
}

static void step_add(struct merge *m, struct merge_step s)
{
    if (m->end_step - m->first_step == m->cap_steps) {
        size_t cap = m->cap_steps ? m->cap_steps * 2 : 64;
        struct merge_step *steps = xmalloc(cap * sizeof(*steps));

        for (uint64_t n = m->first_step; n < m->end_step; n++)
            steps[n & (cap - 1)] = *step_at(m, n);
        free(m->steps);
        m->steps = steps;
        m->cap_steps = cap;
    }
    *step_at(m, m->end_step++) = s;
}

/* What lies below the lowest that is not taken has been said. */
static void step_on(struct merge *m)
{
    while (m->first_step < m->end_step && !step_at(m, m->first_step)->pending) {
        const struct merge_step *s = step_at(m, m->first_step++);

        if (s->task == CHANNEL_FOREIGN)
            continue;
        for (size_t i = 0; s->epoch > m->low_epoch && i < m->n_channels; i++)
            m->channels[i].low.idle = false;
        m->low_epoch = s->epoch;
        hear(m, &merge_channel(m, s->task)->low, s->at, s->record, s->idle);
    }
}

/* ---- order ---- */

/* (at, task) order; offsets rise within a channel. */
static bool before(const struct pending *a, const struct pending *b)
{
    return a->at != b->at ? a->at < b->at : a->task < b->task;
}

static struct channel *first_waiting(const struct merge *m)
{
    struct channel *best = NULL;

    for (size_t i = 0; i < m->n_channels; i++) {
        struct channel *c = &m->channels[i];

        if (c->waiting.n && (best == NULL || before(pendings_head(&c->waiting), pendings_head(&best->waiting))))
            best = c;
    }
    return best;
}

/* The channel that may still bring what comes before p, or NULL. */
static const struct channel *blocks(const struct merge *m, const struct pending *p)
{
    for (size_t i = 0; i < m->n_channels; i++) {
        const struct channel *c = &m->channels[i];
        bool beyond = c->now.at > p->at || (c->now.at == p->at && c->task > p->task);
        bool rests = c->now.idle && SAFE(M_IDLE_PASSED);

        if (c->waiting.n == 0 && !rests && !beyond && c->task != CHANNEL_FOREIGN && SAFE(M_CHANNEL_WAITED))
            return c;
    }
    return NULL;
}

static void settle(struct merge *m, bool all)
{
    struct channel *c;

    while ((c = first_waiting(m)) != NULL && (all || blocks(m, pendings_head(&c->waiting)) == NULL)) {
        struct pending p = pendings_pop(&c->waiting);

        pendings_push(&m->ready, &p);
    }
}

/* Whatever is pending: that is taken before anybody asks. */
static void know(struct merge *m)
{
    int64_t at = INT64_MAX;

    if (!m->keeps_known || m->unordered)
        return;
    for (size_t i = 0; i < m->n_channels; i++)
        if (!m->channels[i].now.idle && m->channels[i].task != CHANNEL_FOREIGN && m->channels[i].now.at < at)
            at = m->channels[i].now.at;
    at = at == INT64_MAX ? merge_said(m) : at;
    m->known = at > m->known ? at : m->known;
}

int64_t merge_known(const struct merge *m)
{
    return m->known;
}

static size_t bytes_of(const struct pending *p)
{
    return sizeof(*p) + LOG_RECORD_BYTES + p->rec.key.n + p->rec.value.n;
}

void merge_push(struct merge *m, const struct pending *p)
{
    struct channel *c = merge_channel(m, p->task);
    struct pending own = *p;
    bool in_order = p->task != CHANNEL_FOREIGN && !m->unordered && m->tasks > 1;

    own.step = m->end_step;
    step_add(m, (struct merge_step){p->rec.offset, p->at, p->task, m->epoch, false, true, true});
    m->n_pending++;
    m->pending_bytes += bytes_of(p);
    if (p->task != CHANNEL_FOREIGN)
        hear(m, &c->now, p->at, true, false);
    pendings_push(in_order ? &c->waiting : &m->ready, &own);
    if (in_order)
        settle(m, m->ended);
    know(m);
}

void merge_mark(struct merge *m, const struct mark *mark, int64_t offset)
{
    hear(m, &merge_channel(m, mark->task)->now, mark->at, false, mark->idle);
    step_add(m, (struct merge_step){offset, mark->at, mark->task, m->epoch, mark->idle, false, false});
    step_on(m);
    settle(m, m->ended);
    know(m);
}

void merge_epoch(struct merge *m, int epoch)
{
    assert(epoch > m->epoch);
    settle(m, /* all= */ !SAFE(M_EPOCH_ORDER));
    m->epoch = epoch;
    for (size_t i = 0; i < m->n_channels; i++)
        m->channels[i].now.idle = false;
}

void merge_end(struct merge *m)
{
    m->ended = true;
    settle(m, /* all= */ true);
}

struct pending *merge_head(struct merge *m)
{
    return pendings_head(&m->ready);
}

struct pending merge_pop(struct merge *m)
{
    struct pending p = pendings_pop(&m->ready);
    struct channel *c = merge_channel(m, p.task);

    if (p.rec.offset >= c->next_offset)
        c->next_offset = p.rec.offset + 1;
    m->n_pending--;
    m->pending_bytes -= bytes_of(&p);
    step_at(m, p.step)->pending = false;
    step_on(m);
    return p;
}

/* ---- what is known ---- */

bool merge_waits(const struct merge *m, int *ret_task, int64_t *ret_at)
{
    const struct channel *first = first_waiting(m), *c;

    if (first == NULL || (c = blocks(m, pendings_head(&first->waiting))) == NULL)
        return false;
    *ret_task = c->task;
    *ret_at = pendings_head(&first->waiting)->at;
    return true;
}

int merge_last(const struct merge *m)
{
    const struct channel *last = NULL;

    for (size_t i = 0; i < m->n_channels; i++) {
        const struct channel *c = &m->channels[i];

        if (c->task != CHANNEL_FOREIGN && !c->now.idle && (last == NULL || c->now.at < last->now.at))
            last = c;
    }
    return last ? last->task : -1;
}

/* They are the first of whatever waits: the order is as it was. */
bool merge_replays(const struct merge *m)
{
    if (m->ready.n && pendings_head(&m->ready)->replay)
        return true;
    for (size_t i = 0; i < m->n_channels; i++)
        if (m->channels[i].waiting.n && pendings_head(&m->channels[i].waiting)->replay)
            return true;
    return false;
}

bool merge_idle(const struct merge *m)
{
    for (size_t i = 0; i < m->n_channels; i++)
        if (!m->channels[i].now.idle && m->channels[i].task != CHANNEL_FOREIGN)
            return false;
    return m->n_pending == 0;
}

int64_t merge_said(const struct merge *m)
{
    int64_t at = INT64_MAX;

    for (size_t i = 0; i < m->n_channels; i++)
        if (m->channels[i].now.at < at && m->channels[i].task != CHANNEL_FOREIGN)
            at = m->channels[i].now.at;
    return at;
}

int64_t merge_furthest(const struct merge *m)
{
    int64_t at = INT64_MIN;

    for (size_t i = 0; i < m->n_channels; i++)
        if (m->channels[i].now.at > at && m->channels[i].task != CHANNEL_FOREIGN)
            at = m->channels[i].now.at;
    return at;
}

int64_t merge_at(const struct merge *m)
{
    int64_t at = INT64_MAX;

    if (m->ready.n)
        return pendings_head(&m->ready)->at;
    if (m->ended)
        return INT64_MAX;
    if (m->unordered)
        return INT64_MIN; /* the next is what counts, and it is not there yet */
    for (size_t i = 0; i < m->n_channels; i++) {
        const struct channel *c = &m->channels[i];
        int64_t least = c->waiting.n ? pendings_head(&c->waiting)->at : c->now.idle ? INT64_MAX : c->now.at;

        if (c->task != CHANNEL_FOREIGN && least < at)
            at = least;
    }
    return at;
}

int64_t merge_low(const struct merge *m, int64_t next)
{
    return m->first_step < m->end_step ? step_at(m, m->first_step)->offset : next;
}

int64_t merge_seen(const struct merge *m)
{
    int64_t next = 0, low;

    for (size_t i = 0; i < m->n_channels; i++)
        if (m->channels[i].task != CHANNEL_FOREIGN && m->channels[i].next_offset > next)
            next = m->channels[i].next_offset;
    low = merge_low(m, next);
    return low < next ? low : next;
}
