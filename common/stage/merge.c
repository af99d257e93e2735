#include "stage/merge.h"

#include <stdlib.h>

#include "base/arena.h"
#include "base/mutant.h"

void merge_init(struct merge *m, int tasks)
{
    *m = (struct merge){0};
    merge_expect(m, tasks);
}

void merge_done(struct merge *m, void (*release)(void *ctx, struct pending *p), void *ctx)
{
    for (size_t i = 0; i < m->n_channels; i++) {
        struct channel *c = &m->channels[i];

        for (size_t k = 0; k < c->n; k++)
            release(ctx, &c->ring[(c->head + k) & (c->cap - 1)]);
        free(c->ring);
    }
    free(m->channels);
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
    m->channels[i] = (struct channel){.task = task, .at = INT64_MIN, .taken_at = INT64_MIN};
    m->n_channels++;
    return &m->channels[i];
}

/* Every task of the upstream stage has a channel from the first word of any of them on, so that it is waited for. */
void merge_expect(struct merge *m, int tasks)
{
    if (tasks <= m->tasks)
        return;
    m->tasks = tasks;
    for (int t = 0; t < tasks; t++)
        merge_channel(m, t);
}

static struct pending *channel_head(const struct channel *c)
{
    return c->n == 0 ? NULL : &c->ring[c->head];
}

void merge_push(struct merge *m, const struct pending *p)
{
    struct channel *c = merge_channel(m, p->task);

    if (c->n == c->cap) {
        size_t cap = c->cap ? c->cap * 2 : 64;
        struct pending *ring = xmalloc(cap * sizeof(*ring));

        for (size_t k = 0; k < c->n; k++)
            ring[k] = c->ring[(c->head + k) & (c->cap - 1)];
        free(c->ring);
        c->ring = ring;
        c->head = 0;
        c->cap = cap;
    }
    c->ring[(c->head + c->n++) & (c->cap - 1)] = *p;
    c->idle = c->idle && m->repeats && p->at <= c->at;
    if (p->at > c->at)
        c->at = p->at;
    m->n_pending++;
}

void merge_mark(struct merge *m, const struct mark *mark)
{
    struct channel *c;

    merge_expect(m, mark->tasks);
    c = merge_channel(m, mark->task);
    c->idle = mark->idle || (c->idle && m->repeats && mark->at <= c->at);
    if (mark->at > c->at)
        c->at = mark->at;
}

/* (at, task) order; offsets rise within a channel. */
static bool before(const struct merge *m, const struct pending *a, const struct pending *b)
{
    if (m->unordered)
        return a->rec.offset < b->rec.offset;
    return a->at != b->at ? a->at < b->at : a->task < b->task;
}

static bool beyond(const struct channel *c, const struct pending *p)
{
    return c->at > p->at || (c->at == p->at && c->task > p->task);
}

struct pending *merge_head(struct merge *m, int *ret_waits_for)
{
    struct pending *best = NULL;

    *ret_waits_for = -1;
    for (size_t i = 0; i < m->n_channels; i++) {
        struct pending *p = channel_head(&m->channels[i]);

        if (p && (best == NULL || before(m, p, best)))
            best = p;
    }
    if (best == NULL || m->ended || m->unordered || best->task == CHANNEL_FOREIGN)
        return best;
    for (size_t i = 0; i < m->n_channels; i++) {
        const struct channel *c = &m->channels[i];

        bool rests = c->idle && SAFE(M_IDLE_PASSED);

        if (c->n == 0 && !rests && c->task != CHANNEL_FOREIGN && !beyond(c, best) && SAFE(M_CHANNEL_WAITED)) {
            *ret_waits_for = c->task;
            return NULL;
        }
    }
    return best;
}

struct pending merge_pop(struct merge *m, struct pending *head)
{
    struct channel *c = merge_channel(m, head->task);
    struct pending p = *head;

    c->head = (c->head + 1) & (c->cap - 1);
    c->n--;
    if (p.rec.offset >= c->next_offset)
        c->next_offset = p.rec.offset + 1;
    if (p.at > c->taken_at)
        c->taken_at = p.at;
    m->n_pending--;
    return p;
}

bool merge_idle(const struct merge *m)
{
    for (size_t i = 0; i < m->n_channels; i++)
        if (!m->channels[i].idle && m->channels[i].task != CHANNEL_FOREIGN)
            return false;
    return m->tasks != 0 && m->n_pending == 0;
}

int64_t merge_said(const struct merge *m)
{
    int64_t at = m->tasks == 0 ? INT64_MIN : INT64_MAX;

    for (size_t i = 0; i < m->n_channels; i++)
        if (m->channels[i].at < at && m->channels[i].task != CHANNEL_FOREIGN)
            at = m->channels[i].at;
    return at;
}

/* In the log's own order the next is what counts; before there is one, nothing is known. */
static int64_t unordered_at(const struct merge *m)
{
    const struct pending *next = NULL;

    for (size_t i = 0; i < m->n_channels; i++) {
        const struct pending *p = channel_head(&m->channels[i]);

        if (p && (next == NULL || before(m, p, next)))
            next = p;
    }
    return next ? next->at : m->ended ? INT64_MAX : INT64_MIN;
}

int64_t merge_at(const struct merge *m)
{
    int64_t at = INT64_MAX;

    if (m->unordered)
        return unordered_at(m);
    if (m->tasks == 0 && !m->ended)
        return INT64_MIN;
    for (size_t i = 0; i < m->n_channels; i++) {
        const struct channel *c = &m->channels[i];
        bool silent = m->ended || c->idle || c->task == CHANNEL_FOREIGN;
        int64_t least = c->n != 0 ? c->ring[c->head].at : silent ? INT64_MAX : c->at;

        if (least < at)
            at = least;
    }
    return at;
}

int64_t merge_lowest(const struct merge *m, int64_t next)
{
    for (size_t i = 0; i < m->n_channels; i++) {
        const struct pending *p = channel_head(&m->channels[i]);

        if (p && p->rec.offset < next)
            next = p->rec.offset;
    }
    return next;
}

int64_t merge_seen(const struct merge *m)
{
    int64_t next = 0;

    for (size_t i = 0; i < m->n_channels; i++)
        if (m->channels[i].task != CHANNEL_FOREIGN && m->channels[i].next_offset > next)
            next = m->channels[i].next_offset;
    return merge_lowest(m, next);
}
