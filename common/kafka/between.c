/*
 * Which offsets hold the records of a span of `at`: two bisections a partition, all partitions at once.
 *
 * A partition is only nearly in the order of `at`: several tasks write it. So an edge is looked for slack_ms outside of
 * the span, a step looks at the records of WINDOW offsets, and one of them that is out of place moves no edge: from
 * moves up only where all of them lie before the span, to moves down only where all lie behind it. Offsets without
 * records (marks, aborted ones) move an edge outwards. Where a writer fell back after a fault, all that lies behind the place
 * comes again: `from` is right on either side of it, and `to` is looked for behind `from`.
 */
#include <stdlib.h>

#include "base/arena.h"
#include "kafka/kafka.h"

#define WINDOW 64
#define COARSE 2000 /* records: to read so many costs less than another step */

struct edge {
    int64_t low, high; /* the edge lies between */
    int64_t mid;       /* looked at in this step; -1: found */
    int64_t at_min, at_max; /* of its window; at_min > at_max: no record */
};

static enum status step(struct reader *r, const char *topic, struct edge *edges, int n, reader_at_fn *at_of, void *ctx,
                        bool *ret_found, struct error *err)
{
    bool end = false;

    *ret_found = true;
    for (int p = 0; p < n; p++) {
        struct edge *e = &edges[p];

        e->at_min = INT64_MAX;
        e->at_max = INT64_MIN;
        e->mid = e->high - e->low > COARSE ? e->low + (e->high - e->low) / 2 : -1;
        if (e->mid < 0)
            continue;
        *ret_found = false;
        if (reader_add(r, topic, p, e->mid, e->mid + WINDOW, err) != OK)
            return err->status;
    }
    while (!*ret_found && !end) {
        struct reader_msg m;
        int64_t at;

        if (reader_next(r, -1, &m, &end, err) != OK)
            return err->status;
        if (end || !at_of(ctx, &m, &at))
            continue;
        edges[m.partition].at_min = at < edges[m.partition].at_min ? at : edges[m.partition].at_min;
        edges[m.partition].at_max = at > edges[m.partition].at_max ? at : edges[m.partition].at_max;
    }
    return OK;
}

/* Narrows every edge to COARSE; `from`: the edge before which all lies before ms, else the one from which none does. */
static enum status find(struct reader *r, const char *topic, struct edge *edges, int n, int64_t ms, bool from,
                        reader_at_fn *at_of, void *ctx, struct error *err)
{
    for (bool found = false; !found;) {
        if (step(r, topic, edges, n, at_of, ctx, &found, err) != OK)
            return err->status;
        for (int p = 0; p < n; p++) {
            struct edge *e = &edges[p];
            bool before = e->at_min > e->at_max ? !from : (from ? e->at_max : e->at_min) < ms;

            if (e->mid >= 0)
                *(before ? &e->low : &e->high) = e->mid;
        }
    }
    return OK;
}

enum status reader_between(struct reader *r, const char *topic, int n, const struct reader_span *span, reader_at_fn *at_of,
                           void *ctx, int64_t *ret_from, int64_t *ret_to, struct error *err)
{
    struct edge *edges = xcalloc((size_t)n, sizeof(*edges));
    bool begins = span->from_ms > INT64_MIN + span->slack_ms, ends = span->to_ms < INT64_MAX - span->slack_ms;
    enum status st = OK;

    for (int p = 0; p < n && st == OK; p++) {
        st = reader_bounds(r, topic, p, &ret_from[p], &ret_to[p], err);
        edges[p] = (struct edge){.low = ret_from[p], .high = ret_to[p]};
    }
    if (st == OK && begins)
        st = find(r, topic, edges, n, span->from_ms - span->slack_ms, true, at_of, ctx, err);
    for (int p = 0; p < n && st == OK; p++) {
        ret_from[p] = edges[p].low;
        edges[p].high = ret_to[p];
    }
    if (st == OK && ends)
        st = find(r, topic, edges, n, span->to_ms + span->slack_ms, false, at_of, ctx, err);
    for (int p = 0; p < n && st == OK; p++)
        ret_to[p] = edges[p].high;
    free(edges);
    return st;
}
