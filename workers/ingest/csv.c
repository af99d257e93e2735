#include "workers/ingest/csv.h"

/* Where the row ends (its line end's index, text.n at the end of all), or text.n + 1: not in this text. */
static size_t row_end(struct view text, bool is_last, size_t *ret_lines)
{
    bool quoted = false;

    *ret_lines = 1;
    for (size_t i = 0; i < text.n; i++) {
        if (text.data[i] == '"')
            quoted = !quoted; /* a doubled quote closes and opens again */
        else if (text.data[i] == '\n' && !quoted)
            return i;
        else if (text.data[i] == '\n')
            (*ret_lines)++;
    }
    return is_last ? text.n : text.n + 1;
}

/* A quoted cell that begins at i: appended to scratch without its quotes; returns the index behind it, 0: bad. */
static size_t unquote(const uint8_t *p, size_t i, size_t end, struct bytes *scratch)
{
    for (i++; i < end; i++) {
        if (p[i] != '"') {
            bytes_append(scratch, &p[i], 1);
        } else if (i + 1 < end && p[i + 1] == '"') {
            bytes_append(scratch, &p[i], 1);
            i++;
        } else {
            return i + 1 == end || p[i + 1] == ',' ? i + 1 : 0;
        }
    }
    return 0;
}

static const char *split(const uint8_t *p, size_t end, struct csv_row *row)
{
    for (size_t i = 0;; i++) {
        size_t from = i;
        struct view cell;

        if (row->n == CSV_CELLS_MAX)
            return "more than 1024 cells";
        if (i < end && p[i] == '"') {
            size_t at = row->scratch.n;

            i = unquote(p, i, end, &row->scratch);
            if (i == 0)
                return "a quote that is not closed, or text after a closing quote";
            cell = view_of(row->scratch.data + at, row->scratch.n - at);
        } else {
            for (; i < end && p[i] != ','; i++)
                if (p[i] == '"')
                    return "a quote within a cell that does not begin with one";
            cell = view_of(p + from, i - from);
        }
        row->cells[row->n++] = cell;
        if (i >= end)
            return NULL;
    }
}

enum csv_outcome csv_next(struct view text, bool is_last, struct csv_row *row, size_t *ret_used)
{
    size_t end = row_end(text, is_last, &row->n_lines), n;

    row->n = 0;
    bytes_clear(&row->scratch);
    if (end > text.n)
        return CSV_MORE;
    *ret_used = end < text.n ? end + 1 : end;
    n = end > 0 && text.data[end - 1] == '\r' ? end - 1 : end;
    if (n == 0)
        return CSV_ROW;
    bytes_reserve(&row->scratch, n + 1); /* cells point into it: it must not move */
    row->why = split(text.data, n, row);
    return row->why ? CSV_BAD : CSV_ROW;
}
