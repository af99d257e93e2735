/*
 * cli/stages.h: stages of a pipeline, run on files in a folder of their own by the workers as shipped (docs/files.md), no broker.
 *
 * Shape    a topic is <folder>/<topic>.avro; a stage reads those of its `from` and writes those of its `to`, and its dead letters.
 * Stopped  by a signal (ops/signals.h): its worker ends at once, whatever it does, and what follows is not begun.
 * Errors   ERR_FATAL: what the stage said last before it ended.
 */
#ifndef CLI_STAGES_H
#define CLI_STAGES_H

#include <limits.h>
#include <stdint.h>

#include "wire/plan.h"
#include "wiring/pipeline.h"

struct stage_files {
    const struct pipeline *p;
    const char *models;        /* the file of models: score reads it, train writes it; NULL: none */
    int64_t since_ms, until_ms; /* the boundaries that train decides */
    char folder[PATH_MAX / 2]; /* "": not made */
};

/* Makes the folder below $TMPDIR. */
enum status stage_files_open(struct stage_files *f, const struct pipeline *p, struct error *err);
/* Removes it with all files. */
void stage_files_close(struct stage_files *f);
/* In the pipeline's arena. */
const char *stage_files_topic(const struct stage_files *f, const char *topic);
const char *stage_files_dead_letters(const struct stage_files *f, const struct stage_def *s);
/* Of records' bodies. */
enum status stage_files_write(const char *path, const struct schema *schema, const struct view *records, size_t n, struct error *err);
/* Calls `take` for each record of a file. as: the schema to read it by; NULL: its own. The row's columns are the wants, in their order; it
 * holds until `take` returns. */
typedef enum status take_record_fn(void *ctx, const struct batch *row, struct error *err);
enum status stage_files_each(const char *path, const struct schema *as, const struct want *wants, size_t n_wants, take_record_fn *take,
                             void *ctx, struct error *err);
/* An input that is not there has no records. */
enum status stage_files_run(const struct stage_files *f, const struct stage_def *s, struct error *err);

#endif
