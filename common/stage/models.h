/* common/stage/models.h */
/*
 * models: the models topic, followed into a model_store; for the workers that train and score.
 *
 * Keys     <folder>/trusted and <folder>/secret; the folder is $MILLRACE_KEYS, else ~/.millrace/keys.
 * Refused  what the store refuses is logged ("model_refused", with the reason) and passed over.
 * Owner    models_free frees; the store's results live as long. Threads: one.
 */
#ifndef STAGE_MODELS_H
#define STAGE_MODELS_H

#include "model/store.h"
#include "wiring/pipeline.h"

struct models;

/* Reads all that is there before it returns. */
enum status models_open(const char *brokers, const struct pipeline *p, const char *name, const char *feature_set,
                        struct models **ret_models, struct error *err);
/* From a file of keyed records; path NULL: there are none yet. */
enum status models_open_file(const char *path, const char *name, const char *feature_set, struct models **ret_models,
                             struct error *err);
void models_free(struct models *m);

/* Takes what came since, without waiting; *ret_n records. */
enum status models_turn(struct models *m, size_t *ret_n, struct error *err);
/* Without a broker: a record that this process itself has put. */
enum status models_add(struct models *m, struct view key, struct view body, struct error *err);
const struct model_store *models_store(const struct models *m);
/* ERR_FATAL where a version of this name was trained by another pipeline: their versions, routings and verdicts would be taken for one
 * another's (docs/adr/0013). */
enum status models_check_owner(const struct models *m, const struct pipeline *p, const char *name, struct error *err);

/* Makes a pair of keys and their folder where there is none. */
enum status models_keys_make(struct error *err);
/* The signing key's file, or the trusted keys' ("secret", "trusted"), in the folder of keys. */
void models_key_path(const char *file, char *ret_path, size_t cap);

#endif
