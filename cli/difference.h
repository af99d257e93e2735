/* cli/difference.h */
/*
 * difference: where records are not those that were expected, a line for each field: "    path: expected 1, got 2".
 *
 * Shape    both are lists of JSON as text_from_avro writes it, compared one by one; of a record only the fields that
 *          are expected, of nested records too; lists within whole. An expected time may be text or milliseconds.
 *          want NULL: none must be there.
 * Numbers  equal, or at most `within` apart.
 * Threads  no shared state.
 */
#ifndef CLI_DIFFERENCE_H
#define CLI_DIFFERENCE_H

#include "wiring/pipeline.h"

/* How many differences there are. */
size_t difference_put_records(struct bytes *out, const struct topic *t, const json_t *want, const json_t *got,
                              double within);
/* Of these `reason` need only hold what is expected; `event` is the record that was refused, by its topic's schema. */
size_t difference_put_dead_letters(struct bytes *out, const struct pipeline *p, const json_t *want, const json_t *got,
                                   double within);

#endif
