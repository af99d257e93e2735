/* common/model/store.h */
/*
 * store: what the models topic says, fed record by record in the topic's order. Pure: no clock, no broker.
 *
 * Accepts  a model once its record is signed by a trusted key and all parts are there with the SHA-256 that it names;
 *          a routing that is signed, newer than all before it and names only accepted models; a verdict. All else is
 *          ERR_RECORD with the reason and changes nothing: the caller logs it, the present model goes on.
 * Order    write parts, model, routing, verdict: then whoever sees a verdict has seen all that it speaks of. A model that is
 *          accepted never changes; parts may come before or after their record.
 * Bounds   unclaimed parts <= 128 MiB in all, then refused.
 * Owner    results are the store's and live as long as it does (arrays: until the next model_store_add).
 * Threads  one thread.
 */
#ifndef MODEL_STORE_H
#define MODEL_STORE_H

#include "model/record.h"

struct model_store;

struct model_version {
    const struct model_record *record;
    struct view bytes; /* the model's */
};

/* trusted: borrowed. */
struct model_store *model_store_new(const struct sign_keys *trusted);
void model_store_free(struct model_store *s);

/* Models of this name with another feature set are refused from now on. */
void model_store_expect(struct model_store *s, const char *name, const char *feature_set);

/* One record of the topic: key, and the Avro body without its frame (data NULL: a tombstone: refused for models and
 * routings, which are never taken back). */
enum status model_store_add(struct model_store *s, struct view key, struct view body, struct error *err);

/* Accepted versions, rising. */
const struct model_version *model_store_versions(const struct model_store *s, const char *name, size_t *ret_n);
const struct model_version *model_store_version(const struct model_store *s, const char *name, int32_t version);
int32_t model_store_next_version(const struct model_store *s, const char *name); /* above all that were signed */

/* The routing that holds for event time event_ms: the highest seq with from_ms <= event_ms; NULL: none. */
const struct routing *model_store_routing_at(const struct model_store *s, const char *name, int64_t event_ms);
const struct routing *model_store_routing(const struct model_store *s, const char *name, int64_t seq);
const struct routing *model_store_routing_last(const struct model_store *s, const char *name);
int64_t model_store_next_seq(const struct model_store *s, const char *name);

const struct verdict *model_store_verdict(const struct model_store *s, const char *name, int64_t boundary_ms);
/* Names seen, in order of first sight. */
const char *const *model_store_names(const struct model_store *s, size_t *ret_n);

#endif
