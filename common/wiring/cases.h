/* common/wiring/cases.h */
/*
 * cases: a pipeline's tests (`<pipeline>.test.json`), checked against its wiring: events in, events out.
 *
 * Shape    a case runs stages in the order given; its events are Avro bodies by their topics' schemas already, with
 *          `lineage` where a stage writes the topic; what is expected stays JSON, of which every field is one of
 *          the topic's.
 * Errors   cases_load reports every fault as pipeline_load does: "file: $.json.path: expected ..., got ...; did you
 *          mean '...'?"
 * Owner    cases_free frees all; the pipeline must outlive it. Threads: immutable.
 */
#ifndef WIRING_CASES_H
#define WIRING_CASES_H

#include "wiring/pipeline.h"

struct case_input {
    const struct topic *topic;
    struct view *records; /* Avro bodies */
    size_t n;
};

struct case_output {
    const struct topic *topic;
    const json_t *records; /* a list of objects; empty: none must come */
};

struct test_case {
    const char *name;
    const struct stage_def **stages; size_t n_stages; /* in the order in which they run */
    struct case_input *in; size_t n_in;
    struct case_output *out; size_t n_out;
    const json_t *dead_letters; /* a list of objects, as keys_dead says; NULL: none must come */
    double within;              /* how far a number may be off */
    const char *models;         /* a file, as files.md says; NULL: none */
};

struct cases {
    struct test_case *cases; size_t n;
    struct arena *arena;
    json_t *root;
};

enum status cases_load(const char *path, const struct pipeline *p, struct cases **ret_cases, struct bytes *ret_faults,
                       struct error *err);
void cases_free(struct cases *c);
/* Every key of a file of tests as Markdown tables: what docs/pipeline-tests.md holds. */
void cases_reference(struct bytes *out);

#endif
