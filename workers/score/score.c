#include "workers/score/score.h"

#include <math.h>

#include "crypto/hash.h"
#include "wire/avro.h"

static double value_of(const struct col *c, size_t row)
{
    if (c->null[row])
        return (double)NAN;
    return c->type == COL_DOUBLE ? c->f64[row] : (double)c->i64[row];
}

enum status score_gather(const struct batch *in, const char *const *features, size_t n_features, const char **bad,
                         float *ret_x, struct error *err)
{
    for (size_t f = 0; f < n_features; f++) {
        const struct col *c = batch_col(in, features[f]);

        if (c == NULL || c->type > COL_DOUBLE)
            return err_set(err, ERR_RECORD, "the model's feature '%s': expected a number among the input's columns, got %s",
                           features[f], c ? col_type_name(c->type) : "none");
        for (size_t r = 0; r < in->n_rows; r++) {
            float v = (float)value_of(c, r);

            ret_x[r * n_features + f] = v;
            if (isinf(v) && bad[r] == NULL)
                bad[r] = arena_printf(in->arena, "range: feature '%s' is beyond what a model takes", features[f]);
        }
    }
    return OK;
}

enum status score_rows(struct model *m, const float *x, size_t n_features, const uint32_t *rows, size_t n_rows,
                       struct arena *arena, double *ret_scores, struct error *err)
{
    float *packed = arena_alloc(arena, (n_rows * n_features + 1) * sizeof(*packed));
    float *scores = arena_alloc(arena, (n_rows + 1) * sizeof(*scores));

    for (size_t i = 0; i < n_rows; i++)
        memcpy(packed + i * n_features, x + rows[i] * n_features, n_features * sizeof(*x));
    if (n_rows && model_predict(m, packed, n_rows, scores, err) != OK)
        return err_wrap(err, "score %zu rows", n_rows);
    for (size_t i = 0; i < n_rows; i++)
        ret_scores[rows[i]] = (double)scores[i];
    return OK;
}

/* The strongest feature that comes after (strength, index) in the order of the list; n_features: none. */
static size_t next_reason(const float *contributions, size_t n_features, size_t last)
{
    float bound = last < n_features ? fabsf(contributions[last]) : INFINITY;
    size_t best = n_features;

    for (size_t f = 0; f < n_features; f++) {
        float v = fabsf(contributions[f]);
        bool after = v < bound || (v == bound && last < n_features && f > last);

        if (after && v > 0 && (best == n_features || v > fabsf(contributions[best])))
            best = f;
    }
    return best;
}

void score_reasons(const struct batch *in, uint32_t row, const char *const *features, size_t n_features,
                   const float *contributions, int top, struct bytes *out)
{
    size_t last = n_features;

    for (int i = 0; i < top; i++) {
        const struct col *c;

        last = next_reason(contributions, n_features, last);
        if (last == n_features)
            break;
        c = batch_col(in, features[last]);
        avro_put_long(out, 1);
        avro_put_str(out, features[last]);
        avro_put_long(out, !c->null[row]);
        if (!c->null[row])
            avro_put_double(out, value_of(c, row));
        avro_put_double(out, (double)contributions[last]);
    }
    avro_put_long(out, 0);
}

bool score_in_share(struct view key, double share)
{
    uint8_t digest[HASH_BYTES];
    uint64_t top = 0;

    hash_bytes(key, digest);
    for (int i = 0; i < 8; i++)
        top = top << 8 | digest[i];
    return (double)(top >> 11) / 9007199254740992.0 < share; /* 2^53 */
}
