/* A compacted topic's partitions from their beginnings to their ends, all at once. */
#include <stdlib.h>

#include "base/arena.h"
#include "base/mutant.h"
#include "kafka/lanes.h"

#define RESTORE_BATCH 64

/* Up to the high watermarks, not to the last stable offsets: a crashed writer's open transaction holds these below
 * newer committed values, and the state would be old without any error. */
static enum status restore_bounds(struct log_kafka *k, const char *topic, const int *partitions, size_t n, int64_t *ret_bounds,
                                  struct error *err)
{
    int64_t low;
    enum status s = SAFE(M_RESTORE_BOUND) ? conf_ends(k->asker, k->brokers, topic, partitions, n, ret_bounds, err) : OK;

    for (size_t i = 0; i < n && s == OK && !SAFE(M_RESTORE_BOUND); i++)
        s = reader_bounds(k->restorer, topic, partitions[i], &low, &ret_bounds[i], err);
    return s;
}

static enum status restore_ranges(struct log_kafka *k, const char *topic, const int *partitions, size_t n, struct error *err)
{
    int64_t *bounds = xcalloc(n, sizeof(*bounds));
    enum status s = restore_bounds(k, topic, partitions, n, bounds, err);

    for (size_t i = 0; i < n && s == OK; i++)
        s = reader_add(k->restorer, topic, partitions[i], 0, bounds[i], err);
    free(bounds);
    return s;
}

static enum status restore_some(struct reader *r, log_restore_fn *each, void *ctx, bool *ret_end, struct error *err)
{
    struct reader_msg m[RESTORE_BATCH];
    struct log_kept kept[RESTORE_BATCH];
    size_t n;

    if (reader_take(r, /* timeout_ms= */ -1, m, ARRAY_LEN(m), &n, ret_end, err) != OK)
        return err->status;
    for (size_t i = 0; i < n; i++)
        kept[i] = (struct log_kept){m[i].partition, m[i].key, m[i].value};
    return n ? each(ctx, kept, n, err) : OK;
}

enum status log_kafka_restore(struct log *l, const char *topic, const int *partitions, size_t n, log_restore_fn *each, void *ctx,
                              struct error *err)
{
    struct log_kafka *k = log_kafka_of(l);
    bool end = false;
    enum status s = k->restorer ? OK : reader_new(k->brokers, k->pipeline, &k->restorer, err);

    if (s == OK)
        s = restore_ranges(k, topic, partitions, n, err);
    while (s == OK && !end)
        s = restore_some(k->restorer, each, ctx, &end, err);
    if (s == OK)
        return OK;
    reader_free(k->restorer); /* amid its ranges */
    k->restorer = NULL;
    return err->status;
}
