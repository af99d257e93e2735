/* workers/train/publish.h */
/*
 * publish: what a job ends in, as records of the models topic: parts, model, routing, verdict, in this order.
 *
 * A model that is promoted is champion from boundary (or as_of) + model.lag; one that is refused is there, without a routing. The
 * same publish twice gives the same bytes: a lost transaction is written again.
 */
#ifndef WORKERS_TRAIN_PUBLISH_H
#define WORKERS_TRAIN_PUBLISH_H

#include "workers/train/job.h"

struct publish_schemas {
    struct schema *model, *part, *routing, *verdict;
};

enum status publish_schemas_load(const struct pipeline *p, struct publish_schemas *ret_schemas, struct error *err);
void publish_schemas_done(struct publish_schemas *s);

typedef enum status publish_fn(void *ctx, struct view key, const struct schema *schema, struct view body, struct error *err);

/* Fills in version and times; then calls `put` for each record. */
enum status publish(struct job *j, const struct model_store *store, const struct sign_key *key,
                    const struct publish_schemas *schemas, int64_t created_ms, publish_fn *put, void *ctx, struct error *err);

#endif
