/* workers/ingest/csv.h */
/*
 * csv: one row of RFC 4180 text at a time: cells in quotes may hold commas, doubled quotes and line ends.
 *
 * Bounds   CSV_CELLS_MAX cells; a row that is longer than the caller's buffer is the caller's to refuse.
 * Owner    cells point into the text, or into `scratch` where a quote was undone; until the next call.
 */
#ifndef WORKERS_INGEST_CSV_H
#define WORKERS_INGEST_CSV_H

#include "base/bytes.h"

#define CSV_CELLS_MAX 1024

enum csv_outcome {
    CSV_ROW,  /* *ret_n cells; an empty line has none */
    CSV_MORE, /* the row goes on beyond this text */
    CSV_BAD,  /* *ret_why; *ret_used passes over the line */
};

struct csv_row {
    struct view cells[CSV_CELLS_MAX];
    size_t n;
    size_t n_lines; /* line ends within, its own included */
    const char *why;
    struct bytes scratch;
};

/* is_last: nothing follows the text. ret_used: bytes up to and including the line end. */
enum csv_outcome csv_next(struct view text, bool is_last, struct csv_row *row, size_t *ret_used);

#endif
